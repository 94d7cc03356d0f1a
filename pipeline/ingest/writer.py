"""Stream a log into the folder of :mod:`pipeline.data.dataset`: validate, append, split, subsample, scale actions."""

import errno
import shutil
from dataclasses import replace
from itertools import chain, compress
from pathlib import Path

import numpy as np

from pipeline.data.dataset import PreparedDataset, open_dataset
from pipeline.data.episode import Episode, LoggedData
from pipeline.data.spec import RANDOM, SCHEMA_VERSION, DatasetSpec, write_spec
from pipeline.data.stored_arrays import array_digest
from pipeline.envs.action_space import DISCRETE
from pipeline.ingest import validate
from pipeline.ingest.blocks import Block, blocks
from pipeline.ingest.chronology import spans_of
from pipeline.ingest.copies import copies_of, digest_in, in_order, marks_of
from pipeline.ingest.episode_table import EpisodeTable
from pipeline.ingest.npy_append import EpisodeFiles
from pipeline.ingest.roles import exogenous_features, flagged_features
from pipeline.ingest.split import GAP, Split, divide, kind_of, split_warnings
from pipeline.ingest.statistics import action_quantiles, map_actions, one_hot_actions, statistics
from pipeline.ingest.subsample import choose_episodes, keep_pieces
from pipeline.validation.pace import paced


def write_dataset(
    folder: Path | str,
    logged: LoggedData,
    name: str,
    held_out_fraction: float,
    seed: int,
    train_share: float = 1.0,
    split: str = RANDOM,
    split_gap: int = GAP,
) -> PreparedDataset:
    """Validate a log, split it, and store it with ``train_share`` of its training episodes. The arguments are options
    of :class:`pipeline.ingest.sources.base.SourceConfig`.

    Writes into a sibling folder that is renamed at the end, so after a failure ``folder`` is unchanged. Raises
    ValueError for bad logs and for a full disk.
    """
    write_prepared(Path(folder), logged, name, Split(held_out_fraction, seed, split, split_gap), train_share)
    return open_dataset(folder)


def write_prepared(folder: Path, logged: LoggedData, name: str, split: Split, train_share: float) -> None:
    """Like :func:`write_dataset`, without opening the result."""
    partial = folder.with_name(f".{folder.name}.partial")
    folder.parent.mkdir(parents=True, exist_ok=True)
    validate.check_disk(folder.parent, logged.size)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        whole = _append_all(partial, logged)
        pieces = divide(logged.place, whole, split)
        table, held_out = whole.cut(pieces), np.array([piece.held_out for piece in pieces], bool)
        kept = choose_episodes(table.copies, held_out, train_share, split.seed)
        if table.gap_steps or not kept.all():
            keep_pieces(partial, whole.offsets, list(compress(pieces, kept)))
            table, held_out = table.only(kept), held_out[kept]
        kind = kind_of(whole, split)
        write_spec(_finish(partial, logged, name, table, held_out, kind), partial / "spec.json")
        if logged.minari is not None:
            _copy_children(Path(logged.minari.name), partial / "minari")
        _replace(partial, folder)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise ValueError(f"{folder}: the disk is full; free disk space and run again") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _copy_children(source: Path, target: Path) -> None:
    """Copy child by child, because ``source`` is a temporary folder whose mode, closed to others, would be copied."""
    for child in source.iterdir():
        shutil.copytree(child, target / child.name)


def _replace(partial: Path, folder: Path) -> None:
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _append_all(folder: Path, logged: LoggedData) -> EpisodeTable:
    discrete = logged.action_kind == DISCRETE
    read = paced(logged.episodes, "{} episodes read")
    episodes = map(_with_action_column, read) if discrete else read
    first = next(episodes, None)
    if first is None:
        raise ValueError(f"{logged.place}: holds no episodes; name another log")
    validate.check_episode(logged.place, 0, first, first)
    bounds = _declared_bounds(logged, first.action.shape[1])
    table, marks = EpisodeTable(), []
    with EpisodeFiles(folder, Block.of(0, first).stored()) as files:
        for raw in blocks(logged.place, chain([first], episodes), first):
            block = raw.stored()
            _check_values(logged, block, bounds)
            table.note(block.episodes, raw.arrays, block.arrays)
            files.append(block)
            marks.append(marks_of(in_order(block.arrays), block.offsets))
    table.copies = copies_of(np.concatenate(marks), digest_in(files.read(), table.offsets)).tolist()
    return table


def _check_values(logged: LoggedData, block: Block, bounds: tuple[np.ndarray, np.ndarray] | None) -> None:
    """Raises ValueError at the first episode with a bad value. Only after an error are the episodes checked singly."""

    def check(index: int, episode: Episode) -> None:
        validate.check_finite(logged.place, index, episode)
        if logged.action_kind == DISCRETE:
            validate.check_discrete(logged.place, index, episode.action, bounds)
        elif bounds is not None:
            validate.check_bounds(logged.place, index, episode.action, *bounds)

    try:
        check(block.index, block.whole())
    except ValueError:
        for index, episode in enumerate(block.split(), block.index):
            check(index, episode)
        raise


def _with_action_column(episode: Episode) -> Episode:
    """Reshape discrete actions "T" to "T 1"."""
    return replace(episode, action=episode.action[:, None]) if episode.action.ndim == 1 else episode


def _declared_bounds(logged: LoggedData, action_dim: int) -> tuple[np.ndarray, np.ndarray] | None:
    if logged.action_low is None and logged.action_high is None:
        return None
    validate.check_action_range(logged.place, logged.action_low, logged.action_high, action_dim)
    return np.array(logged.action_low, np.float64), np.array(logged.action_high, np.float64)


def _finish(
    folder: Path, logged: LoggedData, name: str, table: EpisodeTable, held_out: np.ndarray, split: str
) -> DatasetSpec:
    offsets = table.offsets
    np.save(folder / "offsets.npy", offsets)
    np.save(folder / "held_out.npy", held_out)
    if (spans := spans_of(table)) is not None:
        np.save(folder / "spans.npy", spans)
    low, high, bounds_kind = _bounds(folder, logged, table)
    start = 0
    if logged.action_kind == DISCRETE:
        start, count = int(low[0]), int(high[0] - low[0]) + 1
        one_hot_actions(folder / "action.npy", offsets, start, count)
        low, high = np.zeros(count), np.ones(count)
    else:
        map_actions(folder / "action.npy", offsets, low, high, clip=bounds_kind != "quantiles")
    obs, reward = statistics(folder, offsets, held_out)
    shapes = {key: list(np.load(folder / f"obs.{key}.npy", mmap_mode="r").shape[1:]) for key in obs}
    vectors = {key: m for key, m in obs.items() if len(shapes[key]) == 1}
    names = {key: logged.obs_names.get(key) or [f"{key}[{i}]" for i in range(len(m[0]))] for key, m in vectors.items()}
    action_names = logged.action_names if len(logged.action_names) == len(low) else []  # a transform may change them
    known = {name for group in (*names.values(), action_names) for name in group}
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
        action_bounds=bounds_kind,
        env_id=logged.env_id,
        env_kwargs=logged.env_kwargs,
        max_episode_steps=logged.max_episode_steps,
        ref_min_score=logged.ref_min_score,
        ref_max_score=logged.ref_max_score,
        ref_source=logged.ref_source,
        transitions=sum(table.lengths),
        episodes=len(table.lengths),
        held_out_episodes=int(held_out.sum()),
        dropped=logged.dropped + logged.remarks.dropped,
        terminals=sum(table.terminated),
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
        digest=array_digest(folder, names, low.tolist(), high.tolist()),
        warnings=[*_warnings(logged, table, bounds_kind), *split_warnings(table, held_out, split)],
        action_start=start,
        exogenous=exogenous_features(logged.exogenous, names),
        flags=flagged_features(logged.flags, names),
        cost_names=logged.cost_names,
        split=split,
        action_names=action_names,
        units={name: unit for name, unit in logged.units.items() if name in known},
    )


def _warnings(logged: LoggedData, table: EpisodeTable, bounds_kind: str) -> list[str]:
    warnings = [*logged.warnings, *logged.remarks.warnings, *table.rounding.warnings()]
    if table.left_out:
        warnings.append(f"{table.left_out} training episodes are left out because of `dataset.train_share`")
    if bounds_kind == "inferred" and logged.action_kind == DISCRETE:
        low, high = (int(x[0]) for x in (table.action_min, table.action_max))
        warnings.append(
            f"discrete actions are inferred from the log, {low} to {high}; set `dataset.action_count` if there are more"
        )
    elif bounds_kind == "inferred":
        low, high = (np.round(x, 4).tolist() for x in (table.action_min, table.action_max))
        warnings.append(
            f"action bounds are inferred from the log's extremes, low {low}, high {high}; set `dataset.action_low` and "
            "`dataset.action_high` if you know them"
        )
    return warnings


def _bounds(folder: Path, logged: LoggedData, table: EpisodeTable) -> tuple[np.ndarray, np.ndarray, str]:
    """Lowest and highest action "A" in the log's units, and where they come from."""
    declared = _declared_bounds(logged, table.action_min.shape[0])
    if logged.action_quantile is not None:
        low, high = action_quantiles(folder / "action.npy", table.offsets, logged.action_quantile)
        validate.check_quantiles(logged.place, low, high)
        return low, high, "quantiles"
    low, high = declared or (table.action_min.astype(np.float64), table.action_max.astype(np.float64))
    validate.check_action_range(logged.place, low.tolist(), high.tolist(), len(low))
    return low, high, "declared" if declared else "inferred"
