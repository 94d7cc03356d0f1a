"""Bounds of actions from the extremes of a log."""

import numpy as np


def round_bounds(
    low: np.ndarray, high: np.ndarray, at_low: np.ndarray, at_high: np.ndarray
) -> tuple[list[float], list[float]]:
    """Bounds of each action, from its extremes "A" and their counts "A".

    An extreme that occurs at least three times is a bound. Otherwise the bounds are [-1, 1] or [0, 1] if all values are
    within them, or else the extremes with two digits, or those that their distance has, rounded away from the data.
    """
    bounds = []
    for sign, extreme, count in ((-1, low, at_low), (1, high, at_high)):
        size, width = (np.maximum(np.abs(value), 1e-300) for value in (extreme, high - low))
        unit = 10.0 ** np.floor(np.minimum(np.log10(size) - 1, np.where(high > low, np.log10(width), np.inf)))
        outward = sign * np.ceil(np.round(sign * extreme / unit, 6)) * unit
        inside = np.maximum(np.abs(low), np.abs(high)) <= 1
        unit_bound = np.where((low >= 0) & (sign < 0), 0, sign)
        bounds.append(np.where(count >= 3, extreme, np.where(inside, unit_bound, outward)))
    constant = bounds[0] >= bounds[1]
    return [float(f"{b:.7g}") for b in bounds[0] - constant], [float(f"{b:.7g}") for b in bounds[1] + constant]
