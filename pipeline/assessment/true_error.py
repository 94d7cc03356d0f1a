"""True errors of a world model against a task's known equations, also at states that the logs never visit."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.assessment.penalty_quality import ranking
from pipeline.assessment.results import Correlation
from pipeline.protocols import WorldModel, first_state
from pipeline.types import Transitions, no_rows

Array = NDArray[Any]
# Raw observations "B O" and actions "B A" -> next observations "B O", rewards "B" and terminals "B".
Equations = Callable[[Array, Array], tuple[Array, Array, Array]]


def grid(logged: Array, axes: Mapping[int, Array]) -> Array:
    """Raw observations "B O" at all combinations of the values in ``axes`` (entry of the observation -> values), of
    which the last varies fastest. All other entries are their median over ``logged`` "N O"."""
    values = np.stack(np.meshgrid(*axes.values(), indexing="ij"), axis=-1).reshape(-1, len(axes))
    obs = np.tile(np.median(logged, axis=0), (len(values), 1))
    obs[:, list(axes)] = values
    return obs.astype(np.float32)


def by_equations(model: WorldModel, key: str, obs: Array, action: Array, equations: Equations) -> Transitions:
    """True transitions from raw observations "B O" of name ``key`` under actions "B A", in the states of ``model``,
    which must be Markov."""
    assert not model.stateful, "a stateful model's state does not follow from one observation"
    after, reward, terminal = (torch.as_tensor(x, dtype=torch.float32) for x in equations(obs, action))
    zeros = torch.zeros(len(obs))
    return Transitions(
        state=first_state(model, {key: torch.as_tensor(obs)}, model.action_dim),
        action=torch.as_tensor(action, dtype=torch.float32),
        reward=reward,
        next_state=first_state(model, {key: after}, model.action_dim),
        terminal=terminal,
        penalty=zeros,
        logged=zeros,
        halted=zeros,
        row=no_rows(zeros),
        next_action=torch.as_tensor(action, dtype=torch.float32),
    )


def densest(points: Array, edges: tuple[Array, Array], share: float) -> NDArray[np.bool_]:
    """Mask "I J" of the fewest cells between ``edges`` that hold at least ``share`` of ``points`` "N 2". Points outside
    the edges belong to no cell."""
    counts = np.histogram2d(points[:, 0], points[:, 1], bins=edges)[0]
    order = np.argsort(-counts, axis=None, kind="stable")
    needed = np.searchsorted(counts.ravel()[order].cumsum(), share * len(points)) + 1
    mask = np.zeros(counts.size, dtype=bool)
    mask[order[:needed]] = True
    return mask.reshape(counts.shape)


def by_region(samples: dict[str, Array], inside: NDArray[np.bool_]) -> dict[str, dict[str, Correlation]]:
    """Correlations of every penalty in ``samples`` (:func:`model_error.one_step`) with the true error of the same
    steps: for the steps where ``inside`` "N" holds, for the others, and overall."""
    regions = {"inside": inside, "outside": ~inside, "overall": np.ones_like(inside)}
    return {name: ranking({k: v[rows] for k, v in samples.items()}) for name, rows in regions.items()}
