"""Everything the report shows, read from the stages' outputs."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.dataset import PreparedDataset, open_dataset

Json = dict[str, Any]
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Results:
    """One entry per seed, in the order of ``seeds``, in every dict that is keyed by seed."""

    seeds: list[int]
    dataset: PreparedDataset
    card: Json  # reports/metrics/dataset.json
    findings: list[Json]  # what ingest found odd about the logs, the gravest first
    world_model: dict[int, Json]  # history.json
    errors: dict[int, Json]  # open loop, by feature, and how well penalties follow
    reliability: dict[int, Json]  # coverage of the model's intervals, before and after recalibration
    calibration: dict[int, Json]  # what learners are told of it
    samples: dict[int, Arrays]  # one-step true error beside every penalty
    latents: dict[int, Arrays]  # what the model made of held-out windows; empty for a model without latents
    policy: dict[int, Json]
    bc: dict[int, Json]
    returns: Arrays  # raw, "S E"
    evaluation: Json
    offline: Json  # what policies are worth by the logs and the world model alone

    @property
    def title(self) -> str:
        """Dataset and seeds, for the head of every figure."""
        return f"{self.dataset.spec.name}, {self.seeds_told}"

    @property
    def seeds_told(self) -> str:
        """ "seed 0", "seeds 0, 1"."""
        return f"{'seed' if len(self.seeds) == 1 else 'seeds'} {', '.join(map(str, self.seeds))}"

    @property
    def error_unit(self) -> str:
        """What open-loop and reconstruction errors of observations are measured in."""
        return "standard deviations" if self.dataset.spec.vector_keys else "share of brightness"

    @property
    def first_latents(self) -> Arrays | None:
        """Those of the first seed, whose windows and states are shown; None for a model without latents."""
        return next(iter(self.latents.values()), None)

    def finding(self, name: str) -> Json | None:
        """The finding of that name; None where its check did not apply."""
        return next((found for found in self.findings if found["name"] == name), None)

    def summary(self, agent: str) -> Json | None:
        """The scores of one agent, None where it was not run."""
        found: Json | None = self.evaluation["scores"].get(agent)
        return found if found and found.get("return_mean") is not None else None


def load(root: Path, seeds: list[int]) -> Results:
    """Read a finished pipeline below ``root``. Raises ValueError that names the missing or damaged file."""
    data = root / "data"

    def per_seed(folder: str, file: str) -> dict[int, Json]:
        return {seed: read_json(data / folder / f"seed-{seed}" / file) for seed in seeds}

    latents = {seed: data / "calibration" / f"seed-{seed}" / "latents.npz" for seed in seeds}
    return Results(
        seeds=seeds,
        dataset=open_dataset(data / "dataset"),
        card=read_json(root / "reports" / "metrics" / "dataset.json"),
        findings=read_json(data / "dataset" / "checks.json"),
        world_model=per_seed("world_model", "history.json"),
        errors=per_seed("calibration", "errors.json"),
        reliability=per_seed("calibration", "reliability.json"),
        calibration={seed: read_json(data / "calibration" / f"seed-{seed}.json") for seed in seeds},
        samples={seed: read_npz(data / "calibration" / f"seed-{seed}" / "samples.npz") for seed in seeds},
        latents={seed: read_npz(file) for seed, file in latents.items() if file.exists()},
        policy=per_seed("policy", "history.json"),
        bc=per_seed("bc", "history.json"),
        returns=read_npz(data / "returns" / "returns.npz"),
        evaluation=read_json(root / "reports" / "metrics" / "evaluate.json"),
        offline=read_json(root / "reports" / "metrics" / "offline.json"),
    )


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise ValueError(f"{path}: not found; run `dvc repro`") from None
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON ({error}); delete it and run `dvc repro`") from None


def read_npz(path: Path) -> Arrays:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise ValueError(f"{path}: not found; run `dvc repro`") from None
    except Exception as error:  # a damaged zip raises whatever its bytes happen to break
        raise ValueError(f"{path}: cannot be read ({error}); delete it and run `dvc repro`") from None
