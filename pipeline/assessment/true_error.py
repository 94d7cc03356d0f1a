"""Where a world model really errs: against a task's known equations, also at states that no log went to."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.assessment.penalty_quality import Correlations, ranking
from pipeline.protocols import WorldModel, first_state
from pipeline.types import Transitions

Array = NDArray[Any]
# Raw observations "B O" and actions "B A" -> next observations "B O", rewards "B" and terminals "B".
Equations = Callable[[Array, Array], tuple[Array, Array, Array]]


def grid(logged: Array, axes: Mapping[int, Array]) -> Array:
    """Raw observations "B O" at all combinations of the values in ``axes``, the last of which varies fastest; other
    entries stand at their median over ``logged`` "N O"."""
    values = np.stack(np.meshgrid(*axes.values(), indexing="ij"), axis=-1).reshape(-1, len(axes))
    obs = np.tile(np.median(logged, axis=0), (len(values), 1))
    obs[:, list(axes)] = values
    return obs.astype(np.float32)


def by_equations(model: WorldModel, key: str, obs: Array, action: Array, equations: Equations) -> Transitions:
    """What really follows raw observations "B O" of name ``key``, in the states of a model that remembers nothing."""
    assert not model.stateful, "a state that remembers does not follow from one observation"
    after, reward, terminal = (torch.as_tensor(x, dtype=torch.float32) for x in equations(obs, action))
    nothing = torch.zeros(len(obs))
    return Transitions(
        state=first_state(model, {key: torch.as_tensor(obs)}, model.action_dim),
        action=torch.as_tensor(action, dtype=torch.float32),
        reward=reward,
        next_state=first_state(model, {key: after}, model.action_dim),
        terminal=terminal,
        penalty=nothing,
        logged=nothing,
        halted=nothing,
    )


def densest(points: Array, edges: tuple[Array, Array], share: float) -> NDArray[np.bool_]:
    """The fewest cells "I J" between ``edges`` that hold at least ``share`` of ``points`` "N 2"; a point beyond the
    edges is in none."""
    counts = np.histogram2d(points[:, 0], points[:, 1], bins=edges)[0]
    order = np.argsort(-counts, axis=None, kind="stable")
    needed = np.searchsorted(counts.ravel()[order].cumsum(), share * len(points)) + 1
    held = np.zeros(counts.size, dtype=bool)
    held[order[:needed]] = True
    return held.reshape(counts.shape)


def by_region(samples: dict[str, Array], inside: NDArray[np.bool_]) -> dict[str, dict[str, Correlations]]:
    """Correlations of every penalty of :func:`model_error.one_step` with the true error of the same steps, where
    ``inside`` "N" holds, where it does not, and overall."""
    regions = {"inside": inside, "outside": ~inside, "overall": np.ones_like(inside)}
    return {name: ranking({k: v[rows] for k, v in samples.items()}) for name, rows in regions.items()}
