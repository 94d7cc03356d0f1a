"""Environments by their ids: action spaces, wrappers, tasks by equations."""
