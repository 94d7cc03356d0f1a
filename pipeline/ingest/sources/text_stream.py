"""Bytes of text tables: decompression, encoding, and runs of blanks as delimiters, as a stream."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa
    from _typeshed import WriteableBuffer

PARQUET = (".parquet", ".pq", ".parquet.gzip", ".parquet.snappy", ".parquet.zstd")
TEXT = tuple(f"{suffix}{zipped}" for suffix in (".csv", ".tsv", ".txt", ".dat") for zipped in ("", ".gz", ".bz2"))
SAMPLE_BYTES = 1 << 18
CHUNK = 1 << 20  # characters
BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


def is_parquet(path: Path) -> bool:
    """Whether the name, in any case, is that of a Parquet file."""
    return path.name.lower().endswith(PARQUET)


def is_table(path: Path) -> bool:
    """Whether the name, in any case, is that of a table: text or Parquet."""
    return path.name.lower().endswith((*TEXT, *PARQUET))


def open_bytes(path: Path) -> "pa.NativeFile":
    """The bytes of a file; compressed ones are decompressed, whatever the case of the suffix."""
    import pyarrow as pa

    compression = {".gz": "gzip", ".bz2": "bz2"}.get(path.suffix.lower())
    return pa.input_stream(str(path), compression=compression)


def first_lines(path: Path, encoding: str | None) -> tuple[list[str], str]:
    """The complete lines among the first bytes of a file, and its encoding: ``encoding``, or the recognized one."""
    with open_bytes(path) as stream:
        data = stream.read(SAMPLE_BYTES)
    encoding = encoding or _encoding(data)
    text = data.decode(encoding, errors="replace").removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    lines = text.split("\n")
    return (lines if len(data) < SAMPLE_BYTES else lines[:-1]), encoding


def _encoding(data: bytes) -> str:
    for bom, encoding in BOMS.items():
        if data.startswith(bom):
            return encoding
    if data.count(0) > len(data) // 4:  # every other byte of Latin letters and digits
        return "utf-16-le" if data[1:2] == b"\0" else "utf-16-be"
    for encoding in ("utf-8", "cp1252"):
        try:
            data[: data.rfind(b"\n") + 1 or len(data)].decode(encoding)
        except UnicodeDecodeError:
            continue
        return encoding
    return "latin-1"


class SingleBlanks(io.RawIOBase):
    """Text whose cells stand between runs of blanks, as UTF-8 with one tab between cells."""

    def __init__(self, path: Path, encoding: str) -> None:
        self._text = io.TextIOWrapper(open_bytes(path), encoding=encoding)
        self._rest = b""

    def readable(self) -> bool:
        """True: the stream can be read."""
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Fill the buffer; returns the number of bytes, 0 at the end."""
        target = memoryview(buffer).cast("B")
        if not self._rest:
            text = self._text.read(CHUNK)
            text += self._text.readline() if text else ""
            self._rest = "\n".join("\t".join(line.split()) for line in text.split("\n")).encode()
        count = min(len(target), len(self._rest))
        target[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def close(self) -> None:
        """Close the file."""
        self._text.close()
        super().close()
