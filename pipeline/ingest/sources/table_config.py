"""Options of source ``table``."""

from dataclasses import field
from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from pipeline.ingest.sources.base import SourceConfig
from pipeline.validation import OPTIONS, PositiveFloat


@dataclass(frozen=True, config=OPTIONS)
class TableConfig(SourceConfig):
    """Columns of a CSV or Parquet file, or of a folder of them. Text becomes one 0/1 feature a category, a column of
    lists one feature an entry; units are left alone."""

    obs_columns: list[str] = field(default_factory=list)  # columns of observations
    action_columns: list[str] = field(default_factory=list)  # columns of actions
    reward_column: str = "reward"  # column of rewards
    terminal_column: str | None = "terminal"  # column of true ends; null: no episode truly ends
    timeout_column: str | None = None  # column of time limits; null: none
    episode_column: str | None = "episode"  # column that tells episodes apart; null: each file is an episode
    time_column: str | None = None  # column of numbers or dates; null: rows are in order and evenly spaced
    terminal_includes_timeouts: bool = False  # whether terminal_column is also set at time limits
    categorical_columns: list[str] = field(default_factory=list)  # columns of numbers that are categories
    resample: PositiveFloat | None = None  # step of an even time grid, in seconds or the column's unit; null: none
    max_gap: PositiveFloat = 10.0  # longest gap that is resampled, in steps of the grid; longer ones are refused
    # between CSV columns; null: a comma, in .tsv a tab
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None

    @model_validator(mode="after")
    def _columns_agree(self) -> Self:
        for param in ("obs_columns", "action_columns"):
            if not getattr(self, param):
                raise ValueError(f"{param} is empty: name columns; `python -m pipeline inspect FILE` proposes some")
        for names in ([*self.obs_columns, *self.action_columns], list(self.single.values())):
            if twice := {name for name in names if names.count(name) > 1}:
                raise ValueError(f"columns {sorted(twice)} are named twice; give each one meaning")
        if unknown := set(self.categorical_columns) - set(self.obs_columns):
            raise ValueError(f"categorical_columns: {sorted(unknown)} are not among obs_columns")
        if self.resample is not None and self.time_column is None:
            raise ValueError(f"resample {self.resample} needs `time_column`")
        return self

    @property
    def single(self) -> dict[str, str]:
        """The columns that have a key of their own in params.yaml, by that key."""
        params = ("reward_column", "terminal_column", "timeout_column", "episode_column", "time_column")
        return {param: name for param in params if (name := getattr(self, param)) is not None}

    @property
    def used(self) -> list[str]:
        """All columns that are read, each once."""
        return list(dict.fromkeys([*self.obs_columns, *self.action_columns, *self.single.values()]))
