"""Logs in: sources, checks, validation, the user's transforms, and the writer of the prepared dataset."""
