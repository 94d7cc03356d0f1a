"""Assess a world model of any kind on the held-out episodes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.assessment.features import feature_errors
from pipeline.assessment.linear_baseline import LinearBaseline
from pipeline.assessment.model_error import CONTEXT, HORIZONS, Scale, one_step
from pipeline.assessment.open_loop import open_loop
from pipeline.assessment.penalty_quality import along_rollouts, ranking, score, shuffled_auc
from pipeline.assessment.reliability import reliability
from pipeline.assessment.results import ModelErrors, NoReliability, PenaltyQuality, Reliability
from pipeline.data.dataset import PreparedDataset
from pipeline.data.transitions import encode_transitions, windows
from pipeline.data.windows import Windows
from pipeline.imagination import QUANTILES
from pipeline.protocols import Penalty
from pipeline.seeding import generator
from pipeline.types import Segments, Transitions
from pipeline.uncertainty.calibration_file import Calibration, PenaltyCalibration
from pipeline.world_models.protocols import TrainableWorldModel, is_latent
from pipeline.world_models.termination import termination_quality

WINDOWS = 1000  # held-out windows replayed
FRAME_WINDOWS = 200  # the same for observations that are images alone
STEPS = 20_000  # held-out transitions ranked
TRAIN_STEPS = 200_000  # to fit the linear baseline; more do not change it
CHUNK = 250  # windows in memory at a time


@dataclass(frozen=True)
class Assessment:
    """All measurements of one world model."""

    errors: ModelErrors  # data/calibration/seed-K/errors.json
    reliability: Reliability | NoReliability  # data/calibration/seed-K/reliability.json
    samples: dict[str, NDArray[Any]]  # one-step true error beside every penalty, "N"
    latents: dict[str, NDArray[Any]] | None = None  # of held-out windows; None for a model without latents

    @property
    def calibration(self) -> Calibration:
        """The part that users of the world model need: trusted horizon, penalties and temperatures."""
        quality, trust = self.errors.penalties, self.errors.trust
        temperature = None
        if isinstance(self.reliability, Reliability):
            temperature = dict(zip(self.reliability.outputs, self.reliability.temperature, strict=True))
        return Calibration(
            horizon=trust.horizon,
            horizon_measured=trust.horizon_measured,
            best_penalty=max(quality, key=lambda name: quality[name].score),
            penalties={name: _penalty(self.samples, name, measured) for name, measured in quality.items()},
            temperature=temperature,
        )


def assess(
    model: TrainableWorldModel, dataset: PreparedDataset, penalties: Mapping[str, Penalty], seed: int
) -> Assessment:
    """Measure open-loop and one-step errors, likelihood, coverage, penalties and termination on held-out episodes."""
    context = context_of(dataset)
    scale = Scale(dataset.spec.obs_shapes, model.data_spec.statistics)
    linear = linear_baseline(model, dataset, seed)
    open_loop_errors = open_loop(model, whole_windows(dataset, context, seed), scale, context, linear)
    held_out, rows = encode_transitions(dataset, "held_out", model), dataset.steps("held_out")
    picks = torch.randperm(len(held_out), generator=generator(seed, "assess", "steps"))[:STEPS]
    data, rows = held_out[picks], rows[picks.numpy()]
    samples = one_step(model, data, penalties, generator(seed, "assess", "draws"))
    quality = _penalty_quality(model, dataset, penalties, data, samples, scale, seed)
    obs, after = (torch.from_numpy(dataset.flat_obs(r)) for r in (rows, rows + 1))
    errors = ModelErrors(
        **vars(open_loop_errors),
        penalties=quality,
        features=feature_errors(model, data, obs, after, feature_names(dataset), linear, model.data_spec.statistics),
        termination=termination_quality(model, held_out),
    )
    episode = torch.from_numpy(np.searchsorted(dataset.offsets, rows, side="right"))
    halves = generator(seed, "assess", "halves")
    return Assessment(errors, reliability(model, data, episode, output_names(model, dataset), halves), samples)


def _penalty_quality(
    model: TrainableWorldModel,
    dataset: PreparedDataset,
    penalties: Mapping[str, Penalty],
    data: Transitions,
    samples: dict[str, NDArray[Any]],
    scale: Scale,
    seed: int,
) -> dict[str, PenaltyQuality]:
    aucs = shuffled_auc(model, data, samples, penalties, generator(seed, "assess", "shuffled"))
    context = context_of(dataset)
    batches, draws = whole_windows(dataset, context, seed), generator(seed, "assess", "rollouts")
    rollouts = along_rollouts(model, batches, scale, penalties, context, draws)
    return {
        name: PenaltyQuality(
            kind=penalties[name].kind,
            spearman=rank.spearman,
            pearson=rank.pearson,
            auc=aucs[name],
            rollout=rollouts[name],
            score=score(rank.spearman, rollouts[name].sum.spearman, aucs[name]),
        )
        for name, rank in ranking(samples).items()
    }


def context_of(dataset: PreparedDataset) -> int:
    """Real steps that a model sees first: CONTEXT, or fewer if no held-out episode is long enough."""
    return min(CONTEXT, int(dataset.episode_lengths("held_out").max()) - 1)


def linear_baseline(model: TrainableWorldModel, dataset: PreparedDataset, seed: int) -> LinearBaseline | None:
    """The baseline fitted on training transitions; None if observations are images alone."""
    if not dataset.spec.vector_keys:
        return None
    train = dataset.transitions("train")
    picks = torch.randperm(len(train["reward"]), generator=generator(seed, "assess", "linear"))[:TRAIN_STEPS]
    return LinearBaseline({k: v[picks] for k, v in train.items()}, model.data_spec.statistics)


def feature_names(dataset: PreparedDataset) -> list[str]:
    """Names of the entries of the flat vector observation."""
    return [name for key in dataset.spec.vector_keys for name in dataset.spec.obs_names[key]]


def output_names(model: TrainableWorldModel, dataset: PreparedDataset) -> list[str]:
    """Names of a model's outputs: latents by number, or the features that vary and the reward."""
    if is_latent(model):
        return [f"latent[{i}]" for i in range(model.latent.dim)]
    names = feature_names(dataset)
    return [*(names[i] for i in model.data_spec.statistics.changing), "reward"]


def whole_windows(dataset: PreparedDataset, context: int, seed: int) -> Iterator[Segments]:
    """Held-out windows without padding, of the longest horizon that the longest held-out episode allows."""
    longest = int(dataset.episode_lengths("held_out").max())
    length = context + max(h for h in HORIZONS if h <= longest - context)
    count = WINDOWS if dataset.spec.vector_keys else FRAME_WINDOWS
    rows = windows(dataset, "held_out", length, count, generator(seed, "assess", "windows"))
    held_out = Windows(dataset, "held_out", length)
    for chunk in rows.split(CHUNK):
        yield held_out.read(torch.stack([chunk, torch.full_like(chunk, length)], dim=1))


def _penalty(samples: dict[str, NDArray[Any]], name: str, quality: PenaltyQuality) -> PenaltyCalibration:
    raw = samples[f"penalty_{name}"].astype(np.float64)
    scale = float(samples["true_error"].mean() / raw.mean()) if raw.mean() > 0 else None
    rollout = quality.rollout
    return PenaltyCalibration(
        kind=quality.kind,
        scale=scale,
        quantiles={} if scale is None else {str(q): float(np.quantile(raw * scale, q)) for q in QUANTILES},
        spearman=quality.spearman,
        rollout_spearman=dict(zip(map(str, rollout.horizons), rollout.sum.spearman, strict=True)),
        auc=quality.auc,
        score=quality.score,
    )
