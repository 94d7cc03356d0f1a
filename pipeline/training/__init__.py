"""The two Lightning shells, the Trainer, replay, resume points, the watchdog."""
