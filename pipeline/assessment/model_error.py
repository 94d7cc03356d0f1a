"""Errors of a world model: their scale, replayed windows, and single steps."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Generator, Tensor

from pipeline.encoders.exogenous import Exogenous
from pipeline.encoders.statistics import Statistics, measured_features
from pipeline.imagination import Imagination
from pipeline.protocols import Actor, Penalty, StateEncoder, WorldModel
from pipeline.types import Future, Observation, Rollout, Segments, Transitions

HORIZONS = [1, 2, 5, 10, 20, 50]
CONTEXT = 5  # real steps that a model sees before it predicts without observations
ROWS = 512  # rows predicted at once


class Scale:
    """Puts what a model predicts of observations on one scale, "... D": vectors in standard deviations of the logs,
    without exogenous features; without vectors, pixels as shares of full brightness."""

    def __init__(self, obs_shapes: dict[str, list[int]], statistics: Statistics) -> None:
        self.vectors = sorted(k for k, shape in obs_shapes.items() if len(shape) < 3)
        self.images = sorted(set(obs_shapes) - set(self.vectors))
        self.std = torch.tensor(statistics.obs_std)
        self.predicted = [i for i in range(len(statistics.obs_std)) if i not in statistics.exogenous]
        self.exogenous = Exogenous(statistics)

    def __call__(self, obs: Observation) -> Tensor:
        """Scaled observations "... D"."""
        if self.vectors:
            return self.of_flat(self.flat(obs))
        return torch.cat([obs[k].flatten(-3).float() / 255 for k in self.images], dim=-1)

    def of_flat(self, flat: Tensor) -> Tensor:
        """Scaled vectors "... D" from vectors "... O" side by side."""
        return (flat / self.std)[..., self.predicted]

    def measured(self, obs: Observation) -> Tensor | None:
        """Which of the scaled entries were measured, "... D", 1.0 or 0.0; None if all were."""
        flags = self.exogenous.flags
        return measured_features(self.flat(obs), flags)[..., self.predicted].float() if flags else None

    def future(self, windows: Segments, context: int) -> Future | None:
        """The exogenous values "B H X" after ``context`` steps of windows without padding; None if there are none."""
        if not self.exogenous.size:
            return None
        inputs = self.exogenous.of(self.flat(windows.obs)[:, context + 1 :])
        return Future(inputs, torch.ones_like(inputs[..., 0]))

    def flat(self, obs: Observation) -> Tensor:
        """The vectors "... O" side by side, in their own units."""
        return torch.cat([obs[k] for k in self.vectors], dim=-1)


def mean_square(error: Tensor, measured: Tensor | None) -> Tensor:
    """Mean "..." of squared errors "... D" over the entries where ``measured`` "... D" is 1.0; None: over all."""
    if measured is None:
        return error.square().mean(-1)
    return (error.square() * measured).sum(-1) / measured.sum(-1).clamp(min=1)


@torch.no_grad()
def encode_context(encoder: StateEncoder, windows: Segments, steps: int) -> Tensor:
    """The state "B Z" after observing the first ``steps`` steps of windows."""
    batch = len(windows)
    state = encoder.initial(batch)
    action = torch.zeros_like(windows.action[:, 0])
    for t in range(steps + 1):
        obs = {k: v[:, t] for k, v in windows.obs.items()}
        state = encoder.observe(state, action, obs, torch.full((batch,), float(t == 0)))
        action = windows.action[:, min(t, windows.action.shape[1] - 1)]
    return state


def logged_actions(plan: Tensor) -> Actor:
    """An actor that repeats the actions ``plan`` "B T A"."""
    return lambda state, t, generator: plan[:, t]


@torch.no_grad()
def replay(model: WorldModel, windows: Segments, context: int, scale: Scale) -> Rollout:
    """Imagine the logged actions after ``context`` real steps, with the members' mean, without noise and with the
    logged exogenous values.

    A window goes on where the model predicts its end.
    """
    plan = windows.action[:, context:]
    start = encode_context(model, windows, context)
    future = scale.future(windows, context)
    return Imagination(model).rollout(logged_actions(plan), start, plan.shape[1], None, future=future)


@torch.no_grad()
def one_step(
    model: WorldModel, data: Transitions, penalties: Mapping[str, Penalty], generator: Generator
) -> dict[str, np.ndarray]:
    """One-step error and penalties of each transition, "N".

    ``true_error`` is the root mean square of the normalized error of the members' mean, times the reward's standard
    deviation, which is the unit of the penalties. ``penalty_<name>`` sees a drawn step, not the true one.
    """
    samples: dict[str, list[Tensor]] = {"true_error": [], **{f"penalty_{n}": [] for n in penalties}}
    for batch in data.split(ROWS):
        prediction = model.predict(batch.state, batch.action)
        step = model.draw(batch.state, batch.action, prediction, generator, None)
        error = prediction.mean[model.elites].mean(0) - model.targets(batch)
        samples["true_error"].append(mean_square(error, model.measured(batch)).sqrt() * model.reward_scale)
        if model.exogenous_dim:
            inputs = model.inputs(batch.next_state)
            prediction, step = model.condition(batch.state, batch.action, prediction, step, inputs)
        for name, penalty in penalties.items():
            samples[f"penalty_{name}"].append(penalty(model, batch.state, batch.action, prediction, step.sample))
    return {k: torch.cat(v).numpy() for k, v in samples.items()}
