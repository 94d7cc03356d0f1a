"""Distance to the logged data: a penalty that depends on the logs, not on the world model."""

from typing import TYPE_CHECKING, Annotated

import torch
from torch import Generator, Tensor

from pipeline.protocols import WorldModel
from pipeline.types import Prediction, Transitions

if TYPE_CHECKING:
    from sklearn.neighbors import NearestNeighbors

ROWS = 20_000  # maximum number of logged steps; with fewer, search is faster and distances are slightly larger
LEAST_SPREAD = 0.1  # minimum scale, as a share of the median: nearly constant dimensions must not dominate
TREE_DIMENSIONS = 10  # with more, a tree is slower than all distances: four times at 14
PAIRS_AT_ONCE = 1024  # on a GPU: their distances to all logged pairs take 80 MB
TINY = 1e-6  # minimum scale if no dimension varies


class Distance:
    """Mean distance to the nearest logged (state, action) pairs, times the logged reward's standard deviation.

    A distance is a root mean square over dimensions, each divided by its standard deviation in the logs, so the penalty
    is in units of reward. It is epistemic: noise does not change it. SUMO (Qiao et al. 2024, arXiv:2408.12970)
    penalizes the logarithm of this distance; the distance itself is zero at a logged pair and never negative. The
    search for neighbors runs where the pairs are.
    """

    kind = "epistemic"

    def __init__(self, neighbors: int = 5) -> None:
        """``neighbors`` is the number of logged steps that the distance is averaged over."""
        self.neighbors = neighbors
        self.index: NearestNeighbors | None = None

    def fit(self, logged: Transitions, generator: Generator) -> None:
        """Keep at most ``ROWS`` logged steps, drawn without replacement. Raises ValueError where there are too few."""
        from sklearn.neighbors import NearestNeighbors  # the other penalties work without scikit-learn

        if len(logged) < self.neighbors:
            raise ValueError(f"{len(logged)} logged steps are too few: set penalty.neighbors to at most that many")
        if len(logged) > ROWS:
            logged = logged[torch.randperm(len(logged), generator=generator)[:ROWS]]
        pairs = torch.cat([logged.state, logged.action], dim=-1).cpu()
        spread = pairs.std(0, correction=0)
        self.spread = spread.clamp(min=LEAST_SPREAD * float(spread.median())).clamp(min=TINY)
        self.points = pairs / self.spread
        search = "kd_tree" if pairs.shape[1] <= TREE_DIMENSIONS else "brute"
        self.index = NearestNeighbors(n_neighbors=self.neighbors, algorithm=search).fit(self.points.numpy())

    def __call__(
        self, model: WorldModel, state: Tensor, action: Tensor, prediction: Prediction, sample: Tensor
    ) -> Tensor:
        """The penalty "B" of states "B Z" and actions "B A", in units of reward. Call ``fit`` first."""
        return self.distance(torch.cat([state, action], dim=-1)) * model.reward_scale

    def distance(self, pairs: Annotated[Tensor, "B P"]) -> Annotated[Tensor, "B"]:
        """Mean distance of (state, action) ``pairs`` to their nearest logged pairs, in standard deviations. Gradients
        reach ``pairs`` through the distances; the choice of neighbors has no gradient."""
        assert self.index is not None, "fit comes first"
        if self.points.device != pairs.device:
            self.points, self.spread = self.points.to(pairs.device), self.spread.to(pairs.device)
        pairs = pairs / self.spread
        if pairs.device.type == "cpu":
            rows = torch.from_numpy(self.index.kneighbors(pairs.detach().numpy(), return_distance=False))
        else:
            rows = nearest_rows(pairs.detach(), self.points, self.neighbors)
        nearest = self.points[rows]
        # At zero a norm has gradient zero, but a square root has none.
        distance = torch.linalg.vector_norm(nearest - pairs[:, None], dim=-1)
        return distance.mean(1) / pairs.shape[-1] ** 0.5


def nearest_rows(
    pairs: Annotated[Tensor, "B P"], points: Annotated[Tensor, "N P"], count: int
) -> Annotated[Tensor, "B K"]:
    """Rows of the ``count`` nearest of ``points`` to each of ``pairs``, on their device, without waiting for it."""
    parts = pairs.split(PAIRS_AT_ONCE)
    return torch.cat([torch.cdist(part, points).topk(count, largest=False).indices for part in parts])
