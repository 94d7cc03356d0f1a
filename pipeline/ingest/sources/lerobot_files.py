"""Files of a LeRobot dataset: what ``meta/info.json`` says, and the frames of each episode in order."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 1 << 14  # frames in memory at a time
EPISODE = "episode_index"


@dataclass(frozen=True)
class Feature:
    """A column of the Parquet files, or a video beside them."""

    stored: bool  # whether it is a column
    vector: bool  # whether it is a number or a list of numbers
    names: list[str] | None  # names of its entries


@dataclass(frozen=True)
class FrameFiles:
    """A dataset's Parquet files, its ``info``, and its features by name."""

    root: Path
    files: list[Path]
    info: dict[str, Any]
    features: dict[str, Feature]

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return [name for name, feature in self.features.items() if feature.stored]

    def episodes(self, columns: list[str]) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """Number and columns "T F" of each episode. Raises ValueError if its frames are not contiguous."""
        seen: set[int] = set()
        current, pending = -1, list[dict[str, np.ndarray]]()
        for numbers, arrays in self._batches(columns):
            edges = np.r_[0, np.flatnonzero(numbers[1:] != numbers[:-1]) + 1, len(numbers)]
            for start, stop in pairwise(edges):
                if pending and numbers[start] != current:
                    yield current, _joined(pending)
                    pending = []
                if not pending and int(numbers[start]) in seen:
                    problem = f"episode {numbers[start]} continues after other episodes"
                    raise ValueError(f"{self.root}: {problem}; sort the frames of its files by `{EPISODE}`")
                current = int(numbers[start])
                seen.add(current)
                pending.append({name: array[start:stop] for name, array in arrays.items()})
        if pending:
            yield current, _joined(pending)

    @property
    def fps(self) -> float:
        """Frames per second; 0 if unknown."""
        fps = self.info.get("fps")
        return float(fps) if isinstance(fps, int | float) else 0.0

    def rows(self) -> int:
        """Number of frames."""
        import pyarrow.parquet as pq

        total = 0
        for file in self.files:
            with _readable(file):
                total += pq.read_metadata(file).num_rows
        return total

    def _batches(self, columns: list[str]) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        import pyarrow.parquet as pq

        for file in self.files:
            with _readable(file):
                kinds = {field.name: field.type for field in pq.read_schema(file)}
            for name in (EPISODE, *columns):
                if name not in kinds or not _is_vector(kinds[name]):
                    what = f"`{name}` holds {kinds[name]}" if name in kinds else f"no column `{name}`"
                    raise ValueError(f"{file}: {what}, expected numbers as in {self.files[0].name}; repair the file")
            with _readable(file):
                for batch in pq.ParquetFile(file).iter_batches(ROWS, columns=[EPISODE, *columns]):
                    if batch.column(EPISODE).null_count:
                        raise ValueError(f"{file}: `{EPISODE}` is empty in some rows; repair the file")
                    if batch.num_rows:
                        arrays = {name: _matrix(file, name, batch.column(name)) for name in columns}
                        yield batch.column(EPISODE).to_numpy(), arrays


def open_lerobot(root: Path) -> FrameFiles:
    """The dataset in a folder. Raises ValueError for other folders, versions 1, and datasets without data files."""
    import pyarrow.parquet as pq

    file = root / "meta/info.json"
    if not file.is_file():
        below = ", ".join(f"`{found.parents[1]}`" for found in sorted(root.glob("*/meta/info.json"))[:3])
        hint = f" (did you mean {below}?)" if below else ""
        raise ValueError(f"{root}: no meta/info.json{hint}; name the folder of a LeRobot dataset, which holds it")
    try:
        info = json.loads(file.read_text())
        version, declared = str(info["codebase_version"]), {k: dict(v) for k, v in info.get("features", {}).items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{file}: not the metadata of a LeRobot dataset ({error!r}); fetch it again") from None
    if not version.startswith(("v2", "v3")):
        raise ValueError(
            f"{file}: version {version} is not supported; convert it to v2.1 or v3.0 with LeRobot's scripts"
        )
    files = sorted(root.glob("data/**/*.parquet"))
    if not files:
        raise ValueError(f"{root}: no Parquet files below `data`; fetch the whole dataset")
    with _readable(files[0]):
        schema = pq.read_schema(files[0])
    if EPISODE not in schema.names:
        raise ValueError(f"{files[0]}: no column `{EPISODE}`; use `source: table` for other Parquet files")
    stored = {name: _feature(declared.get(name, {}), schema.field(name).type) for name in schema.names}
    videos = {name: Feature(False, False, None) for name in declared if name not in stored}
    return FrameFiles(root, files, info, {**stored, **videos})


def _feature(declared: dict[str, Any], kind: "pa.DataType") -> Feature:
    shape = declared.get("shape")
    flat = not isinstance(shape, list) or len(shape) < 2
    return Feature(True, flat and _is_vector(kind), _flat_names(declared.get("names")))


def _is_vector(kind: "pa.DataType") -> bool:
    """Whether cells are numbers, or lists of them."""
    import pyarrow as pa

    while pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind) or pa.types.is_large_list(kind):
        kind = kind.value_type
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def _flat_names(names: object) -> list[str] | None:
    """Names of entries, which may stand in a list, or in lists by kind: ``{"motors": ["x", "y"]}``."""
    if isinstance(names, dict):
        groups = [_flat_names(group) for group in names.values()]
        return [name for group in groups if group is not None for name in group]
    return [str(name) for name in names] if isinstance(names, list) else None


def _matrix(file: Path, name: str, array: "pa.Array") -> np.ndarray:
    """Cells as "N F", NaN where a number is missing. Raises ValueError for lists of different lengths."""
    import pyarrow as pa

    count = len(array)
    while not pa.types.is_primitive(array.type):
        array = array.flatten()
    if len(array) % count or (len(array) > count and array.offset):
        raise ValueError(f"{file}: lists of `{name}` differ in length; repair the file")
    return np.asarray(array.to_numpy(zero_copy_only=False)).reshape(count, -1)


def _joined(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        pointer = file.is_file() and file.open("rb").read(20).startswith(b"version https://git")
        fix = "it is a pointer of Git LFS: run `git lfs pull`" if pointer else "fetch the file again"
        raise ValueError(f"{file}: truncated, corrupt or not Parquet ({reason}); {fix}") from None
