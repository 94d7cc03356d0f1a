"""From observations to states: normalized, with a history, from stacked frames; statistics of the logs."""
