"""Which files of a folder are the tables of a log, and which of them stand side by side."""

import fnmatch
import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.ingest.sources.dialect import TextOptions
from pipeline.ingest.sources.side_by_side import SideBySide
from pipeline.ingest.sources.table_files import TableFile
from pipeline.ingest.sources.text_stream import PARQUET, TEXT, is_table

NAMED = 5  # files that a message names


def table_files(
    path: Path,
    options: TextOptions | None = None,
    patterns: Sequence[str] = (),
    columns: Sequence[str] = (),
) -> list[TableFile]:
    """The file, or the tables in a folder and those below it, sorted by path.

    ``patterns`` choose files of a folder by their path in it. ``columns`` are those that are read: files that lack at
    least half of them are no part of the log; without ``columns``, the files that have other columns than most are
    none. What is left out is in ``about_folder`` of the first table. If no table has all columns, the one with most.
    Raises ValueError if there is no table, and for a table that lacks a few of the columns.
    """
    options = options or TextOptions()
    if not path.is_dir():
        if not is_table(path):
            raise ValueError(f"{path}: no table; name a file with {', '.join((*TEXT, *PARQUET))}, or a folder of them")
        return [TableFile(path, options)]
    found = [file for file in sorted(path.rglob("*")) if is_table(file) and file.is_file() and not _hidden(file, path)]
    if not found:
        raise ValueError(f"{path}: no table; name a file with {', '.join((*TEXT, *PARQUET))}, or a folder of them")
    chosen = [file for file in found if not patterns or any(_matches(file, path, text) for text in patterns)]
    if not chosen:
        names = _listed([str(file.relative_to(path)) for file in found])
        raise ValueError(f"{path}: no table fits `dataset.files` {list(patterns)}; correct it (tables: {names})")
    readable, unreadable = _readable([TableFile(file, options) for file in chosen])
    alike, odd = _of_common_width(_grouped(readable, columns))
    belonging, others = _belonging(path, alike, columns)
    tables, notes = _without_copies(path, belonging)
    left_out = [(table, "other columns") for table in [*others, *odd]] + unreadable
    if left_out:
        names = _listed([f"{table.path.relative_to(path)} ({reason})" for table, reason in left_out])
        count = f"{len(left_out)} of {len(left_out) + len(belonging)} tables are left out"
        notes.append(f"{path.name}: {count}: {names}; `dataset.files` says which files are read")
    return [replace(tables[0], about_folder=tuple(notes)), *tables[1:]]


def _listed(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def _hidden(file: Path, folder: Path) -> bool:
    return any(part.startswith((".", "~")) for part in file.relative_to(folder).parts)


def _matches(file: Path, folder: Path, pattern: str) -> bool:
    return fnmatch.fnmatch(str(file.relative_to(folder)), pattern) or fnmatch.fnmatch(file.name, pattern)


def _without_copies(folder: Path, tables: list[TableFile]) -> tuple[list[TableFile], list[str]]:
    """The tables without exact copies of earlier ones, and notes on copies and on names that differ only in case."""
    sizes = Counter(map(_sizes, tables))
    first: dict[tuple[bytes, ...], TableFile] = {}
    lower: dict[str, TableFile] = {}
    kept, copies, notes = [], [], []
    for table in tables:
        name = table.path.relative_to(folder)
        original = first.setdefault(_digests(table), table) if sizes[_sizes(table)] > 1 else table
        if original is not table:
            copies.append(f"{name} (of {original.path.relative_to(folder)})")
            continue
        kept.append(table)
        other = lower.setdefault(str(name).lower(), table)
        if other is not table:
            notes.append(
                f"{folder.name}: {other.path.relative_to(folder)} and {name} differ only in case, and both are read"
            )
    if copies:
        notes.append(f"{folder.name}: exact copies of other files are left out: {_listed(copies)}")
    return kept, notes


def _files(table: TableFile) -> list[Path]:
    return [part.path for part in table.tables] if isinstance(table, SideBySide) else [table.path]


def _sizes(table: TableFile) -> tuple[int, ...]:
    return tuple(file.stat().st_size for file in _files(table))


def _digests(table: TableFile) -> tuple[bytes, ...]:
    digests = []
    for file in _files(table):
        with file.open("rb") as stream:
            digests.append(hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).digest())
    return tuple(digests)


def _readable(files: list[TableFile]) -> tuple[list[TableFile], list[tuple[TableFile, str]]]:
    """The files whose columns can be read, and text files without rows, such as notes, with the reason.

    Raises ValueError for other files, and if none can be read.
    """
    readable, others = [], []
    error: ValueError | None = None
    for file in files:
        try:
            file.names()
        except ValueError as problem:
            if file.parquet:
                raise
            error = error or problem
            others.append((file, str(problem).removeprefix(f"{file.path}: ").partition(";")[0]))
        else:
            readable.append(file)
    if not readable and error is not None:
        raise error
    return readable, others


def _grouped(files: list[TableFile], columns: Sequence[str]) -> list[TableFile]:
    """The files, or one table for each folder if the tables of a folder stand side by side."""
    folders: dict[Path, list[TableFile]] = defaultdict(list)
    for file in files:
        folders[file.path.parent].append(file)
    several = [group for group in folders.values() if len(group) > 1]
    wanted = set(columns)
    if not several or (wanted and any(wanted <= set(file.names()) for file in files)):
        return files
    joined: list[TableFile] = [_joined(group) for group in several]
    if wanted:
        return joined if any(wanted <= set(table.names()) for table in joined) else files
    return joined if _is_side_by_side(several) else files


def _joined(group: list[TableFile]) -> SideBySide:
    return SideBySide(group[0].path.parent, group[0].options, tables=tuple(group))


def _is_side_by_side(folders: list[list[TableFile]]) -> bool:
    """Whether the tables of each folder look like parts of one episode.

    They have different columns and as many rows, or one more; and all folders have files of the same names.
    """
    names = [{file.path.name for file in group} for group in folders]
    columns = [tuple(file.names()) for file in folders[0]]
    alike = len(folders) > 1 and all(group == names[0] for group in names)
    disjoint = sum(map(len, columns)) == len({name for group in columns for name in group})
    if len(set(columns)) == 1 or not (alike or disjoint):
        return False
    rows = [sum(batch.num_rows for batch in file.batches(file.names()[:1])) for file in folders[0]]
    return max(rows) - min(rows) <= 1


def _nameless(table: TableFile) -> bool:
    return table.dialect is not None and table.dialect.unnamed == table.dialect.names


def _of_common_width(tables: list[TableFile]) -> tuple[list[TableFile], list[TableFile]]:
    """The tables without those that name no column and have another number of columns than most, and those."""
    widths = Counter(len(table.names()) for table in tables if _nameless(table))
    width = widths.most_common(1)[0][0] if widths else 0
    odd = [_nameless(table) and len(table.names()) != width for table in tables]
    kept = [table for table, is_odd in zip(tables, odd, strict=True) if not is_odd]
    return kept, [table for table, is_odd in zip(tables, odd, strict=True) if is_odd]


def check_widths(tables: list[TableFile]) -> None:
    """Raises ValueError for tables that name no column and differ in their number of columns."""
    nameless = [table for table in tables if _nameless(table)]
    for table in nameless:
        if len(table.names()) != len(nameless[0].names()):
            counts = f"{len(table.names())} columns without names, {nameless[0].path} has {len(nameless[0].names())}"
            raise ValueError(f"{table.path}: {counts}; name files of the same columns, rows as lines")


def _belonging(
    folder: Path, tables: list[TableFile], columns: Sequence[str]
) -> tuple[list[TableFile], list[TableFile]]:
    """The tables of the log, and others. Raises ValueError for a table that lacks a few of the columns."""
    if not columns:
        return _of_common_columns(tables)
    kept: list[TableFile] = []
    others: list[TableFile] = []
    missing = [[name for name in columns if name not in table.names()] for table in tables]
    if all(missing):
        return [min(tables, key=lambda table: len(set(columns) - set(table.names())))], []
    for table, absent in zip(tables, missing, strict=True):
        if 0 < 2 * len(absent) < len(columns):
            fix = "add it, or name the files to read in `dataset.files`"
            raise ValueError(f"{table.path}: no column `{absent[0]}`, which other files in {folder} have; {fix}")
        (others if absent else kept).append(table)
    return kept, others


def _of_common_columns(tables: list[TableFile]) -> tuple[list[TableFile], list[TableFile]]:
    """The tables with most of the columns that most tables have, and the others."""
    kinds = Counter(frozenset(table.names()) for table in tables)
    common = kinds.most_common(1)[0][0]
    fit = [2 * len(common & set(table.names())) > len(common) for table in tables]
    kept = [table for table, fits in zip(tables, fit, strict=True) if fits]
    return kept, [table for table, fits in zip(tables, fit, strict=True) if not fits]
