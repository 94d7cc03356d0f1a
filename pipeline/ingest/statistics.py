"""Statistics and action scaling of the stored arrays, a limited number of rows at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.envs.action_space import BoxActions

CHUNK = 1 << 17  # rows of vectors in memory at a time
IMAGE_BYTES = 1 << 20  # bytes of images in memory at a time
QUANTILE_STEPS = 1 << 20  # at most this many steps are used for quantiles
Moments = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # minimum, maximum, mean, standard deviation


@dataclass(frozen=True)
class Rows:
    """The rows of the chosen episodes, bool "E": all, or without those of final observations."""

    offsets: np.ndarray  # int64 "E+1"
    chosen: np.ndarray
    final: bool

    @property
    def count(self) -> int:
        """Number of rows."""
        return int((np.diff(self.offsets) - (not self.final))[self.chosen].sum())

    def between(self, start: int, stop: int) -> np.ndarray:
        """Whether each row from ``start`` to ``stop`` is one of them, bool "R"."""
        first, last = np.searchsorted(self.offsets, [start, stop - 1], side="right") - 1
        edges = self.offsets[first : last + 2].clip(start, stop)
        rows = np.repeat(self.chosen[first : last + 1], np.diff(edges))
        if not self.final:
            ends = self.offsets[first + 1 : last + 2] - 1
            rows[ends[ends < stop] - start] = False
        return rows


def statistics(folder: Path, offsets: np.ndarray, held_out: np.ndarray) -> tuple[dict[str, Moments], Moments]:
    """Moments of the train split: of all observations by key (of images by channel), and of all rewards."""
    rows, steps = (Rows(offsets, ~held_out, final) for final in (True, False))
    keys = sorted(file.name[len("obs.") : -len(".npy")] for file in folder.glob("obs.*.npy"))
    arrays = {key: np.load(folder / f"obs.{key}.npy", mmap_mode="r") for key in keys}
    obs = {key: _moments(a, rows) if a.ndim == 2 else _channel_moments(a, rows) for key, a in arrays.items()}
    return obs, _moments(np.load(folder / "reward.npy", mmap_mode="r"), steps)


def action_quantiles(file: Path, offsets: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """The ``share`` and ``1 - share`` quantiles of the logged actions, float64 "A" each.

    Of longer logs, about a million evenly spaced steps are used.
    """
    actions = np.load(file, mmap_mode="r")
    ends = np.cumsum(np.diff(offsets) - 1)  # steps up to the end of each episode
    steps = np.arange(0, ends[-1], -(-ends[-1] // QUANTILE_STEPS))
    chosen = actions[steps + np.searchsorted(ends, steps, side="right")].astype(np.float64)
    low, high = np.quantile(chosen, [share, 1 - share], axis=0)
    return low, high


def map_actions(file: Path, offsets: np.ndarray, low: np.ndarray, high: np.ndarray, clip: bool = True) -> None:
    """Scale actions from the log's units to [-1, 1], in place.

    ``clip`` False keeps values outside [-1, 1]. The row of a final observation has no action and gets 0.
    """
    actions, box = np.load(file, mmap_mode="r+"), BoxActions(low, high)
    for start in range(0, len(actions), CHUNK):
        mapped = box.normalize(actions[start : start + CHUNK])
        actions[start : start + CHUNK] = np.clip(mapped, -1, 1) if clip else mapped
    actions[offsets[1:] - 1] = 0
    actions.flush()


def one_hot_actions(file: Path, offsets: np.ndarray, start: int, count: int) -> None:
    """Replace integers "R 1", counted from ``start``, by one-hot vectors "R A".

    The row of a final observation has no action and gets 0.
    """
    numbers, wide = np.load(file, mmap_mode="r"), file.with_suffix(".wide")
    hot = np.lib.format.open_memmap(wide, "w+", np.float32, (len(numbers), count))
    for first in range(0, len(numbers), CHUNK):
        chosen = numbers[first : first + CHUNK, 0].astype(np.int64) - start
        hot[first + np.arange(len(chosen)), chosen.clip(0, count - 1)] = 1
    hot[offsets[1:] - 1] = 0
    hot.flush()
    wide.replace(file)


def _moments(array: np.ndarray, rows: Rows) -> Moments:
    """Each float64 "O", over ``rows``.

    Two passes, because a difference of large squares loses precision.
    """
    size = max(1, min(CHUNK, (CHUNK << 8) // max(1, array[:1].size)))  # smaller chunks for wide rows

    def chunks() -> Iterator[np.ndarray]:
        for start in range(0, len(array), size):
            block = array[start : start + size]
            chosen = rows.between(start, start + len(block))
            if chosen.any():
                yield block[chosen].reshape(chosen.sum(), -1)

    ends = [(c.min(axis=0), c.max(axis=0), c.astype(np.float64).sum(axis=0)) for c in chunks()]
    lows, highs, sums = zip(*ends, strict=True)
    low, high = np.min(lows, axis=0).astype(np.float64), np.max(highs, axis=0).astype(np.float64)
    mean = np.sum(sums, axis=0) / rows.count
    variance = np.sum([((chunk - mean) ** 2).sum(axis=0) for chunk in chunks()], axis=0) / rows.count
    return low, high, mean, np.where(low == high, 0.0, np.sqrt(variance))


def _channel_moments(images: np.ndarray, rows: Rows) -> Moments:
    """Each float64 "C", exact, from the counts of the values 0 to 255 in images "R H W C"."""
    channels, value = images.shape[-1], np.arange(256)
    counts = np.zeros((channels, 256), np.int64)
    chunk = max(1, IMAGE_BYTES // images[0].nbytes)
    for start in range(0, len(images), chunk):
        block = images[start : start + chunk]
        block = block[rows.between(start, start + len(block))]
        counts += [np.bincount(block[..., c].ravel(), minlength=256) for c in range(channels)]
    share = counts / counts.sum(axis=1, keepdims=True)
    mean = share @ value
    std = np.sqrt((share * (value - mean[:, None]) ** 2).sum(axis=1))
    low, high = counts.astype(bool).argmax(axis=1), 255 - counts.astype(bool)[:, ::-1].argmax(axis=1)
    return low.astype(float), high.astype(float), mean, np.where(low == high, 0.0, std)
