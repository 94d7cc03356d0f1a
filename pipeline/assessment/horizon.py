"""How far a world model can be trusted to imagine, by its open-loop errors.

The error of a prediction that has lost all touch with where it started is as large as the distance between unrelated
states; weather forecasters call it the level of saturation. Imagination is trusted while nine of ten held-out windows
are nearer to the truth than half of that, and nearer than nine of ten are to a start that never changes. Not the
median: where a system is chaotic in places, half of the rollouts can be lost before it shows.
"""

from typing import Annotated

from torch import Tensor

SHARE = 0.5  # of the median distance between unrelated states
QUANTILE = 0.9  # of the windows' errors


def distance_apart(truth: Annotated[Tensor, "B H D"]) -> Annotated[Tensor, "B H"]:
    """Root mean square distance of each window's frames to those of another window at the same step. Zero where there
    is one window alone."""
    return (truth - truth.roll(1, 0)).square().mean(-1).sqrt()


def trusted_horizon(
    model: Annotated[Tensor, "H"], persistence: Annotated[Tensor, "H"], apart: float, share: float = SHARE
) -> int:
    """The number of steps, from the first on, at which the error ``model`` stays below ``share`` times ``apart`` and
    below the error ``persistence``, all of the same quantile. 0: not a single step; all of them: the true horizon may
    be longer than what was measured."""
    trusted = (model < share * apart) & (model < persistence)
    return int(trusted.long().cumprod(0).sum())
