"""Networks that several rooms share: perceptrons, convolutions, actors, critics, distributions, schedules."""
