"""The file ``data/calibration/seed-K.json``: the calibration of a world model's uncertainty, which imagination uses."""

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import with_config

from pipeline.validation import RECORD, NonNegativeInt, from_json
from pipeline.validation.records import save_record

SCHEMA_VERSION = 1


@with_config(RECORD)
@dataclass(frozen=True)
class PenaltyCalibration:
    """One penalty, measured on held-out logs. Undefined numbers, such as those of a constant penalty, are None."""

    kind: str | None  # aleatoric, epistemic or total; None if the penalty does not declare it
    scale: float | None  # times the penalty: the expected error of a step, in units of reward
    quantiles: dict[str, float]  # of the scaled penalty over logged steps, by level ("0.5", "0.95", ...)
    spearman: float | None  # rank correlation with the error of one step
    rollout_spearman: dict[str, float | None]  # of its sum over a rollout with the final error, by steps ("5", ...)
    auc: float | None  # how well it separates logged actions from others; 0.5 is chance
    score: float  # best_penalty is the penalty with the highest score


@with_config(RECORD)
@dataclass(frozen=True)
class Calibration:
    """The results of ``assess_world_model``.

    ``horizon`` is the number of steps for which imagination is trusted, at most ``horizon_measured``; see
    :mod:`pipeline.assessment.horizon`. ``best_penalty`` is defined in :mod:`pipeline.assessment.penalty_quality`.
    ``temperature`` multiplies each member's standard deviation of the named output
    (:mod:`pipeline.assessment.calibration`); None for a model whose outputs have none to correct.
    """

    horizon: NonNegativeInt
    horizon_measured: NonNegativeInt
    best_penalty: str
    penalties: dict[str, PenaltyCalibration]
    temperature: dict[str, float] | None
    schema_version: int = SCHEMA_VERSION

    def save(self, file: Path) -> None:
        """Write ``file`` and its folder. Raises ValueError for numbers that are not finite."""
        save_record(self, file)

    @classmethod
    def load(cls, file: Path) -> "Calibration":
        """The calibration in ``file``. Raises ValueError when it is missing, damaged, or newer than this project."""
        try:
            record = json.loads(file.read_text())
            if record["schema_version"] > SCHEMA_VERSION:
                raise ValueError(f"schema_version {record['schema_version']} is newer; update the project")
            return from_json(cls, record)
        except FileNotFoundError:
            raise ValueError(f"{file}: not found; run `dvc repro assess_world_model`") from None
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{file}: cannot be read ({error}); run `dvc repro assess_world_model`") from None
