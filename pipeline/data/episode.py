"""What every source hands over: facts about a log, and its episodes in order."""

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.envs.action_space import CONTINUOUS


@dataclass(frozen=True)
class Episode:
    """One logged episode of T steps, in the log's own units.

    ``terminated`` tells a true end of the task from a time limit or a cut. ``held_out`` None leaves the split to
    :func:`pipeline.ingest.writer.write_dataset`.
    """

    obs: dict[str, np.ndarray]  # each [T+1, O], or uint8 images [T+1, H, W, C]
    action: np.ndarray  # [T, A]; discrete ones are whole numbers [T, 1]
    reward: np.ndarray  # [T]
    terminated: bool
    held_out: bool | None = None


@dataclass
class Remarks:
    """What reading the episodes brings to light: steps that were dropped, and warnings. Complete once all are read."""

    dropped: int = 0
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class LoggedData:
    """A log about to be stored. ``place`` is the file or dataset that messages name; ``size`` is the expected number of
    bytes once stored, 0 where nobody knows; ``minari`` is a Minari root to keep beside the prepared arrays."""

    place: str
    source: str
    episodes: Iterable[Episode]
    action_kind: str = CONTINUOUS
    action_low: list[float] | None = None  # of discrete actions: the first number
    action_high: list[float] | None = None  # and the last
    action_quantile: float | None = None  # of the stored actions, at which bounds are drawn instead
    obs_names: dict[str, list[str]] = field(default_factory=dict)
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
