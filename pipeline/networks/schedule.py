"""Learning rate schedules."""

import math


def cosine_decay(rate: float, done: int, total: int) -> float:
    """The learning rate after ``done`` of ``total`` updates, from ``rate`` down to zero (Loshchilov & Hutter 2017,
    arXiv:1608.03983)."""
    return rate * 0.5 * (1 + math.cos(math.pi * min(done / total, 1.0)))
