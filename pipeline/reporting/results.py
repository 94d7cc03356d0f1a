"""Everything the report shows, read from the outputs of the other stages."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from pipeline.assessment.results import ModelErrors, NoReliability, Reliability
from pipeline.data.dataset import PreparedDataset, open_dataset
from pipeline.evaluation.results import EvaluationSummary, ScoreSummary
from pipeline.ingest.checks.result import CheckResult
from pipeline.ingest.results import DatasetCard
from pipeline.ope.results import OfflineSummary
from pipeline.policies.history import PolicyHistory
from pipeline.uncertainty.calibration_file import Calibration
from pipeline.validation.records import load_record
from pipeline.world_models.results import WorldModelHistory

Arrays = dict[str, NDArray[Any]]
T = TypeVar("T")

HISTORY = TypeAdapter(PolicyHistory)
CHECKS: TypeAdapter[list[CheckResult]] = TypeAdapter(list[CheckResult])
RELIABILITY: TypeAdapter[Reliability | NoReliability] = TypeAdapter(Reliability | NoReliability)


@dataclass(frozen=True)
class Results:
    """All results of one run. Every dict keyed by seed has one entry per seed, in the order of ``seeds``."""

    seeds: list[int]
    dataset: PreparedDataset
    card: DatasetCard
    checks: list[CheckResult]  # of the logs, the most severe first
    world_model: dict[int, WorldModelHistory]
    errors: dict[int, ModelErrors]
    reliability: dict[int, Reliability | NoReliability]
    calibration: dict[int, Calibration]
    samples: dict[int, Arrays]  # one-step true error beside every penalty, "N"
    latents: dict[int, Arrays]  # see pipeline.assessment.latents; empty for a model without latents
    policy: dict[int, PolicyHistory]
    baselines: dict[str, dict[int, PolicyHistory]]  # by learner, in the order of params.yaml
    returns: Arrays  # raw, "S E" by agent
    evaluation: EvaluationSummary
    offline: OfflineSummary
    film: Arrays = field(default_factory=dict)  # see pipeline.evaluation.film; empty if no episode was drawn

    @property
    def title(self) -> str:
        """Dataset and seeds, for the title of every figure."""
        return f"{self.dataset.spec.name}, {self.seeds_text}"

    @property
    def seeds_text(self) -> str:
        """ "seed 0", "seeds 0, 1"."""
        return f"{'seed' if len(self.seeds) == 1 else 'seeds'} {', '.join(map(str, self.seeds))}"

    @property
    def error_unit(self) -> str:
        """Unit of open-loop and reconstruction errors of observations."""
        return "standard deviations" if self.dataset.spec.vector_keys else "share of brightness"

    @property
    def first_errors(self) -> ModelErrors:
        """Errors of the first seed's world model: horizons and names are the same for every seed."""
        return self.errors[self.seeds[0]]

    @property
    def first_latents(self) -> Arrays | None:
        """Latents of the first seed, whose windows and states are shown; None for a model without latents."""
        return next(iter(self.latents.values()), None)

    @property
    def measured_reliability(self) -> list[Reliability]:
        """Reliability of the seeds that have intervals."""
        return [r for r in self.reliability.values() if isinstance(r, Reliability)]

    @property
    def no_reliability(self) -> list[str]:
        """Why some seeds have no intervals: the different reasons, sorted."""
        return sorted({r.skipped for r in self.reliability.values() if isinstance(r, NoReliability)})

    def check(self, name: str) -> CheckResult | None:
        """The result of the check of that name; None if it did not apply."""
        return next((check for check in self.checks if check.name == name), None)

    def summary(self, agent: str) -> ScoreSummary | None:
        """The scores of one agent; None if it was not run."""
        return self.evaluation.summary(agent)


def load(root: Path, seeds: list[int]) -> Results:
    """Read a finished pipeline below ``root``. Raises ValueError that names the missing or damaged file."""
    data = root / "data"
    metrics = root / "reports" / "metrics"

    def per_seed(adapter: TypeAdapter[T], folder: str, file: str) -> dict[int, T]:
        return {seed: load_record(adapter, data / folder / f"seed-{seed}" / file) for seed in seeds}

    evaluation = load_record(TypeAdapter(EvaluationSummary), metrics / "evaluate.json")
    film = data / "returns" / "film.npz"
    latents = {seed: data / "calibration" / f"seed-{seed}" / "latents.npz" for seed in seeds}
    return Results(
        seeds=seeds,
        dataset=open_dataset(data / "dataset"),
        card=load_record(TypeAdapter(DatasetCard), metrics / "dataset.json"),
        checks=load_record(CHECKS, data / "dataset" / "checks.json"),
        world_model=per_seed(TypeAdapter(WorldModelHistory), "world_model", "history.json"),
        errors=per_seed(TypeAdapter(ModelErrors), "calibration", "errors.json"),
        reliability=per_seed(RELIABILITY, "calibration", "reliability.json"),
        calibration={seed: Calibration.load(data / "calibration" / f"seed-{seed}.json") for seed in seeds},
        samples={seed: read_npz(data / "calibration" / f"seed-{seed}" / "samples.npz") for seed in seeds},
        latents={seed: read_npz(file) for seed, file in latents.items() if file.exists()},
        policy=per_seed(HISTORY, "policy", "history.json"),
        baselines={name: per_seed(HISTORY, "baselines", f"{name}/history.json") for name in evaluation.baselines},
        returns=read_npz(data / "returns" / "returns.npz"),
        evaluation=evaluation,
        offline=load_record(TypeAdapter(OfflineSummary), metrics / "offline.json"),
        film=read_npz(film) if film.exists() else {},
    )


def read_npz(path: Path) -> Arrays:
    """All arrays of a file by name. Raises ValueError that names a missing or damaged file."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise ValueError(f"{path}: not found; run `dvc repro`") from None
    except Exception as error:  # a damaged archive can raise anything
        raise ValueError(f"{path}: cannot be read ({error}); delete it and run `dvc repro`") from None
