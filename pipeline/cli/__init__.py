"""The commands behind ``python -m pipeline``, one file each."""
