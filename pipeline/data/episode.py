"""What a source yields: a description of the log and its episodes in order."""

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.envs.action_space import CONTINUOUS


@dataclass(frozen=True)
class Episode:
    """One logged episode of T steps, in the log's own units.

    ``terminated`` is True for a true end of the task, and False for a time limit or a truncated log. With ``held_out``
    None, :func:`pipeline.ingest.writer.write_dataset` chooses the split.
    """

    obs: dict[str, np.ndarray]  # each [T+1, O], or uint8 images [T+1, H, W, C]
    action: np.ndarray  # [T, A]; discrete actions are integers [T, 1]
    reward: np.ndarray  # [T]
    terminated: bool
    held_out: bool | None = None
    cost: np.ndarray | None = None  # [T, C], one column for each of ``cost_names``; None where the log has no costs
    group: str | None = None  # such as a patient or a machine: `split: group` keeps it on one side
    span: tuple[float, float] | None = None  # time of the first and of the last observation, in one unit for the log


@dataclass
class Remarks:
    """Dropped steps and warnings from reading the episodes; complete once all episodes are read."""

    dropped: int = 0
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class LoggedData:
    """A log before it is stored as a prepared dataset.

    ``place`` is the file or dataset that messages name. ``size`` is the expected size of the prepared arrays in bytes,
    0 if unknown. ``minari`` is a Minari root to keep beside the prepared arrays.
    """

    place: str
    source: str
    episodes: Iterable[Episode]
    action_kind: str = CONTINUOUS
    action_low: list[float] | None = None  # bounds in the log's unit; for discrete actions the first number
    action_high: list[float] | None = None  # for discrete actions the last number
    action_quantile: float | None = None  # share of actions beyond each bound: bounds are then quantiles
    obs_names: dict[str, list[str]] = field(default_factory=dict)
    exogenous: list[str] = field(default_factory=list)  # names of features that no action changes, flags and ages too
    # name of a feature -> name of the feature that is 1 where its value was measured and 0 where an old one is held
    flags: dict[str, str] = field(default_factory=dict)
    cost_names: list[str] = field(default_factory=list)
    action_names: list[str] = field(default_factory=list)  # of the columns of the actions; empty: the log has none
    units: dict[str, str] = field(default_factory=dict)  # name of a feature or an action -> its unit in the log
    env_id: str | None = None
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    max_episode_steps: int | None = None
    ref_min_score: float | None = None
    ref_max_score: float | None = None
    ref_source: str | None = None
    license: str | None = None
    dropped: int = 0
    warnings: list[str] = field(default_factory=list)
    remarks: Remarks = field(default_factory=Remarks)
    size: int = 0
    minari: "tempfile.TemporaryDirectory[str] | None" = None
