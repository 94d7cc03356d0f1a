"""HDF5 files with one group an episode, such as those of robomimic and ManiSkill, or with one file an episode."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from pydantic import model_validator
from pydantic.dataclasses import dataclass as config_dataclass

from pipeline.data.episode import Episode, LoggedData, Remarks
from pipeline.ingest.sources.array_files import array_files, by_number
from pipeline.ingest.sources.base import LogSpec, SourceConfig, combine, require_path, require_reward
from pipeline.ingest.sources.episode_parts import EpisodeMarks, one_per_step, unknown_rewards, with_final
from pipeline.ingest.sources.hdf5_file import SUFFIXES, find, open_hdf5, own_names, read_all
from pipeline.ingest.sources.hdf5_observations import Observations
from pipeline.ingest.sources.last_step import LastSteps
from pipeline.ingest.validate import check_column_kind
from pipeline.validation import OPTIONS, Flag, Text, did_you_mean

if TYPE_CHECKING:
    import h5py

FIX = "name next observations in `dataset.next_obs_key`, or true ends in `dataset.terminal_key`"


@config_dataclass(frozen=True, config=OPTIONS)
class Hdf5GroupsConfig(SourceConfig):
    """Every group that holds ``action_key`` is an episode, at any depth; ``path`` is a file or a folder of files.

    Keys are paths within an episode's group, such as ``observations/qpos``. Observations have as many rows as actions,
    or one more: the final one. The defaults are robomimic's names.
    """

    obs_key: Text = "obs"  # dataset of observations, or group of several
    # which observations of the group, such as agent/qpos; empty: all vectors and all images of a supported size
    obs_keys: list[Text] = field(default_factory=list)
    concatenate: Flag = True  # whether several vectors become one; else each is an observation of its own
    action_key: Text = "actions"  # dataset of actions
    reward_key: Text | None = "rewards"  # dataset of rewards; null: `transform` defines them
    terminal_key: Text | None = "dones"  # dataset of true ends; null: no episode truly ends
    timeout_key: Text | None = None  # dataset of time limits, where terminal_key is also set at them; null: none
    # dataset or group of next observations, of which the last row is used; may be absent from the file
    next_obs_key: Text | None = "next_obs"

    @model_validator(mode="after")
    def _reward_is_defined(self) -> Self:
        require_reward(self, "reward_key", self.reward_key)
        return self


@dataclass(frozen=True)
class Place:
    """The group of an episode."""

    file: Path
    group: str
    steps: int

    def __str__(self) -> str:
        return f"{self.file}: `{self.group}`"


class Hdf5Groups:
    """Source of HDF5 files with one group an episode."""

    Config = Hdf5GroupsConfig

    def __init__(self, config: Hdf5GroupsConfig) -> None:
        self.config = config

    def read(self) -> LoggedData:
        """The log. Raises ValueError for files that are missing or damaged, and for groups that lack a key."""
        config, remarks = self.config, Remarks()
        pairs = zip(config.parts, ("path", "held_out_path"), strict=False)
        parts = [(_places(config, require_path(path, param)), held_out) for (path, held_out), param in pairs]
        first = parts[0][0][0]
        with open_hdf5(first.file) as file:
            group = file[first.group]
            obs = Observations(config.obs_key, config.obs_keys, config.concatenate, group, str(first), first.steps)
            action = _column(first, group, "action_key", config.action_key)
        integer = f"{first}: `{config.action_key}` holds {action.dtype}" if action.dtype.kind in "iub" else None
        rows = sum(place.steps + 1 for places, _ in parts for place in places)
        return combine(
            config,
            "hdf5_groups",
            LogSpec(obs_names={"state": obs.features} if obs.features else {}, integer_actions=integer),
            _episodes(config, parts, obs, remarks),
            0,
            obs.warnings,
            rows * obs.row_bytes,
            remarks=remarks,
        )


def _places(config: Hdf5GroupsConfig, path: Path) -> list[Place]:
    """Groups of the episodes, in the order of the numbers in their names. Raises ValueError if there is none."""
    places: list[Place] = []
    names: list[str] = []
    for file in array_files(path, SUFFIXES):
        with open_hdf5(file) as opened:
            places += sorted(_walk(config, file, opened, names), key=lambda place: by_number(place.group))
    if not places:
        what = f"no group with `{config.action_key}`{did_you_mean(config.action_key, sorted(set(names)))}"
        raise ValueError(f"{path}: {what}; set `dataset.action_key` to a dataset of an episode's group")
    return places


def _walk(config: Hdf5GroupsConfig, path: Path, file: "h5py.File", names: list[str]) -> Iterator[Place]:
    """Episodes of a file; adds the names of all other datasets to ``names``."""
    import h5py

    groups, pending = {file["/"]}, [file["/"]]  # each once, as a group may lie in itself
    while pending:
        group = pending.pop()
        action = find(group, config.action_key)
        if isinstance(action, h5py.Dataset) and action.shape:
            yield Place(path, group.name, len(action))
            continue
        members = {name: group[name] for name in own_names(group)}
        names += [name for name, member in members.items() if not isinstance(member, h5py.Group)]
        inner = {member for member in members.values() if isinstance(member, h5py.Group)} - groups
        groups |= inner
        pending += inner


def _episodes(
    config: Hdf5GroupsConfig, parts: list[tuple[list[Place], bool | None]], obs: Observations, remarks: Remarks
) -> Iterator[Episode]:
    last_steps = LastSteps(config.path, config.max_dropped_return, FIX)
    marks = EpisodeMarks(config.terminal_key)
    for places, held_out in parts:
        for path, places_of_file in groupby(places, key=lambda place: place.file):
            with open_hdf5(path) as file:
                for place in places_of_file:
                    episode = _episode(config, place, file[place.group], obs, marks)
                    if (complete := with_final(episode, last_steps)) is not None:
                        yield replace(complete, held_out=held_out)
    marks.report(remarks)
    obs.report(remarks)
    last_steps.report(remarks)


def _episode(
    config: Hdf5GroupsConfig, place: Place, group: "h5py.Group", obs: Observations, marks: EpisodeMarks
) -> Episode:
    """One episode, whose final observation may be missing. Raises ValueError for missing keys and wrong lengths."""
    action = _column(place, group, "action_key", config.action_key)
    columns = {
        key: one_per_step(str(place), name, _column(place, group, key, name), place.steps)
        for key in ("reward_key", "terminal_key", "timeout_key")
        if (name := getattr(config, key)) is not None
    }
    return Episode(
        obs=obs.read(group, config.next_obs_key, str(place), place.steps),
        action=action[:, None] if action.ndim == 1 else action,
        reward=columns.get("reward_key", unknown_rewards(place.steps)),
        terminated=marks.ends_truly(str(place), columns.get("terminal_key"), columns.get("timeout_key")),
    )


def _column(place: Place, group: "h5py.Group", param: str, key: str) -> np.ndarray:
    """A column of an episode, "T ...". Raises ValueError if it is missing or has another number of rows."""
    import h5py

    column = find(group, key)
    if not isinstance(column, h5py.Dataset):
        hint = did_you_mean(key, own_names(group))
        or_null = {
            "terminal_key": ", or to null if no episode truly ends",
            "reward_key": ", or to null if `dataset.transform` defines the reward",
        }
        fix = f"set `dataset.{param}` to its path{or_null.get(param, '')}"
        raise ValueError(f"{place}: no dataset `{key}`{hint}; {fix}")
    rows = column.shape[0] if column.shape else 0
    if rows != place.steps:
        raise ValueError(f"{place}: `{key}` has {rows} rows, but {place.steps} actions; correct the log")
    check_column_kind(str(place), key, column.dtype, column.shape)
    return read_all(column)
