"""Training of world models and policies: two Lightning modules, the Trainer, replay buffers, resume points and the
check for values that are not finite."""
