"""The file ``data/calibration/seed-K.json``: the calibration of a world model's uncertainty, which imagination uses."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import model_validator, with_config

from pipeline.validation import RECORD, NonNegativeFloat, NonNegativeInt, PositiveFloat
from pipeline.validation.records import save_record
from pipeline.validation.stored import read_object, record_of

SCHEMA_VERSION = 1
AGAIN = "run `dvc repro assess_world_model`"


@with_config(RECORD)
@dataclass(frozen=True)
class PenaltyCalibration:
    """One penalty, measured on held-out logs. Undefined numbers, such as those of a constant penalty, are None."""

    kind: str | None  # aleatoric, epistemic or total; None if the penalty does not declare it
    scale: NonNegativeFloat | None  # times the penalty: the expected error of a step, in units of reward
    quantiles: dict[str, NonNegativeFloat]  # of the scaled penalty over logged steps, by level ("0.5", "0.95", ...)
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
    temperature: dict[str, PositiveFloat] | None
    schema_version: int = SCHEMA_VERSION

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.horizon > self.horizon_measured:
            raise ValueError(f"horizon {self.horizon} is beyond horizon_measured, {self.horizon_measured}")
        if self.best_penalty not in self.penalties:
            raise ValueError(f"best_penalty `{self.best_penalty}` is none of {', '.join(self.penalties)}")
        return self

    def save(self, file: Path) -> None:
        """Write ``file`` and its folder. Raises ValueError for numbers that are not finite."""
        save_record(self, file, seal=True)

    @classmethod
    def load(cls, file: Path) -> "Calibration":
        """The calibration in ``file``. Raises ValueError when it is missing, damaged, or of another version."""
        return record_of(cls, read_object(file, SCHEMA_VERSION, AGAIN), file, AGAIN)
