"""How well penalties rank the world model's errors: on logged steps, along imagined rollouts, and by action.

The best penalty has the largest mean of three numbers between -1 and 1, where an undefined number counts zero: its rank
correlation with the error of one step; that of its sum along rollouts with their error, averaged over the horizons; and
2 AUC - 1, where the AUC measures how well it separates logged actions from shuffled ones. All are measured on held-out
episodes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from pipeline.assessment.model_error import Scale, encode_context, logged_actions, mean_square, one_step
from pipeline.assessment.results import Correlation, HorizonCorrelations, RolloutCorrelations
from pipeline.imagination import Imagination
from pipeline.protocols import Penalty, ValuePenalty, WorldModel
from pipeline.seeding import generator
from pipeline.types import Prediction, Segments, Transitions
from pipeline.uncertainty import PENALTIES, PenaltySpec, build_penalty

ROLLOUT_HORIZONS = [1, 2, 5, 10, 20]
Array = NDArray[Any]


def fitted_penalties(logged: Transitions, seed: int) -> dict[str, Penalty]:
    """All penalties that need no critic, fitted on logged transitions of the training split."""
    built = {name: build_penalty(PenaltySpec(name)) for name in PENALTIES}
    penalties = {name: penalty for name, penalty in built.items() if not isinstance(penalty, ValuePenalty)}
    for name, penalty in penalties.items():
        penalty.fit(logged, generator(seed, "assess", "fit", name))
    return penalties


class Recorder:
    """A penalty that is zero and records several other penalties at every imagined step."""

    kind = "total"

    def __init__(self, penalties: Mapping[str, Penalty]) -> None:
        self.penalties = penalties
        self.by_step: list[dict[str, Tensor]] = []

    def fit(self, logged: Transitions, generator: Generator) -> None:
        """Nothing: the recorded penalties are fitted already."""

    def __call__(
        self, model: WorldModel, state: Tensor, action: Tensor, prediction: Prediction, sample: Tensor
    ) -> Tensor:
        """Zero "B", after recording every penalty of this step."""
        step = {name: penalty(model, state, action, prediction, sample) for name, penalty in self.penalties.items()}
        self.by_step.append(step)
        return torch.zeros_like(next(iter(step.values())))

    def steps(self) -> dict[str, Tensor]:
        """All recorded penalties by name, each "B T"."""
        return {name: torch.stack([step[name] for step in self.by_step], 1) for name in self.penalties}


def correlate(penalty: Array, error: Array) -> Correlation:
    """Spearman and Pearson correlation (both after Lu et al. 2022, arXiv:2110.04135) of penalties and errors "N"; None
    where one of them never varies."""
    if len(error) < 2 or np.ptp(penalty) == 0 or np.ptp(error) == 0:
        return Correlation(None, None)
    from scipy.stats import pearsonr, spearmanr  # slow to import

    # In float32 the last digits of Pearson's sums depend on how many threads add them up.
    penalty, error = np.asarray(penalty, np.float64), np.asarray(error, np.float64)
    return Correlation(
        spearman=_finite(spearmanr(penalty, error).statistic),
        pearson=_finite(pearsonr(penalty, error).statistic),
    )


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def ranking(samples: Mapping[str, Array]) -> dict[str, Correlation]:
    """Correlations of every penalty with the true error of the same steps (:func:`model_error.one_step`)."""
    names = sorted(k.removeprefix("penalty_") for k in samples if k.startswith("penalty_"))
    return {name: correlate(samples[f"penalty_{name}"], samples["true_error"]) for name in names}


@torch.no_grad()
def along_rollouts(
    model: WorldModel,
    batches: Iterable[Segments],
    scale: Scale,
    penalties: Mapping[str, Penalty],
    context: int,
    draws: Generator,
) -> dict[str, RolloutCorrelations]:
    """Correlations of each penalty, summed or at its maximum over h imagined steps under the logged actions, with the
    decoded error of step h in units of :class:`Scale`.

    There is one number for each horizon that the windows allow. Steps are drawn at random, as for a learner.
    """
    recorded: list[dict[str, Tensor]] = []
    errors = []
    for windows in batches:
        plan = windows.action[:, context : context + ROLLOUT_HORIZONS[-1]]
        recorder = Recorder(penalties)
        start = encode_context(model, windows, context)
        future = scale.future(windows, context)
        imagination, actor = Imagination(model, recorder), logged_actions(plan)
        states = imagination.rollout(actor, start, plan.shape[1], draws, future=future).state
        recorded.append(recorder.steps())
        errors.append(
            torch.stack([_error(model, s, windows, context + t, scale) for t, s in enumerate(states.unbind(1))], 1)
        )
    error = torch.cat(errors)
    penalty = {name: torch.cat([steps[name] for steps in recorded]) for name in penalties}
    horizons = [h for h in ROLLOUT_HORIZONS if h < error.shape[1]]
    return {name: _by_horizon(steps, error, horizons) for name, steps in penalty.items()}


def _error(model: WorldModel, state: Tensor, windows: Segments, frame: int, scale: Scale) -> Tensor:
    obs = {k: v[:, frame] for k, v in windows.obs.items()}
    return mean_square(scale(model.decode(state)) - scale(obs), scale.measured(obs)).sqrt()


def _by_horizon(penalty: Tensor, error: Tensor, horizons: list[int]) -> RolloutCorrelations:
    def correlations(total: Tensor) -> HorizonCorrelations:
        pairs = [correlate(total[:, h - 1].numpy(), error[:, h].numpy()) for h in horizons]
        return HorizonCorrelations([pair.spearman for pair in pairs], [pair.pearson for pair in pairs])

    return RolloutCorrelations(horizons, correlations(penalty.cumsum(1)), correlations(penalty.cummax(1).values))


def shuffled_auc(
    model: WorldModel,
    data: Transitions,
    samples: Mapping[str, Array],
    penalties: Mapping[str, Penalty],
    draws: Generator,
) -> dict[str, float]:
    """Area under the ROC curve of separating the logged actions, whose penalties ``samples`` holds, from the same
    actions shuffled over the same states: 1 where every logged step has the lower penalty, 0.5 by chance."""
    shuffled = replace(data, action=data.action[torch.randperm(len(data), generator=draws)])
    others = one_step(model, shuffled, penalties, draws)
    return {name: auc(samples[f"penalty_{name}"], others[f"penalty_{name}"]) for name in penalties}


def auc(logged: Array, other: Array) -> float:
    """Probability that a step of ``other`` "N" has a larger penalty than one of ``logged`` "N"; ties count half."""
    labels = np.repeat([0, 1], [len(logged), len(other)])
    from sklearn.metrics import roc_auc_score  # slow to import

    return float(roc_auc_score(labels, np.concatenate([logged, other])))


def score(one_step_rank: float | None, rollout_ranks: list[float | None], auc: float) -> float:
    """The mean of the three numbers that decide which penalty is best; see the head of this file."""
    along = [rank or 0.0 for rank in rollout_ranks] or [0.0]
    return float(np.mean([one_step_rank or 0.0, np.mean(along), 2 * auc - 1]))
