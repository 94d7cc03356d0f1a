"""Environments by id: action spaces, wrappers, and a task implemented here."""
