"""Tables that stand side by side: files of one episode with different columns, and the same rows."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from pipeline.ingest.sources.dialect import Dialect
from pipeline.ingest.sources.table_files import TableFile

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class SideBySide(TableFile):
    """Tables of one episode as one table; ``path`` is their folder.

    Row t of each table belongs together. Some may have one row more, such as a final observation: the cells of the
    others are empty there. A name in several tables gets that of its file before it: ``observations.temperature``.
    """

    tables: tuple[TableFile, ...] = ()

    @property
    def parquet(self) -> bool:
        """Whether all tables are Parquet."""
        return all(table.parquet for table in self.tables)

    @cached_property
    def dialect(self) -> Dialect | None:
        """That of the first text table, with the names of all columns; None if there is none."""
        dialects = [table.dialect for table in self.tables if table.dialect]
        unnamed = tuple(name for dialect in dialects for name in dialect.unnamed if name not in dialect.hidden)
        return replace(dialects[0], names=tuple(self.names()), unnamed=unnamed, hidden=()) if dialects else None

    @property
    def notes(self) -> list[str]:
        """The notes of all tables."""
        return [f"{table.path.name}: {note}" for table in self.tables for note in table.notes]

    @cached_property
    def _columns(self) -> dict[str, tuple[TableFile, str]]:
        """For each column its table, and its name there."""
        names = [(table, name) for table in self.tables for name in table.names()]
        count = Counter(name for _, name in names)
        stems = {table.path: table.path.name.split(".")[0] for table in self.tables}
        return {(name if count[name] == 1 else f"{stems[t.path]}.{name}"): (t, name) for t, name in names}

    def part(self, name: str) -> TableFile:
        """The table of a column."""
        return self._columns[name][0]

    def unit(self, name: str) -> str | None:
        """The unit of a column, as its table has it."""
        table, own = self._columns[name]
        return table.unit(own)

    def place(self, row: int) -> str:
        """The place of a row in messages."""
        return f"{self.path}: row {row + 1} of {', '.join(table.path.name for table in self.tables)}"

    def names(self) -> list[str]:
        """Names of the columns of all tables."""
        return list(self._columns)

    def rows(self) -> int | None:
        """Number of rows of the longest table; None if one does not store it."""
        counts = [table.rows() for table in self.tables]
        return None if None in counts else max(count or 0 for count in counts)

    def batches(self, columns: list[str]) -> "Iterator[pa.RecordBatch]":
        """Batches of rows with the given columns. Raises ValueError if the tables differ by more than a row."""
        import pyarrow as pa

        tables = list({self.part(name).path: self.part(name) for name in columns}.values())
        own = {t.path: [self._columns[name][1] for name in columns if self.part(name) is t] for t in tables}
        streams = [table.batches(own[table.path]) for table in tables]
        heads: list[pa.RecordBatch | None] = [None for _ in tables]
        done = 0
        while True:
            heads = [_next_rows(head, stream) for head, stream in zip(heads, streams, strict=True)]
            counts = [head.num_rows if head is not None else 0 for head in heads]
            common = min(counts)
            if common == 0:
                break
            yield self._joined(columns, tables, [head.slice(0, common) for head in heads if head is not None])
            heads = [head.slice(common) for head in heads if head is not None]
            done += common
        if max(counts, default=0) == 0:
            return
        longer, shorter = tables[counts.index(max(counts))], tables[counts.index(0)]
        if max(counts) > 1 or any(next(stream, None) is not None for stream in streams):
            problem = f"{shorter.path.name} has {done} rows and {longer.path.name} over {done + 1}"
            raise ValueError(f"{self.path}: {problem}; tables side by side may differ by one row, the last observation")
        schemas = [next(table.batches(own[table.path])).schema for table in tables]
        lasts = [
            head if head is not None and head.num_rows else pa.RecordBatch.from_pylist([{}], schema=schema)
            for head, schema in zip(heads, schemas, strict=True)
        ]
        yield self._joined(columns, tables, lasts)

    def _joined(self, columns: list[str], tables: list[TableFile], batches: "list[pa.RecordBatch]") -> "pa.RecordBatch":
        import pyarrow as pa

        of = {table.path: batch for table, batch in zip(tables, batches, strict=True)}
        arrays = [of[self.part(name).path].column(self._columns[name][1]) for name in columns]
        return pa.RecordBatch.from_arrays(arrays, names=columns)


def _next_rows(head: "pa.RecordBatch | None", stream: "Iterator[pa.RecordBatch]") -> "pa.RecordBatch | None":
    """``head``, or the next batch with rows if it has none; None at the end."""
    while head is None or not head.num_rows:
        head = next(stream, None)
        if head is None:
            return None
    return head
