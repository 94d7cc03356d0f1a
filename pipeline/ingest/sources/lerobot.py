"""LeRobot datasets of versions 2 and 3: a folder with ``meta/info.json`` and Parquet files below ``data``."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Self

import numpy as np
from pydantic import model_validator
from pydantic.dataclasses import dataclass as config_dataclass

from pipeline.data.episode import Episode, LoggedData, Remarks
from pipeline.ingest.sources.base import LogSpec, SourceConfig, combine, require_path, require_reward
from pipeline.ingest.sources.episode_parts import EpisodeMarks, feature_names, one_per_step, unknown_rewards, with_final
from pipeline.ingest.sources.last_step import LastSteps
from pipeline.ingest.sources.lerobot_files import FrameFiles, open_lerobot
from pipeline.validation import OPTIONS, Text, did_you_mean

FIX = "name true ends in `dataset.terminal_key`"
OBSERVATION = "observation."
LATE = 1.5  # frames apart: later than this, frames are missing


@config_dataclass(frozen=True, config=OPTIONS)
class LerobotConfig(SourceConfig):
    """``path`` is the folder that holds ``meta`` and ``data``. Images and videos are not read. LeRobot stores no final
    observation, so the last step of an episode that did not truly end is dropped."""

    # features of observations, such as observation.state; empty: all vectors whose names begin with `observation.`
    obs_keys: list[Text] = field(default_factory=list)
    action_key: Text = "action"  # feature of actions
    reward_key: Text | None = "next.reward"  # feature of rewards, such as next.success; null: `transform` defines them
    # feature of true ends: recorders set next.done at the end of every episode, and next.success where the task is
    # solved; null, or a default that is absent: no episode truly ends
    terminal_key: Text | None = "next.done"
    # feature of time limits, where terminal_key is also set at them; null, or a default that is absent: none
    timeout_key: Text | None = "next.truncated"

    @model_validator(mode="after")
    def _reward_is_defined(self) -> Self:
        require_reward(self, "reward_key", self.reward_key)
        return self


class Lerobot:
    """Source of LeRobot datasets."""

    Config = LerobotConfig

    def __init__(self, config: LerobotConfig) -> None:
        self.config = config

    def read(self) -> LoggedData:
        """The log. Raises ValueError for folders that are no dataset, damaged files and missing features."""
        config, remarks = self.config, Remarks()
        pairs = zip(config.parts, ("path", "held_out_path"), strict=False)
        parts = [(open_lerobot(require_path(path, param)), held_out) for (path, held_out), param in pairs]
        obs_keys = _obs_keys(config, parts[0][0])
        readers = [Reader(config, files, obs_keys, _columns(config, files), held_out) for files, held_out in parts]
        first, features = readers[0].first(), parts[0][0].features
        widths = {key.removeprefix(OBSERVATION): first[key].shape[1] for key in obs_keys}
        names = {key.removeprefix(OBSERVATION): features[key].names for key in obs_keys}
        action = first[config.action_key]
        integer = f"{config.path}: `{config.action_key}` holds {action.dtype}" if action.dtype.kind in "iub" else None
        numbers = sum(widths.values()) + action.shape[1] + 2
        return combine(
            config,
            "lerobot",
            LogSpec(
                obs_names={"state": feature_names(names, widths)},
                action_names=features[config.action_key].names or [],
                integer_actions=integer,
            ),
            _episodes(config, readers, remarks),
            0,
            _left_out(parts[0][0], obs_keys),
            4 * numbers * sum(files.rows() for files, _ in parts),
            remarks=remarks,
        )


@dataclass
class Reader:
    """Reads the episodes of one dataset and counts what the warnings need.

    ``columns`` are the features of actions, rewards and end marks by the key of params.yaml that names them.
    """

    config: LerobotConfig
    files: FrameFiles
    obs_keys: list[str]
    columns: dict[str, str]
    held_out: bool | None
    episodes_read: int = 0
    frames_read: int = 0
    gaps: int = 0  # steps after which frames are missing

    def first(self) -> dict[str, np.ndarray]:
        """The columns of the first episode."""
        return next(self.files.episodes([*self.obs_keys, *self.columns.values()]))[1]

    def episodes(self, marks: EpisodeMarks) -> Iterator[Episode]:
        """Episodes in order, without their final observations."""
        features = self.files.features
        clock = [name for name in ("timestamp", "frame_index") if name in features and features[name].vector]
        names = list(dict.fromkeys([*self.obs_keys, *self.columns.values(), *clock]))
        for index, arrays in self.files.episodes(names):
            action, place = arrays[self.config.action_key], f"{self.files.root}: episode {index}"
            steps = len(action)
            single = {key: name for key, name in self.columns.items() if key != "action_key"}
            column = {key: one_per_step(place, name, arrays[name], steps) for key, name in single.items()}
            self._count({name: one_per_step(place, name, arrays[name], steps) for name in clock}, steps)
            yield Episode(
                obs={"state": np.concatenate([arrays[key] for key in self.obs_keys], axis=1)},
                action=action,
                reward=column.get("reward_key", unknown_rewards(steps)),
                terminated=marks.ends_truly(place, column.get("terminal_key"), column.get("timeout_key")),
                held_out=self.held_out,
            )

    def report(self, remarks: Remarks) -> None:
        """Add warnings about missing frames and episodes to ``remarks``."""
        counts = {"total_episodes": self.episodes_read, "total_frames": self.frames_read}
        for name, count in counts.items():
            declared = self.files.info.get(name, count)
            if declared != count:
                problem = f"info.json declares {name} {declared}, but the files hold {count}"
                remarks.warnings.append(f"{self.files.root.name}: {problem}: is a file missing?")
        if self.gaps:
            problem = f"after {self.gaps} of {self.frames_read} frames the next ones are missing"
            remarks.warnings.append(f"{self.files.root.name}: {problem}: these steps last longer than the others")

    def _count(self, clock: dict[str, np.ndarray], steps: int) -> None:
        self.episodes_read += 1
        self.frames_read += steps
        late = np.zeros(max(steps - 1, 0), bool)
        if "frame_index" in clock:
            late |= np.diff(clock["frame_index"]) != 1
        if "timestamp" in clock and self.files.fps:
            late |= np.diff(clock["timestamp"]) * self.files.fps > LATE
        self.gaps += int(late.sum())


def _episodes(config: LerobotConfig, readers: list[Reader], remarks: Remarks) -> Iterator[Episode]:
    last_steps = LastSteps(config.path, config.max_dropped_return, FIX)
    marks = EpisodeMarks(config.terminal_key)
    for reader in readers:
        for episode in reader.episodes(marks):
            if (complete := with_final(episode, last_steps)) is not None:
                yield complete
        reader.report(remarks)
    marks.report(remarks)
    last_steps.report(remarks)
    if marks.terminated == marks.episodes and config.terminal_key == "next.done":
        problem = f"all {marks.episodes} episodes end with `next.done`, which recorders also set where they just stop"
        fix = "set `dataset.terminal_key` to `next.success` if there is one, or to null, if these are no true ends"
        remarks.warnings.append(f"{problem}; {fix}")


def _obs_keys(config: LerobotConfig, files: FrameFiles) -> list[str]:
    """The features of observations. Raises ValueError if they are missing or no vectors."""
    vectors = [name for name, feature in files.features.items() if feature.vector and name.startswith(OBSERVATION)]
    for key in config.obs_keys:
        if key not in files.features or not files.features[key].vector:
            what = "is no vector" if key in files.features else f"does not exist{did_you_mean(key, files.columns)}"
            raise ValueError(f"{files.root}: feature `{key}` {what}; correct `dataset.obs_keys`")
    if not vectors and not config.obs_keys:
        names = ", ".join(files.features)
        fix = "images are not read: add a vector feature, or name other vectors in `dataset.obs_keys`"
        raise ValueError(f"{files.root}: no vector begins with `{OBSERVATION}` (features: {names}); {fix}")
    return config.obs_keys or vectors


def _columns(config: LerobotConfig, files: FrameFiles) -> dict[str, str]:
    """The features of actions, rewards and end marks by key. Raises ValueError if they are missing or no numbers."""
    defaults = {option.name: option.default for option in fields(LerobotConfig)}
    keys = ("action_key", "reward_key", "terminal_key", "timeout_key")
    columns = {key: name for key in keys if (name := getattr(config, key)) is not None}
    for key, name in list(columns.items()):
        if name in files.columns and files.features[name].vector:
            continue
        if key in ("terminal_key", "timeout_key") and name == defaults[key]:
            del columns[key]
            continue
        or_null = ", or to null with a function in `dataset.transform` that returns one" if key == "reward_key" else ""
        hint = did_you_mean(name, [name for name, feature in files.features.items() if feature.vector])
        raise ValueError(f"{files.root}: no feature `{name}` of numbers{hint}; set `dataset.{key}` to one{or_null}")
    return columns


def _left_out(files: FrameFiles, obs_keys: list[str]) -> list[str]:
    """The warning about observations that are not read."""
    names = [f"`{name}`" for name in files.features if name.startswith(OBSERVATION) and name not in obs_keys]
    return [f"observations that are not read: {', '.join(names)} (images and videos never are)"] if names else []
