"""How far a step lies from anything logged: a penalty that asks the logs, not the world model."""

from typing import Annotated, Any

import torch
from torch import Generator, Tensor

from pipeline.protocols import WorldModel
from pipeline.types import Prediction, Transitions

ROWS = 20_000  # logged steps kept: neighbors of fewer are a little farther everywhere, and found sooner
LEAST_SPREAD = 0.1  # as a share of the median spread: what hardly varies must not decide what is near
TINY = 1e-6  # where nothing varies at all


class Distance:
    """Mean distance to the nearest logged (state, action) pairs, each dimension in standard deviations of the logs: a
    root mean square over dimensions times the logged reward's standard deviation, so in units of reward.

    Epistemic: noise does not move it. SUMO (Qiao et al. 2024, arXiv:2408.12970) penalizes the logarithm of this
    distance; the distance itself is zero at a logged pair and never negative. Neighbours are found on the CPU.
    """

    kind = "epistemic"

    def __init__(self, neighbors: int = 5) -> None:
        self.neighbors = neighbors
        self.index: Any = None

    def fit(self, logged: Transitions, generator: Generator) -> None:
        """Keep at most ``ROWS`` logged steps, drawn without replacement. Raises ValueError where there are too few."""
        from sklearn.neighbors import NearestNeighbors  # here, so that a bare machine can imagine with other penalties

        if len(logged) < self.neighbors:
            raise ValueError(f"{len(logged)} logged steps are too few: set penalty.neighbors to at most that many")
        if len(logged) > ROWS:
            logged = logged[torch.randperm(len(logged), generator=generator)[:ROWS]]
        pairs = torch.cat([logged.state, logged.action], dim=-1).cpu()
        spread = pairs.std(0, correction=0)
        self.spread = spread.clamp(min=LEAST_SPREAD * float(spread.median())).clamp(min=TINY)
        self.points = pairs / self.spread
        self.index = NearestNeighbors(n_neighbors=self.neighbors).fit(self.points.numpy())

    def __call__(
        self, model: WorldModel, state: Tensor, action: Tensor, prediction: Prediction, sample: Tensor
    ) -> Tensor:
        return self.distance(torch.cat([state, action], dim=-1)) * model.reward_scale

    def distance(self, pairs: Annotated[Tensor, "B P"]) -> Annotated[Tensor, "B"]:
        """Without the reward's unit. Gradients reach ``pairs``: only which rows are near is looked up."""
        assert self.index is not None, "fit comes first"
        pairs = pairs / self.spread.to(pairs.device)
        rows = self.index.kneighbors(pairs.detach().cpu().numpy(), return_distance=False)
        near = self.points[torch.from_numpy(rows)].to(pairs.device)
        # A norm has a gradient of zero at zero, where a square root has none.
        far = torch.linalg.vector_norm(near - pairs[:, None], dim=-1)
        return far.mean(1) / pairs.shape[-1] ** 0.5
