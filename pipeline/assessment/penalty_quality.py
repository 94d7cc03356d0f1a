"""Does a penalty know where the world model errs? On logged steps, along imagined rollouts, and beside other actions.

Which penalty is best: the one with the largest mean of three numbers between -1 and 1, undefined ones counting zero:
its rank correlation with the error of one step, that of its sum along rollouts with their error (mean over the
horizons), and 2 AUC - 1, how well it tells logged actions from collections.abc import Mapping
from others. All are measured on held-out episodes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import roc_auc_score
from torch import Generator, Tensor

from pipeline.assessment.model_error import Scale, encode_context, one_step
from pipeline.imagination import Imagination
from pipeline.protocols import Penalty, ValuePenalty, WorldModel
from pipeline.seeding import generator
from pipeline.types import Segments, Transitions
from pipeline.uncertainty import PENALTIES, PenaltySpec, build_penalty

ROLLOUT_HORIZONS = [1, 2, 5, 10, 20]
Array = NDArray[Any]
Correlations = dict[str, float | None]


def fitted_penalties(logged: Transitions, seed: int) -> dict[str, Penalty]:
    """All that need no learner's value, fitted on logged transitions of the training split."""
    built = {name: build_penalty(PenaltySpec(name)) for name in PENALTIES}
    penalties = {name: penalty for name, penalty in built.items() if not isinstance(penalty, ValuePenalty)}
    for name, penalty in penalties.items():
        penalty.fit(logged, generator(seed, "assess", "fit", name))
    return penalties


class Recorder:
    """A penalty that is zero, and remembers what each of several others said of every imagined step."""

    def __init__(self, penalties: Mapping[str, Penalty]) -> None:
        self.penalties = penalties
        self.heard: list[dict[str, Tensor]] = []

    def __call__(self, *asked: Any) -> Tensor:
        said = {name: penalty(*asked) for name, penalty in self.penalties.items()}
        self.heard.append(said)
        return torch.zeros_like(next(iter(said.values())))

    def steps(self) -> dict[str, Tensor]:
        """Each "B T"."""
        return {name: torch.stack([said[name] for said in self.heard], 1) for name in self.penalties}


def correlate(penalty: Array, error: Array) -> Correlations:
    """Spearman and Pearson correlation (both after Lu et al. 2022, arXiv:2110.04135); None where one never varies."""
    if len(error) < 2 or np.ptp(penalty) == 0 or np.ptp(error) == 0:
        return {"spearman": None, "pearson": None}
    found = {"spearman": spearmanr(penalty, error).statistic, "pearson": pearsonr(penalty, error).statistic}
    return {k: float(v) if np.isfinite(v) else None for k, v in found.items()}


def ranking(samples: dict[str, Array]) -> dict[str, Correlations]:
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
) -> dict[str, dict[str, Any]]:
    """Correlations of each penalty, ``sum`` or ``max`` over h imagined steps under the logged actions, with the decoded
    error of step h in units of :class:`Scale`; one number for each of ``horizons`` that the windows allow. Steps are
    drawn, as a learner's are."""
    heard: list[dict[str, Tensor]] = []
    errors = []
    for windows in batches:
        plan = windows.action[:, context : context + ROLLOUT_HORIZONS[-1]]
        recorder: Any = Recorder(penalties)
        start, actor = encode_context(model, windows, context), lambda s, t, g, plan=plan: plan[:, t]
        states = Imagination(model, recorder).rollout(actor, start, plan.shape[1], draws).state
        heard.append(recorder.steps())
        errors.append(
            torch.stack([_error(model, s, windows, context + t, scale) for t, s in enumerate(states.unbind(1))], 1)
        )
    error = torch.cat(errors)
    penalty = {name: torch.cat([said[name] for said in heard]) for name in penalties}
    horizons = [h for h in ROLLOUT_HORIZONS if h < error.shape[1]]
    return {name: _by_horizon(steps, error, horizons) for name, steps in penalty.items()}


def _error(model: WorldModel, state: Tensor, windows: Segments, frame: int, scale: Scale) -> Tensor:
    truth = scale({k: v[:, frame] for k, v in windows.obs.items()})
    return (scale(model.decode(state)) - truth).square().mean(-1).sqrt()


def _by_horizon(penalty: Tensor, error: Tensor, horizons: list[int]) -> dict[str, Any]:
    found: dict[str, Any] = {"horizons": horizons}
    for how, total in {"sum": penalty.cumsum(1), "max": penalty.cummax(1).values}.items():
        rows = [correlate(total[:, h - 1].numpy(), error[:, h].numpy()) for h in horizons]
        found[how] = {kind: [row[kind] for row in rows] for kind in ("spearman", "pearson")}
    return found


def shuffled_auc(
    model: WorldModel, data: Transitions, samples: dict[str, Array], penalties: Mapping[str, Penalty], draws: Generator
) -> dict[str, float]:
    """Area under the curve of telling the logged actions, whose penalties ``samples`` holds, from the same actions
    dealt out anew to the same states: 1 where every logged step has the lower penalty, 0.5 by chance."""
    dealt = replace(data, action=data.action[torch.randperm(len(data), generator=draws)])
    others = one_step(model, dealt, penalties, draws)
    return {name: auc(samples[f"penalty_{name}"], others[f"penalty_{name}"]) for name in penalties}


def auc(logged: Array, other: Array) -> float:
    """Probability that a step of ``other`` has the larger penalty; ties count half."""
    labels = np.repeat([0, 1], [len(logged), len(other)])
    return float(roc_auc_score(labels, np.concatenate([logged, other])))


def score(found: dict[str, Any]) -> float:
    """What the best penalty has most of: see the head of this file."""
    along = [s or 0.0 for s in found["rollout"]["sum"]["spearman"]] or [0.0]
    return float(np.mean([found["spearman"] or 0.0, np.mean(along), 2 * found["auc"] - 1]))
