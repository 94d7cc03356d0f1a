"""Networks that several packages share: perceptrons, convolutions, actors, critics, distributions, schedules."""
