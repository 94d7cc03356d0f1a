"""Learning rate schedules."""

import math

from torch.optim import Optimizer


def cosine_decay(rate: float, done: int, total: int) -> float:
    """The learning rate after ``done`` of ``total`` updates, from ``rate`` down to zero (Loshchilov & Hutter 2017,
    arXiv:1608.03983)."""
    return rate * 0.5 * (1 + math.cos(math.pi * min(done / total, 1.0)))


def follow_cosine(optimizer: Optimizer, rate: float, done: int, total: int) -> None:
    """Set the learning rate of ``optimizer`` to :func:`cosine_decay` of ``rate``."""
    for group in optimizer.param_groups:
        group["lr"] = cosine_decay(rate, done, total)
