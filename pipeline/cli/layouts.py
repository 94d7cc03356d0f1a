"""Which kind of log a file or folder is, and the block of params.yaml that reads it."""

from collections.abc import Iterator
from pathlib import Path

from pipeline.cli.flat_guess import HDF5, NPZ, guess_flat, guess_hdf5, guess_lerobot
from pipeline.cli.guess import Guess
from pipeline.cli.minari_guess import guess_minari
from pipeline.cli.table_guess import guess_table
from pipeline.ingest.sources.plain_files import refuse_special
from pipeline.ingest.sources.text_stream import PARQUET, TEXT, is_table

# Formats of other tools, and how to make one of them that can be read.
CONVERSIONS = {
    (".xlsx", ".xls", ".ods"): "save the sheet as CSV: `pandas.read_excel(file).to_csv(new, index=False)`",
    (".feather", ".arrow"): "convert it: `pandas.read_feather(file).to_parquet(new)`",
    (".json", ".jsonl", ".ndjson"): "make a table of it: `pandas.read_json(file, lines=True).to_parquet(new)`",
    (".xml",): "make a table of it, one row a step: `pandas.read_xml(file).to_csv(new, index=False)`",
    (".mat",): "convert it: `numpy.savez(new, **scipy.io.loadmat(file))`, without the names that begin with `__`",
    (".npy",): "put the arrays into one file: `numpy.savez(new, obs=..., action=..., reward=..., done=...)`",
    (".pkl", ".pickle", ".pt", ".pth", ".joblib"): "it may run code when loaded, so it is not opened here; load it "
    "yourself if you trust it, and save its arrays: `numpy.savez(new, obs=..., action=..., reward=..., done=...)`",
    (".bag", ".db3", ".mcap"): "export one table, with the topics at common times: `rostopic echo -b file -p topic`, "
    "or the Python package rosbags",
    (".tfrecord", ".array_record"): "read the episodes with tensorflow_datasets, in a function (`source: callable`)",
    (".zarr",): "save its arrays: `numpy.savez(new, obs=..., action=..., reward=..., episode=...)`",
    (".zip", ".tar", ".tgz", ".7z", ".rar"): "unpack it, and name the file or folder in it",
    (".db", ".sqlite", ".sqlite3"): "export a table: `pandas.read_sql(query, connection).to_parquet(new)`",
    (".mdf", ".mf4", ".tdms"): "export it as CSV with one row a step, all channels at common times",
}


def guess_layout(path: Path, options: dict[str, object]) -> Guess:
    """The guess for a file or folder, read with the given ``options`` of the source.

    Raises ValueError for unknown formats and for unknown names of columns.
    """
    if not path.exists():
        raise ValueError(f"{path}: not found; name a log file or a Minari folder")
    refuse_special(path)
    if (path.name == "main_data.hdf5" or path.is_dir()) and (minari := guess_minari(path)):
        return minari
    if path.is_dir():
        return _guess_folder(path, options)
    if is_table(path):
        return guess_table(path, options)
    if path.name.lower().endswith(HDF5):
        return guess_hdf5(path)
    if path.name.lower().endswith(NPZ[0]):
        return guess_flat(path, "npz")
    if fix := _conversion(path):
        raise ValueError(f"{path}: {path.suffix.lower()} is not read; {fix}")
    suffixes = ", ".join((*HDF5, NPZ[0], *TEXT[::3], PARQUET[0]))
    fix = f"use {suffixes} or a Minari folder, or write a function (`source: callable`)"
    raise ValueError(f"{path}: unknown layout; {fix}")


def _guess_folder(path: Path, options: dict[str, object]) -> Guess:
    if (path / "meta/info.json").exists():
        return guess_lerobot(path)
    files = list(_files(path))
    if any(is_table(file) for file in files):
        return guess_table(path, options)
    if any(file.name.lower().endswith(HDF5) for file in files):
        return guess_hdf5(path)
    if any(file.name.lower().endswith(NPZ) for file in files):
        return guess_flat(path, "npz")
    for file in files:
        if how := _conversion(file):
            raise ValueError(f"{path}: no table, but {file.name}, which is not read; {how}")
    return guess_table(path, options)


def _files(path: Path) -> Iterator[Path]:
    return (file for file in sorted(path.rglob("*")) if not file.name.startswith("."))


def _conversion(path: Path) -> str | None:
    """How to convert a file of a format that is not read; None if its suffix is unknown."""
    name = path.name.lower()
    return next((fix for suffixes, fix in CONVERSIONS.items() if _has_suffix(name, suffixes)), None)


def _has_suffix(name: str, suffixes: tuple[str, ...]) -> bool:
    return name.endswith(suffixes) or any(f"{suffix}-" in name for suffix in suffixes)  # such as x.tfrecord-00000-of-1
