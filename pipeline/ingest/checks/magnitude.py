"""Values of a size that no measurement has: codes for "no value", overflows, and simulations that diverged."""

from dataclasses import dataclass

import numpy as np

from pipeline.ingest.checks.result import CheckResult
from pipeline.ingest.checks.sample import FloatArray, IntArray, Sample
from pipeline.ingest.statistics import CHUNK

OVERFLOWS = 1e18  # the square of a larger value comes close to the largest float32, 3.4e38, and sums of squares pass it
LARGE = 1e6  # smaller values are never reported
MOST = 0.9  # share of the rows that tell how far a column usually reaches
FAR = 1e4  # times that distance; standardized by such values, all others are nearly equal


@dataclass(frozen=True)
class Column:
    """The value of a column that is largest without its sign, in the whole log, and values "n" of its sample."""

    name: str
    largest: float
    row: int
    sample: FloatArray

    @property
    def usual(self) -> float:
        """Distance from the median within which most values lie; where those are equal, the median of the others."""
        distance = abs(self.sample - np.median(self.sample))
        reach = float(np.quantile(distance, MOST))
        return reach if reach > 0 or not distance.any() else float(np.median(distance[distance > 0]))

    @property
    def is_far(self) -> bool:
        """Whether the largest value is out of all proportion to the others."""
        return abs(self.largest - float(np.median(self.sample))) > FAR * self.usual


def implausible_magnitude(sample: Sample) -> CheckResult | None:
    """Observations and rewards that are out of all proportion to the rest of their column, or whose squares overflow;
    None if there are none."""
    columns = [column for column in _large(sample) if abs(column.largest) > OVERFLOWS or column.is_far]
    if not columns:
        return None
    worst = max(columns, key=lambda column: abs(column.largest))
    episode = int(sample.episode_of(np.array([worst.row]))[0])
    evidence = {
        "count": len(columns),
        "columns": ", ".join(column.name for column in columns[:8]),
        "largest": worst.largest,
        "usual_distance_from_the_median": worst.usual,
        "first": f"episode {episode}, row {worst.row - int(sample.dataset.offsets[episode])}",
    }
    remedy = (
        "repair these rows in `dataset.transform`, or remove their episodes; a code for a missing value belongs into a "
        "table's `na_values`"
    )
    if abs(worst.largest) > OVERFLOWS:
        meaning = "Values are so large that their squares overflow: losses become infinite."
        return CheckResult("implausible_magnitude", "serious", evidence, meaning, remedy)
    meaning = "Values are out of all proportion to the rest of their column: beside them, all others look equal."
    return CheckResult("implausible_magnitude", "warning", evidence, meaning, remedy)


def _large(sample: Sample) -> list[Column]:
    """The columns of observations and rewards that hold a large value somewhere in the log."""
    dataset, spec = sample.dataset, sample.dataset.spec
    columns, start = [], 0
    for key in spec.vector_keys:
        largest, rows = _extremes(dataset.obs[key])
        for i in np.flatnonzero(abs(largest) > LARGE):
            name = spec.obs_names[key][i]
            columns.append(Column(name, float(largest[i]), int(rows[i]), sample.obs[:, start + i]))
        start += len(largest)
    largest, rows = _extremes(dataset.reward[:, None])
    if abs(largest[0]) > LARGE:
        columns.append(Column("reward", float(largest[0]), int(rows[0]), sample.reward))
    return columns


def _extremes(array: np.ndarray) -> tuple[FloatArray, IntArray]:
    """The value "F" of each column of "R F" that is largest without its sign, and its row, a chunk at a time."""
    largest, rows = np.zeros(array.shape[1]), np.zeros(array.shape[1], np.int64)
    for start in range(0, len(array), CHUNK):
        chunk = np.asarray(array[start : start + CHUNK], np.float64)
        place = abs(chunk).argmax(axis=0)
        values = chunk[place, np.arange(chunk.shape[1])]
        larger = abs(values) > abs(largest)
        largest, rows = np.where(larger, values, largest), np.where(larger, start + place, rows)
    return largest, rows
