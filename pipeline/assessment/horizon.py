"""How far a world model can be trusted to imagine, by its open-loop errors.

An open-loop error grows until it is as large as the distance between unrelated states (in weather forecasting: error
saturation). Imagination is trusted as long as nine of ten held-out windows are closer to the truth than half of that
distance, and the 90 % quantile of the error is below that of persistence ("nothing changes"). The median would not do:
where a system is chaotic in places, half of the rollouts can be wrong before the median shows it.
"""

from typing import Annotated

from torch import Tensor

SHARE = 0.5  # of the median distance between unrelated states
QUANTILE = 0.9  # of the windows' errors


def distance_apart(truth: Annotated[Tensor, "B H D"]) -> Annotated[Tensor, "B H"]:
    """Root mean square distance of each window's frames to those of another window at the same step. Zero if there is
    only one window."""
    return (truth - truth.roll(1, 0)).square().mean(-1).sqrt()


def trusted_horizon(
    model: Annotated[Tensor, "H"], persistence: Annotated[Tensor, "H"], apart: float, share: float = SHARE
) -> int:
    """The number of leading steps at which the error ``model`` is below ``share`` times ``apart`` and below the error
    ``persistence``, both of the same quantile.

    0 means not even one step; H means that the true horizon may be longer than what was measured.
    """
    trusted = (model < share * apart) & (model < persistence)
    return int(trusted.long().cumprod(0).sum())
