"""Which episodes are held out: some at random, the last part of the log, or whole groups such as patients.

A random split measures errors on episodes from the same time and the same groups as those learned from. Later data and
new groups are harder, so a model for them is measured on the last part of the log, or on groups of its own.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.data.spec import GIVEN, GROUP, LAST, RANDOM
from pipeline.ingest.chronology import last_part, overlaps
from pipeline.ingest.episode_table import EpisodeTable, Piece

CHOICES = (RANDOM, LAST, GROUP)  # of `dataset.split`
GAP = 32  # steps: the default of `fit.window`, and more than any usual `history`
FEW = 2  # held-out episodes; with fewer, calibration cannot be fitted on one part and judged on another
MORE = {  # how to have more held-out episodes
    RANDOM: "raise `dataset.held_out_fraction`, or set `dataset.split: last` to cut episodes by time",
    LAST: "raise `dataset.held_out_fraction` or lower `dataset.split_gap`",
    GROUP: "raise `dataset.held_out_fraction`",
    GIVEN: "mark more episodes as held out, or set `dataset.held_out_path` equal to `dataset.path`",
}


@dataclass(frozen=True)
class Split:
    """How a log is divided; the fields are options of params.yaml."""

    fraction: float  # held_out_fraction
    seed: int  # split_seed
    kind: str = RANDOM  # split
    gap: int = GAP  # split_gap


def divide(place: str, table: EpisodeTable, split: Split) -> list[Piece]:
    """The pieces of the episodes of ``table`` on either side, in the order of the log. Raises ValueError if one side
    would be empty.

    All pieces are whole episodes but for the chronological split of a log with few episodes.
    """
    if kind_of(table, split) == GIVEN:
        _check_given(place, table, split)
        held_out = np.array(table.held_out, bool)
    elif split.kind == LAST:
        return last_part(place, table, split.fraction, split.gap)
    elif split.kind == GROUP:
        held_out = _some_groups(place, table, split)
    else:
        held_out = np.isin(table.copies, _drawn(max(table.copies) + 1, split))
    if held_out.all() or not held_out.any():
        fix = "add episodes, set `dataset.held_out_path`, or set `dataset.split: last` to cut episodes by time"
        raise ValueError(f"{place}: a split needs two different episodes; {fix}")
    return [Piece(e, 0, steps, bool(held_out[e])) for e, steps in enumerate(table.lengths)]


def kind_of(table: EpisodeTable, split: Split) -> str:
    """The kind of the split; "given" if the source says which episodes are held out."""
    return split.kind if table.held_out[0] is None else GIVEN


def split_warnings(table: EpisodeTable, held_out: NDArray[np.bool_], kind: str) -> list[str]:
    """What makes held-out errors of ``table`` lower than those to expect in use, or hard to measure."""
    warnings = []
    if table.gap_steps:
        warnings.append(
            f"{table.gap_steps} steps between training and held-out parts are left out because of `dataset.split_gap`"
        )
    if (count := int(held_out.sum())) < FEW:
        warnings.append(
            f"{count} held-out episode: errors are measured on it alone, and calibration cannot be judged; {MORE[kind]}"
        )
    if kind not in (RANDOM, GIVEN):
        return warnings
    sides = [{table.groups[e] for e in np.flatnonzero(side)} - {None} for side in (held_out, ~held_out)]
    if (both := sides[0] & sides[1]) and len(sides[0] | sides[1]) > 1:
        warnings.append(
            f"{len(both)} of {len(sides[0])} held-out groups are in the training split too, so held-out errors say "
            "nothing about a new one; set `dataset.split: group` to hold out whole groups"
        )
    if shared := overlaps(table, held_out):
        warnings.append(
            f"{shared} of {count} held-out episodes overlap in time with training episodes, so held-out errors are too "
            "low; set `dataset.split: last` to hold out the last part of the log"
        )
    return warnings


def _check_given(place: str, table: EpisodeTable, split: Split) -> None:
    assert None not in table.held_out, "a source must mark all of its episodes or none"
    if split.kind != RANDOM:
        fix = "set it to random, or remove the marks"
        raise ValueError(f"{place}: `dataset.split: {split.kind}`, but the log marks its held-out episodes; {fix}")


def _some_groups(place: str, table: EpisodeTable, split: Split) -> NDArray[np.bool_]:
    missing = sum(group is None for group in table.groups)
    if missing:
        fix = "set a table's `dataset.group_column`, or let a function yield `group`; or set another `dataset.split`"
        raise ValueError(f"{place}: `dataset.split: group`, but {missing} episodes have no group; {fix}")
    names, group = np.unique(np.array(table.groups, str), return_inverse=True)
    if len(names) == 1:
        fix = "set `dataset.split: last`, or name another `dataset.group_column`"
        raise ValueError(f"{place}: `dataset.split: group`, but all episodes are of group {names[0]}; {fix}")
    return np.isin(group, _drawn(len(names), split))


def _drawn(count: int, split: Split) -> NDArray[np.int64]:
    """Numbers below ``count``, drawn at random: the fraction of them, at least one, and not all unless there is one."""
    share = int(np.clip(round(split.fraction * count), 1, max(count - 1, 1)))
    return np.random.default_rng(split.seed).permutation(count)[:share]
