"""Encoders from observations to states: normalized, with a history, with stacked frames; statistics of the logs."""
