"""Tables with one row a step, whose content is known."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from pipeline.data.dataset import PreparedDataset
from pipeline.ingest.sources import SOURCES
from pipeline.ingest.writer import write_dataset
from pipeline.params import choose

Columns = dict[str, list[Any]]


def counting_table(lengths: tuple[int, ...] = (4, 6), final: bool = True) -> Columns:
    """Row t of episode e: x = 100 e + t, u = t / 10, reward = t, time = t / 2; odd episodes truly end."""
    rows: list[tuple[Any, ...]] = []
    for e, steps in enumerate(lengths):
        rows += [(e, t / 2, 100.0 * e + t, t / 10, float(t), int(t == steps - 1 and e % 2)) for t in range(steps)]
        rows += [(e, steps / 2, 100.0 * e + steps, None, None, None)] if final else []
    names = ("episode", "time", "x", "u", "reward", "terminal")
    return {name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}


def write(file: Path, columns: Columns) -> dict[str, Any]:
    """Stores the table and returns the block of params.yaml that reads it."""
    table = pa.table(columns)
    pq.write_table(table, file) if file.suffix == ".parquet" else pyarrow.csv.write_csv(table, file)
    bounds = {"action_low": [-1.0], "action_high": [1.0]}
    columns_of = {"obs_columns": ["x"], "action_columns": ["u"], "time_column": "time"}
    return {"source": "table", "path": str(file), "held_out_path": str(file), **bounds, **columns_of}


def ingest(folder: Path, block: dict[str, Any], **options: Any) -> PreparedDataset:
    source, config = choose(SOURCES, {**block, **options}, "dataset", key="source")
    return write_dataset(folder, source(config).read(), "log", config.held_out_fraction, config.split_seed)


def refusal(folder: Path, block: dict[str, Any], **options: Any) -> str:
    with pytest.raises(ValueError) as caught:
        ingest(folder / "d", block, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)
