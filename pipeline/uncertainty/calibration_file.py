"""``data/calibration/seed-K.json``: what whoever imagines with a world model should know of its uncertainty."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class PenaltyCalibration:
    """One penalty, measured on held-out logs. Numbers that are undefined, as of a constant penalty, are None."""

    kind: str | None  # aleatoric, epistemic or total, where the penalty says so
    scale: float | None  # times the raw penalty: the expected error of a step, in units of reward
    quantiles: dict[str, float]  # of the scaled penalty over logged steps, by level ("0.5", "0.95", ...)
    spearman: float | None  # with the error of one step
    rollout_spearman: dict[str, float | None]  # of its sum over a rollout with the error then, by steps ("5", ...)
    auc: float | None  # how well it tells the logged action from another; 0.5: not at all
    score: float  # what best_penalty goes by


@dataclass(frozen=True)
class Calibration:
    """What ``assess_world_model`` found. ``horizon`` is the number of steps that imagination can be trusted, at most
    ``horizon_measured``; both are defined in :mod:`pipeline.assessment.horizon`, ``best_penalty`` in
    :mod:`pipeline.assessment.penalty_quality`. ``temperature`` multiplies each member's std of the named output
    (:mod:`pipeline.assessment.calibration`); None where outputs have no width to correct."""

    horizon: int
    horizon_measured: int
    best_penalty: str
    penalties: dict[str, PenaltyCalibration]
    temperature: dict[str, float] | None
    schema_version: int = SCHEMA_VERSION

    def save(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(asdict(self), indent=2, allow_nan=False) + "\n")

    @classmethod
    def load(cls, file: Path) -> "Calibration":
        """Raises ValueError for a file that is missing, damaged, or newer than this project."""
        try:
            facts: dict[str, Any] = json.loads(file.read_text())
            if facts["schema_version"] > SCHEMA_VERSION:
                raise ValueError(f"schema_version {facts['schema_version']} is newer; update the project")
            penalties = {name: PenaltyCalibration(**found) for name, found in facts["penalties"].items()}
            return cls(**{**facts, "penalties": penalties})
        except FileNotFoundError:
            raise ValueError(f"{file}: not found; run `dvc repro assess_world_model`") from None
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{file}: cannot be read ({error}); run `dvc repro assess_world_model`") from None
