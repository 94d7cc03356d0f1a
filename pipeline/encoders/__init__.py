"""From observations to states: standardised, with a history, from stacked frames; statistics of the logs."""
