"""Options of source ``table``."""

import dataclasses
import re
from dataclasses import field
from functools import cached_property
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic.dataclasses import dataclass

from pipeline.ingest.sources.base import SourceConfig, require_reward
from pipeline.ingest.sources.dates import known_format
from pipeline.ingest.sources.dialect import DECIMALS, TextOptions
from pipeline.ingest.sources.table_gaps import GAPS, HOLD, SPLIT
from pipeline.ingest.sources.table_measured import AUTO, MISSING, REFUSE
from pipeline.ingest.sources.table_time import REWARD_RESAMPLE
from pipeline.ingest.sources.time_zone import known_zone
from pipeline.validation import (
    LARGEST,
    OPTIONS,
    Flag,
    Float,
    NonNegativeInt,
    Number,
    OneOf,
    PositiveFloat,
    PositiveInt,
    Text,
)

SINGLE = ("reward", "terminal", "timeout", "episode", "time", "time_of_day", "group")  # what one column has each


@dataclass(frozen=True, config=OPTIONS)
class TableConfig(SourceConfig):
    """Columns of a CSV or Parquet file, or of a folder of them. Text becomes one 0/1 feature a category, a column of
    lists one feature an entry; units are left alone."""

    obs_columns: list[Text] = field(default_factory=list)  # columns of observations
    # columns of the observation after the step, in the order of obs_columns; empty: it stands in the next row
    next_obs_columns: list[Text] = field(default_factory=list)
    action_columns: list[Text] = field(default_factory=list)  # columns of actions
    reward_column: Text | None = "reward"  # column of rewards; null: `transform` defines them
    terminal_column: Text | None = "terminal"  # column of true ends; null: no episode truly ends
    timeout_column: Text | None = None  # column of time limits; null: none
    # column that tells episodes apart; null: each file is an episode, or several if it holds marked ends
    episode_column: Text | None = "episode"
    time_column: Text | None = None  # column of numbers or dates; null: rows are in order and evenly spaced
    # column of the time of day, where time_column holds the day alone; null: none
    time_of_day_column: Text | None = None
    # format of the dates, as of strptime: "%d.%m.%Y %H:%M:%S"; or the unit of counts since 1970: s, ms, us or ns; null:
    # recognized; numbers stay as they are
    time_format: Annotated[Text, AfterValidator(known_format)] | None = None
    # zone of dates without an offset, such as Europe/Berlin; needed where clocks change in the log; null: none
    time_zone: Annotated[Text, AfterValidator(known_zone)] | None = None
    terminal_includes_timeouts: Flag = False  # whether terminal_column is also set at time limits
    categorical_columns: list[Text] = field(default_factory=list)  # columns of numbers that are categories
    # rows by which an action stands late: the action of row t is in row t + action_offset of the episode
    action_offset: NonNegativeInt = 0
    reward_offset: NonNegativeInt = 0  # the same for rewards
    resample: PositiveFloat | None = None  # step of an even time grid, in seconds or the column's unit; null: none
    # reward of a step of the grid. mean: for rates, weighted by the time that each row lasts; sum: for amounts, which
    # count in proportion to that time; last: of the last row in it
    reward_resample: Annotated[str, OneOf(REWARD_RESAMPLE)] = "mean"
    # longest distance between rows that is no gap, in steps of the grid, or without resample of the median distance
    max_gap: Annotated[Float, Field(ge=1, le=LARGEST)] = 1.5
    # at a longer distance: split the episode there, refuse the log, or hold the last row, also its reward
    gaps: Annotated[str, OneOf(GAPS)] = SPLIT
    # empty cells: refuse the log; last: hold the last value of an observation and split the episode at an empty action
    # or reward; mask: the same, and tell the model which values of a column were measured and how old the others are
    missing: Annotated[str, OneOf(MISSING)] = REFUSE
    # column: rows between its measurements, whose value is copied into the rows between them; auto: inferred from its
    # changes. The model learns which values were measured and how old the others are
    update_every: dict[Text, PositiveInt | Annotated[str, OneOf((AUTO,))]] = field(default_factory=dict)
    # column that is constant in an episode, such as a patient or a machine; null: none
    group_column: Text | None = None
    cost_columns: list[Text] = field(default_factory=list)  # columns of costs, which are stored beside the reward
    # patterns of the files of a folder that are read, such as "adult*.csv"; empty: all tables in it and below it that
    # have the named columns
    files: list[Text] = field(default_factory=list)
    # How text files are written; null or empty: recognized from the first lines of each file.
    # between columns; " ": runs of blanks
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    decimal: Annotated[str, OneOf(DECIMALS)] | None = None  # decimal mark of numbers, "." or ","
    # between groups of three digits, such as the point in 1.234,5
    thousands: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    encoding: Text | None = None  # such as utf-8, utf-16 or latin-1
    header: NonNegativeInt | None = None  # number of lines above the first row, names and units; 0: no such line
    column_names: list[Text] = field(default_factory=list)  # instead of names in the file; needed if it has none
    # cells that mean a missing value, text or numbers such as -9999; empty cells, NaN, NA and null always do
    na_values: list[Number | str] = field(default_factory=list)

    @model_validator(mode="after")
    def _columns_agree(self) -> Self:
        for param in ("obs_columns", "action_columns"):
            if not getattr(self, param):
                raise ValueError(f"{param} is empty: name columns; `python -m pipeline inspect FILE` proposes some")
        several = [*self.observed, *self.next_obs_columns, *self.action_columns, *self.cost_columns]
        for names in (several, list(self.single.values())):
            if twice := {name for name in names if names.count(name) > 1}:
                raise ValueError(f"columns {sorted(twice)} are named twice; give each one meaning")
        for param in ("categorical_columns", "update_every"):
            if unknown := set(getattr(self, param)) - set(self.observed):
                raise ValueError(f"{param}: {sorted(unknown)} are not among obs_columns")
        if self.next_obs_columns and len(self.next_obs_columns) != len(self.obs_columns):
            counts = f"{len(self.next_obs_columns)} columns, but obs_columns has {len(self.obs_columns)}"
            raise ValueError(f"next_obs_columns names {counts}: name one for each, in the same order")
        return self

    @model_validator(mode="after")
    def _reward_is_defined(self) -> Self:
        require_reward(self, "reward_column", self.reward_column)
        return self

    @model_validator(mode="after")
    def _times_agree(self) -> Self:
        if self.resample is not None and self.time_column is None:
            raise ValueError(f"resample {self.resample} needs `time_column`")
        if self.time_column is None and (self.time_of_day_column or self.time_format or self.time_zone):
            raise ValueError("time_of_day_column, time_format or time_zone is set, but no time_column: name it")
        if self.gaps == HOLD and self.resample is None:
            raise ValueError("gaps: hold needs `resample`, the step of the grid whose points hold the last row")
        return self

    @property
    def text(self) -> TextOptions:
        """The options about text files."""
        return TextOptions(**{key.name: getattr(self, key.name) for key in dataclasses.fields(TextOptions)})

    @property
    def observed(self) -> list[str]:
        """The columns of observations: ``obs_columns``, then those exogenous ones that are not among them."""
        features = {name for name in self.exogenous_columns if _column_of(name) in self.obs_columns}
        return [*self.obs_columns, *(n for n in self.exogenous_columns if n not in {*self.obs_columns, *features})]

    @cached_property
    def single(self) -> dict[str, str]:
        """The columns that have a key of their own in params.yaml, by that key."""
        params = tuple(f"{what}_column" for what in SINGLE)
        return {param: name for param in params if (name := getattr(self, param)) is not None}

    @property
    def used(self) -> list[str]:
        """All columns that are read, each once."""
        columns = [*self.observed, *self.next_obs_columns, *self.action_columns, *self.cost_columns]
        return list(dict.fromkeys([*columns, *self.single.values()]))


def _column_of(feature: str) -> str:
    """The column of a feature: ``gear`` of ``gear=low``, ``pose`` of ``pose[0]``."""
    return re.sub(r"=.*|\[\d+\]$", "", feature)
