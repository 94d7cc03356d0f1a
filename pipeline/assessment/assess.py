"""Everything measured of a world model on the held-out episodes, whatever its kind."""

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
from pipeline.data.dataset import PreparedDataset
from pipeline.data.transitions import encode_transitions, windows
from pipeline.data.windows import Windows
from pipeline.imagination import QUANTILES
from pipeline.protocols import Penalty
from pipeline.seeding import generator
from pipeline.types import Segments
from pipeline.uncertainty.calibration_file import Calibration, PenaltyCalibration
from pipeline.world_models.protocols import TrainableWorldModel, is_latent
from pipeline.world_models.termination import termination_quality

WINDOWS, FRAME_WINDOWS, STEPS = 1000, 200, 20_000  # held-out windows replayed, held-out transitions ranked
TRAIN_STEPS = 200_000  # from which the linear baseline is fitted: more do not change it
CHUNK = 250  # windows in memory at a time

Json = dict[str, Any]


@dataclass(frozen=True)
class Assessment:
    errors: Json  # data/calibration/seed-K/errors.json
    reliability: Json  # data/calibration/seed-K/reliability.json
    samples: dict[str, NDArray[Any]]  # true error beside every penalty, one step, "N"
    latents: dict[str, NDArray[Any]] | None = None  # of held-out windows; None for a model without latents

    @property
    def calibration(self) -> Calibration:
        """What those who imagine with this model should know."""
        quality, trust = self.errors["penalties"], self.errors["trust"]
        temperature = None
        if "skipped" not in self.reliability:
            temperature = dict(zip(self.reliability["outputs"], self.reliability["temperature"], strict=True))
        return Calibration(
            horizon=trust["horizon"],
            horizon_measured=trust["horizon_measured"],
            best_penalty=max(quality, key=lambda name: quality[name]["score"]),
            penalties={name: _penalty(self.samples, name, found) for name, found in quality.items()},
            temperature=temperature,
        )


def assess(
    model: TrainableWorldModel, dataset: PreparedDataset, penalties: Mapping[str, Penalty], seed: int
) -> Assessment:
    """Open loop, single steps by feature, likelihood, coverage, penalties and termination, on held-out episodes."""
    context = context_of(dataset)
    scale, linear = Scale(dataset.spec.obs_shapes, model.data_spec.statistics), linear_baseline(model, dataset, seed)
    errors = open_loop(model, whole_windows(dataset, context, seed), scale, context, linear)
    held_out, rows = encode_transitions(dataset, "held_out", model), dataset.steps("held_out")
    picks = torch.randperm(len(held_out), generator=generator(seed, "assess", "steps"))[:STEPS]
    data, rows = held_out[picks], rows[picks.numpy()]
    samples = one_step(model, data, penalties, generator(seed, "assess", "draws"))
    dealt = shuffled_auc(model, data, samples, penalties, generator(seed, "assess", "shuffled"))
    batches, draws = whole_windows(dataset, context, seed), generator(seed, "assess", "rollouts")
    along = along_rollouts(model, batches, scale, penalties, context, draws)
    for name, found in ranking(samples).items():
        told = {"kind": penalties[name].kind, **found, "auc": dealt[name], "rollout": along[name]}
        errors.setdefault("penalties", {})[name] = told | {"score": score(told)}
    obs, after = (torch.from_numpy(dataset.flat_obs(r)) for r in (rows, rows + 1))
    errors["features"] = feature_errors(model, data, obs, after, feature_names(dataset), linear)
    errors["termination"] = termination_quality(model, held_out)
    episode = torch.from_numpy(np.searchsorted(dataset.offsets, rows, side="right"))
    judged = reliability(model, data, episode, output_names(model, dataset), generator(seed, "assess", "halves"))
    return Assessment(errors, judged, samples)


def context_of(dataset: PreparedDataset) -> int:
    """Real steps that a model sees first: fewer where no held-out episode is long enough."""
    return min(CONTEXT, int(dataset.episode_lengths("held_out").max()) - 1)


def linear_baseline(model: TrainableWorldModel, dataset: PreparedDataset, seed: int) -> LinearBaseline | None:
    """None where observations are images alone."""
    if not dataset.spec.vector_keys:
        return None
    train = dataset.transitions("train")
    picks = torch.randperm(len(train["reward"]), generator=generator(seed, "assess", "linear"))[:TRAIN_STEPS]
    return LinearBaseline({k: v[picks] for k, v in train.items()}, model.data_spec.statistics)


def feature_names(dataset: PreparedDataset) -> list[str]:
    """Of the flat vector observation."""
    return [name for key in dataset.spec.vector_keys for name in dataset.spec.obs_names[key]]


def output_names(model: TrainableWorldModel, dataset: PreparedDataset) -> list[str]:
    """Of what a model predicts: latents by number, or the features that vary and the reward."""
    if is_latent(model):
        return [f"latent[{i}]" for i in range(model.latent.dim)]
    names = feature_names(dataset)
    return [*(names[i] for i in model.data_spec.statistics.changing), "reward"]


def whole_windows(dataset: PreparedDataset, context: int, seed: int) -> Iterator[Segments]:
    """Held-out windows without padding, as long as the longest horizon that some held-out episode allows."""
    longest = int(dataset.episode_lengths("held_out").max())
    length = context + max(h for h in HORIZONS if h <= longest - context)
    count = WINDOWS if dataset.spec.vector_keys else FRAME_WINDOWS
    rows = windows(dataset, "held_out", length, count, generator(seed, "assess", "windows"))
    held_out = Windows(dataset, "held_out", length)
    for some in rows.split(CHUNK):
        yield held_out.read(torch.stack([some, torch.full_like(some, length)], dim=1))


def _penalty(samples: dict[str, NDArray[Any]], name: str, found: Json) -> PenaltyCalibration:
    raw, along = samples[f"penalty_{name}"].astype(np.float64), found["rollout"]
    scale = float(samples["true_error"].mean() / raw.mean()) if raw.mean() > 0 else None
    return PenaltyCalibration(
        kind=found["kind"],
        scale=scale,
        quantiles={} if scale is None else {str(q): float(np.quantile(raw * scale, q)) for q in QUANTILES},
        spearman=found["spearman"],
        rollout_spearman=dict(zip(map(str, along["horizons"]), along["sum"]["spearman"], strict=True)),
        auc=found["auc"],
        score=found["score"],
    )
