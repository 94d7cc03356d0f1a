"""Streams a log into the folder of :mod:`pipeline.data.dataset`: validate, append, split, thin, map, measure."""

import errno
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import chain, compress
from pathlib import Path
from typing import Any, Self

import numpy as np

from pipeline.data.dataset import PreparedDataset, open_dataset
from pipeline.data.episode import Episode, LoggedData
from pipeline.data.spec import SCHEMA_VERSION, DatasetSpec, write_spec
from pipeline.envs.action_space import DISCRETE
from pipeline.ingest import validate
from pipeline.ingest.npy_append import EpisodeFiles
from pipeline.ingest.rounding import Rounding
from pipeline.ingest.statistics import action_quantiles, digest_of, map_actions, one_hot_actions, statistics
from pipeline.ingest.subsample import chosen_share, keep_episodes


@dataclass
class Appended:
    """What is known about the log once every episode is on disk."""

    lengths: list[int] = field(default_factory=list)
    held_out: list[bool | None] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)  # copies of one episode share a group
    terminated: list[bool] = field(default_factory=list)
    left_out: int = 0  # training episodes beyond the share that is asked for
    action_min: np.ndarray = field(default_factory=lambda: np.array(np.inf))
    action_max: np.ndarray = field(default_factory=lambda: np.array(-np.inf))
    rounding: Rounding = field(default_factory=Rounding)

    def note(self, episode: Episode, group: int) -> None:
        self.lengths.append(len(episode.action))
        self.held_out.append(episode.held_out)
        self.groups.append(group)
        self.terminated.append(episode.terminated)
        self.action_min = np.minimum(self.action_min, episode.action.min(axis=0))
        self.action_max = np.maximum(self.action_max, episode.action.max(axis=0))

    def only(self, kept: np.ndarray) -> Self:
        """Without the episodes outside ``kept``, bool "E". The extremes of actions stay those of the whole log, so that
        inferred bounds, and with them the held-out actions, are the same for every share."""

        def some(values: Iterable[Any]) -> list[Any]:
            return list(compress(values, kept))

        return replace(
            self,
            lengths=some(self.lengths),
            held_out=some(self.held_out),
            groups=some(self.groups),
            terminated=some(self.terminated),
            left_out=int((~kept).sum()),
        )

    @property
    def offsets(self) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(np.array(self.lengths, np.int64) + 1)]).astype(np.int64)


def write_dataset(
    folder: Path | str,
    logged: LoggedData,
    name: str,
    held_out_fraction: float,
    seed: int,
    train_share: float = 1.0,
) -> PreparedDataset:
    """Validate and store a log, split by episode, with ``train_share`` of its training episodes. Streams into a sibling
    folder that is renamed at the very end, so a failure leaves whatever stood in ``folder``. Raises ValueError for bad
    logs and for a full disk."""
    write_prepared(Path(folder), logged, name, held_out_fraction, seed, train_share)
    return open_dataset(folder)


def write_prepared(
    folder: Path, logged: LoggedData, name: str, held_out_fraction: float, seed: int, train_share: float
) -> None:
    """As :func:`write_dataset`, without opening the result."""
    partial = folder.with_name(f".{folder.name}.partial")
    folder.parent.mkdir(parents=True, exist_ok=True)
    validate.check_disk(folder.parent, logged.size)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        appended = _append_all(partial, logged)
        held_out = _split(logged.place, appended, held_out_fraction, seed)
        kept = chosen_share(appended.groups, held_out, train_share, seed)
        if not kept.all():
            keep_episodes(partial, appended.offsets, kept)
            appended, held_out = appended.only(kept), held_out[kept]
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
    discrete = logged.action_kind == DISCRETE
    episodes = map(_in_a_column, logged.episodes) if discrete else iter(logged.episodes)
    first = next(episodes, None)
    if first is None:
        raise ValueError(f"{logged.place}: holds no episodes")
    validate.check_episode(logged.place, 0, first, first)
    bounds = _declared_bounds(logged, first.action.shape[1])
    appended, seen = Appended(), dict[bytes, int]()
    with EpisodeFiles(folder, _as_stored(first)) as files:
        for index, raw in enumerate(chain([first], episodes)):
            validate.check_episode(logged.place, index, raw, first)
            episode = _as_stored(raw)
            validate.check_finite(logged.place, index, episode)
            if discrete:
                validate.check_numbers(logged.place, index, episode.action, bounds)
            elif bounds is not None:
                validate.check_bounds(logged.place, index, episode.action, *bounds)
            files.append(episode)
            appended.rounding.note(raw, episode)
            appended.note(episode, seen.setdefault(validate.content_hash(episode), len(seen)))
    return appended


def _in_a_column(episode: Episode) -> Episode:
    """Discrete actions "T" as "T 1"."""
    return replace(episode, action=episode.action[:, None]) if episode.action.ndim == 1 else episode


def _declared_bounds(logged: LoggedData, action_dim: int) -> tuple[np.ndarray, np.ndarray] | None:
    if logged.action_low is None and logged.action_high is None:
        return None
    validate.check_action_range(logged.place, logged.action_low, logged.action_high, action_dim)
    return np.array(logged.action_low, np.float64), np.array(logged.action_high, np.float64)


def _as_stored(episode: Episode) -> Episode:
    """float32 throughout, but for images, which stay uint8."""
    with np.errstate(over="ignore"):
        obs = {k: v if v.ndim == 4 else v.astype(np.float32, copy=False) for k, v in episode.obs.items()}
        action, reward = episode.action.astype(np.float32, copy=False), episode.reward.astype(np.float32, copy=False)
    return Episode(obs, action, reward, bool(episode.terminated), episode.held_out)


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
    (low, high, known), start = _bounds(folder, logged, appended), 0
    if logged.action_kind == DISCRETE:
        start, count = int(low[0]), int(high[0] - low[0]) + 1
        one_hot_actions(folder / "action.npy", offsets, start, count)
        low, high = np.zeros(count), np.ones(count)
    else:
        map_actions(folder / "action.npy", offsets, low, high, clip=known != "quantiles")
    obs, reward = statistics(folder, offsets, held_out)
    shapes = {key: list(np.load(folder / f"obs.{key}.npy", mmap_mode="r").shape[1:]) for key in obs}
    vectors = {key: m for key, m in obs.items() if len(shapes[key]) == 1}
    names = {key: logged.obs_names.get(key) or [f"{key}[{i}]" for i in range(len(m[0]))] for key, m in vectors.items()}
    constant = {key: np.flatnonzero(m[0] == m[1]).tolist() for key, m in vectors.items()}
    return DatasetSpec(
        schema_version=SCHEMA_VERSION,
        name=name,
        source=logged.source,
        obs_shapes=shapes,
        obs_names=names,
        action_dim=len(low),
        action_kind=logged.action_kind,
        action_low=low.tolist(),
        action_high=high.tolist(),
        action_bounds=known,
        env_id=logged.env_id,
        env_kwargs=logged.env_kwargs,
        max_episode_steps=logged.max_episode_steps,
        ref_min_score=logged.ref_min_score,
        ref_max_score=logged.ref_max_score,
        ref_source=logged.ref_source,
        transitions=sum(appended.lengths),
        episodes=len(appended.lengths),
        held_out_episodes=int(held_out.sum()),
        dropped=logged.dropped + logged.remarks.dropped,
        terminals=sum(appended.terminated),
        reward_min=float(reward[0][0]),
        reward_max=float(reward[1][0]),
        reward_mean=float(reward[2][0]),
        reward_std=float(reward[3][0]),
        obs_min={key: m[0].tolist() for key, m in obs.items()},
        obs_max={key: m[1].tolist() for key, m in obs.items()},
        obs_mean={key: m[2].tolist() for key, m in obs.items()},
        obs_std={key: m[3].tolist() for key, m in obs.items()},
        constant_features=constant,
        license=logged.license,
        digest=digest_of(folder, [SCHEMA_VERSION, names, low.tolist(), high.tolist()]),
        warnings=_warnings(logged, appended, known),
        action_start=start,
    )


def _warnings(logged: LoggedData, appended: Appended, known: str) -> list[str]:
    found = [*logged.warnings, *logged.remarks.warnings, *appended.rounding.warnings()]
    if appended.left_out:
        found.append(f"{appended.left_out} training episodes are left out, as `dataset.train_share` asks")
    if known == "inferred" and logged.action_kind == DISCRETE:
        low, high = (int(x[0]) for x in (appended.action_min, appended.action_max))
        found.append(
            f"discrete actions are those of the log, {low} to {high}; set `dataset.action_count` if there are more"
        )
    elif known == "inferred":
        low, high = (np.round(x, 4).tolist() for x in (appended.action_min, appended.action_max))
        found.append(
            f"no declared action bounds: inferred from the data's extremes, low {low}, high {high}; set "
            "`dataset.action_low` and `dataset.action_high` if you know them"
        )
    return found


def _bounds(folder: Path, logged: LoggedData, appended: Appended) -> tuple[np.ndarray, np.ndarray, str]:
    """Of actions "A" in the log's own units, and how they are known."""
    declared = _declared_bounds(logged, appended.action_min.shape[0])
    if logged.action_quantile is not None:
        low, high = action_quantiles(folder / "action.npy", appended.offsets, logged.action_quantile)
        validate.check_quantiles(logged.place, low, high)
        return low, high, "quantiles"
    low, high = declared or (appended.action_min.astype(np.float64), appended.action_max.astype(np.float64))
    validate.check_action_range(logged.place, low.tolist(), high.tolist(), len(low))
    return low, high, "declared" if declared else "inferred"
