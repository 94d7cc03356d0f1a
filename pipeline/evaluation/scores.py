"""Raw returns to normalized scores, episode by episode."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def normalize(returns: ArrayLike, ref_min: float | None, ref_max: float | None) -> NDArray[np.float64] | None:
    """``100 (return - min) / (max - min)`` of every return "..." (Fu et al. 2020, D4RL); None without both references.

    Pass single returns only: the map shifts and scales, which is wrong for a standard deviation.
    Raises ValueError when ``ref_max`` is not larger than ``ref_min``.
    """
    if ref_min is None or ref_max is None:
        return None
    if not ref_max > ref_min:
        raise ValueError(f"dataset.ref_max_score ({ref_max}) must be larger than dataset.ref_min_score ({ref_min})")
    return 100.0 * (np.asarray(returns, np.float64) - ref_min) / (ref_max - ref_min)
