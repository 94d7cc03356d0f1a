"""Logs in, batches out: sources -> logged -> store. ``store`` alone is what training stages import."""
