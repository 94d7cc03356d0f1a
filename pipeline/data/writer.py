"""Streams a log into the folder that :mod:`pipeline.data.store` describes: validate, append, split, map, measure."""

import errno
import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np

from pipeline.data import validate
from pipeline.data.logged import Episode, LoggedData
from pipeline.data.spec import SCHEMA_VERSION, DatasetSpec, write_spec
from pipeline.data.store import PreparedDataset, open_dataset

CHUNK = 1 << 17  # rows held in memory at a time
Moments = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # minimum, maximum, mean, standard deviation


class GrowingArray:
    """A .npy file that grows row by row. numpy pads its headers so that the final row count fits in place."""

    def __init__(self, file: Path, row_shape: tuple[int, ...], dtype: Any) -> None:
        self.dtype, self.row_shape, self.rows = np.dtype(dtype), row_shape, 0
        self.stream: BinaryIO = file.open("wb")
        self._header()

    def append(self, array: np.ndarray) -> None:
        self.stream.write(np.ascontiguousarray(array, self.dtype).data)
        self.rows += len(array)

    def close(self) -> None:
        start = self.stream.tell()
        self.stream.seek(0)
        self._header()
        self.stream.seek(start)
        self.stream.close()

    def _header(self) -> None:
        shape = (self.rows, *self.row_shape)
        header = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self.stream, header)


@dataclass
class Appended:
    """What is known about the log once every episode is on disk."""

    lengths: list[int] = field(default_factory=list)
    held_out: list[bool | None] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)  # copies of one episode share a group
    terminals: int = 0
    action_min: np.ndarray = field(default_factory=lambda: np.array(np.inf))
    action_max: np.ndarray = field(default_factory=lambda: np.array(-np.inf))

    def note(self, episode: Episode, group: int) -> None:
        self.lengths.append(len(episode.action))
        self.held_out.append(episode.held_out)
        self.groups.append(group)
        self.terminals += int(episode.terminated)
        self.action_min = np.minimum(self.action_min, episode.action.min(axis=0))
        self.action_max = np.maximum(self.action_max, episode.action.max(axis=0))

    @property
    def offsets(self) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(np.array(self.lengths, np.int64) + 1)]).astype(np.int64)


class EpisodeFiles:
    """The four kinds of row arrays, open for appending."""

    def __init__(self, folder: Path, first: Episode) -> None:
        self.obs = {k: GrowingArray(folder / f"obs.{k}.npy", v.shape[1:], np.float32) for k, v in first.obs.items()}
        self.action = GrowingArray(folder / "action.npy", first.action.shape[1:], np.float32)
        self.reward = GrowingArray(folder / "reward.npy", (), np.float32)
        self.terminal = GrowingArray(folder / "terminal.npy", (), bool)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for array in (*self.obs.values(), self.action, self.reward, self.terminal):
            array.close()

    def append(self, episode: Episode) -> None:
        steps = len(episode.action)
        for key, values in episode.obs.items():
            self.obs[key].append(values)
        self.action.append(_with_final(episode.action))
        self.reward.append(_with_final(episode.reward))
        terminal = np.zeros(steps + 1, bool)
        terminal[steps - 1] = episode.terminated
        self.terminal.append(terminal)


def write_dataset(
    folder: Path | str, logged: LoggedData, name: str, held_out_fraction: float, seed: int
) -> PreparedDataset:
    """Validate and store a log, split by episode. Streams into a sibling folder that is renamed at the very end, so a
    failure leaves whatever stood in ``folder``. Raises ValueError for bad logs and for a full disk."""
    write_prepared(Path(folder), logged, name, held_out_fraction, seed)
    return open_dataset(folder)


def write_prepared(folder: Path, logged: LoggedData, name: str, held_out_fraction: float, seed: int) -> None:
    """As :func:`write_dataset`, without opening the result."""
    partial = folder.with_name(f".{folder.name}.partial")
    folder.parent.mkdir(parents=True, exist_ok=True)
    validate.check_disk(folder.parent, logged.size)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        appended = _append_all(partial, logged)
        held_out = _split(logged.place, appended, held_out_fraction, seed)
        write_spec(_finish(partial, logged, name, appended, held_out), partial / "spec.json")
        if logged.minari is not None:
            _copy_children(Path(logged.minari.name), partial / "minari")
        _replace(partial, folder)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise ValueError(f"{folder}: the disk is full; make room and run again") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _copy_children(source: Path, target: Path) -> None:
    """Child by child: a temporary folder itself is closed to other users, and its mode would be copied."""
    for child in source.iterdir():
        shutil.copytree(child, target / child.name)


def _replace(partial: Path, folder: Path) -> None:
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _append_all(folder: Path, logged: LoggedData) -> Appended:
    episodes = iter(logged.episodes)
    first = next(episodes, None)
    if first is None:
        raise ValueError(f"{logged.place}: holds no episodes")
    validate.check_episode(logged.place, 0, first, first)
    bounds = _declared_bounds(logged, first.action.shape[1])
    appended, seen = Appended(), dict[bytes, int]()
    with EpisodeFiles(folder, first) as files:
        for index, raw in enumerate(chain([first], episodes)):
            validate.check_episode(logged.place, index, raw, first)
            episode = _as_float32(raw)
            validate.check_finite(logged.place, index, episode)
            if bounds is not None:
                validate.check_bounds(logged.place, index, episode.action, *bounds)
            files.append(episode)
            appended.note(episode, seen.setdefault(validate.content_hash(episode), len(seen)))
    return appended


def _declared_bounds(logged: LoggedData, action_dim: int) -> tuple[np.ndarray, np.ndarray] | None:
    if logged.action_low is None and logged.action_high is None:
        return None
    validate.check_action_range(logged.place, logged.action_low, logged.action_high, action_dim)
    return np.array(logged.action_low, np.float64), np.array(logged.action_high, np.float64)


def _as_float32(episode: Episode) -> Episode:
    with np.errstate(over="ignore"):
        obs = {key: value.astype(np.float32, copy=False) for key, value in episode.obs.items()}
        action, reward = episode.action.astype(np.float32, copy=False), episode.reward.astype(np.float32, copy=False)
    return Episode(obs, action, reward, bool(episode.terminated), episode.held_out)


def _with_final(array: np.ndarray) -> np.ndarray:
    return np.concatenate([array, np.zeros_like(array[:1])])


def _split(place: str, appended: Appended, fraction: float, seed: int) -> np.ndarray:
    """Held-out flag of each episode, bool "E"."""
    given = [flag for flag in appended.held_out if flag is not None]
    if given:
        assert len(given) == len(appended.held_out), "a source must mark all of its episodes or none"
        held_out = np.array(given, bool)
    else:
        count = max(appended.groups) + 1
        share = int(np.clip(round(fraction * count), 1, max(count - 1, 1)))
        chosen = np.random.default_rng(seed).permutation(count)[:share]
        held_out = np.isin(appended.groups, chosen)
    if held_out.all() or not held_out.any():
        raise ValueError(f"{place}: a split needs two different episodes; add some, or set `dataset.held_out_path`")
    return held_out


def _finish(folder: Path, logged: LoggedData, name: str, appended: Appended, held_out: np.ndarray) -> DatasetSpec:
    offsets = appended.offsets
    np.save(folder / "offsets.npy", offsets)
    np.save(folder / "held_out.npy", held_out)
    low, high, declared = _bounds(logged, appended)
    _map_actions(folder / "action.npy", offsets, low, high)
    obs, reward = _statistics(folder, offsets, held_out)
    names = {key: logged.obs_names.get(key) or [f"{key}[{i}]" for i in range(len(m[0]))] for key, m in obs.items()}
    constant = {key: np.flatnonzero(m[0] == m[1]).tolist() for key, m in obs.items()}
    return DatasetSpec(
        schema_version=SCHEMA_VERSION,
        name=name,
        source=logged.source,
        obs_shapes={key: [len(m[0])] for key, m in obs.items()},
        obs_names=names,
        action_dim=len(low),
        action_kind="continuous",
        action_low=low.tolist(),
        action_high=high.tolist(),
        action_bounds="declared" if declared else "inferred",
        env_id=logged.env_id,
        env_kwargs=logged.env_kwargs,
        max_episode_steps=logged.max_episode_steps,
        ref_min_score=logged.ref_min_score,
        ref_max_score=logged.ref_max_score,
        ref_source=logged.ref_source,
        transitions=sum(appended.lengths),
        episodes=len(appended.lengths),
        held_out_episodes=int(held_out.sum()),
        dropped=logged.dropped,
        terminals=appended.terminals,
        reward_min=float(reward[0][0]),
        reward_max=float(reward[1][0]),
        reward_mean=float(reward[2][0]),
        reward_std=float(reward[3][0]),
        obs_min={key: m[0].tolist() for key, m in obs.items()},
        obs_max={key: m[1].tolist() for key, m in obs.items()},
        obs_mean={key: m[2].tolist() for key, m in obs.items()},
        obs_std={key: m[3].tolist() for key, m in obs.items()},
        constant_features=constant,
        licence=logged.licence,
        digest=_digest(folder, [SCHEMA_VERSION, names, low.tolist(), high.tolist()]),
        warnings=_warnings(logged, appended, [names[k][i] for k in obs for i in constant[k]], reward, declared),
    )


def _statistics(folder: Path, offsets: np.ndarray, held_out: np.ndarray) -> tuple[dict[str, Moments], Moments]:
    """Moments of the train split: every observation row by key, and the rewards of real steps."""
    train = np.repeat(~held_out, np.diff(offsets))
    keys = sorted(file.name[len("obs.") : -len(".npy")] for file in folder.glob("obs.*.npy"))
    obs = {key: _moments(folder / f"obs.{key}.npy", train) for key in keys}
    train[offsets[1:] - 1] = False
    return obs, _moments(folder / "reward.npy", train)


def _warnings(
    logged: LoggedData, appended: Appended, constant: list[str], reward: Moments, declared: bool
) -> list[str]:
    copies = len(appended.groups) - len(set(appended.groups))
    equal_rewards = bool(reward[0][0] == reward[1][0])
    found = [*logged.warnings, *validate.oddities(np.array(appended.lengths), copies, constant, equal_rewards)]
    if not declared:
        low, high = (np.round(x, 4).tolist() for x in (appended.action_min, appended.action_max))
        found.append(
            f"no declared action bounds: inferred from the data's extremes, low {low}, high {high}; set "
            "`dataset.action_low` and `dataset.action_high` if you know them"
        )
    return found


def _bounds(logged: LoggedData, appended: Appended) -> tuple[np.ndarray, np.ndarray, bool]:
    declared = _declared_bounds(logged, appended.action_min.shape[0])
    low, high = declared or (appended.action_min.astype(np.float64), appended.action_max.astype(np.float64))
    validate.check_action_range(logged.place, low.tolist(), high.tolist(), len(low))
    return low, high, declared is not None


def _map_actions(file: Path, offsets: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
    actions = np.load(file, mmap_mode="r+")
    for start in range(0, len(actions), CHUNK):
        chunk = actions[start : start + CHUNK].astype(np.float64)
        actions[start : start + CHUNK] = np.clip(2 * (chunk - low) / (high - low) - 1, -1, 1)
    actions[offsets[1:] - 1] = 0
    actions.flush()


def _moments(file: Path, rows: np.ndarray) -> Moments:
    """Each float64 "O", over the rows where ``rows`` is True; in two passes, since squares of large values cancel."""
    array = np.load(file, mmap_mode="r")

    def chunks() -> Iterator[np.ndarray]:
        for start in range(0, len(array), CHUNK):
            chosen = rows[start : start + CHUNK]
            if chosen.any():
                yield array[start : start + CHUNK][chosen].reshape(chosen.sum(), -1).astype(np.float64)

    low = np.min([chunk.min(axis=0) for chunk in chunks()], axis=0)
    high = np.max([chunk.max(axis=0) for chunk in chunks()], axis=0)
    mean = np.sum([chunk.sum(axis=0) for chunk in chunks()], axis=0) / rows.sum()
    variance = np.sum([((chunk - mean) ** 2).sum(axis=0) for chunk in chunks()], axis=0) / rows.sum()
    return low, high, mean, np.where(low == high, 0.0, np.sqrt(variance))


def _digest(folder: Path, facts: list[Any]) -> str:
    """32 hex digits of the array files and the facts that change their meaning."""
    digest = hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16)
    for file in sorted(folder.glob("*.npy")):
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()
