"""Read HDF5 files of other people: damage is reported in one line, and nothing outside the file is opened."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.ingest.validate import check_memory

if TYPE_CHECKING:
    import h5py

SUFFIXES = (".hdf5", ".h5", ".hdf")
MOST_LINKS = 16  # links that lead from one to the next
COPY = "copy their data into this file"


@contextmanager
def open_hdf5(path: Path) -> Iterator["h5py.File"]:
    """The file, open for reading. Raises ValueError if it cannot be read, now or in the body."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError) as error:  # h5py raises either one for damaged files
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: truncated, corrupt or not HDF5 ({reason}); fetch the file again") from None


def find(group: "h5py.Group", path: str, links: int = 0) -> "h5py.Group | h5py.Dataset | None":
    """The group or dataset at ``path`` (``a/b``), None if there is none.

    Raises ValueError for links to other files, for links that lead nowhere, for data that is stored in other files, and
    for datasets without values. Links are looked at before they are followed, so that a log cannot make this process
    open files of its choice.
    """
    import h5py

    node = group
    for name in (part.encode() for part in path.split("/") if part):
        if not isinstance(node, h5py.Group) or not node.id.links.exists(name):
            return None
        kind = node.id.links.get_info(name).type
        if kind == h5py.h5l.TYPE_HARD:
            node = node[name]
        elif kind != h5py.h5l.TYPE_SOFT or links > MOST_LINKS:
            raise _outside(group, path)
        else:
            target = node.id.links.get_val(name).decode()
            node = find(node.file if target.startswith("/") else node, target, links + 1)
            if node is None:
                problem = f"is a link to `{target}`, which is not there"
                raise ValueError(f"{_place(group, path)} {problem}; remove it, or {COPY}")
    if isinstance(node, h5py.Dataset) and (node.external or node.is_virtual):
        raise _outside(group, path)
    if isinstance(node, h5py.Dataset) and node.shape is None:
        raise ValueError(f"{_place(group, path)} has no values; remove it, or write them")
    return node


def read_all(dataset: "h5py.Dataset") -> np.ndarray:
    """All of a dataset. Raises ValueError if it does not fit into memory: a small file can claim any number of rows."""
    check_memory(f"{dataset.file.filename}: `{str(dataset.name).strip('/')}`", dataset.size * dataset.dtype.itemsize)
    return np.asarray(dataset[()])


def check_whole(path: Path) -> None:
    """Raises ValueError if :func:`find` refuses a link or a dataset of a file, or if one does not fit into memory.

    For readers that do not use ``find``. A file that cannot be opened is left to its reader.
    """
    import h5py

    with suppress(OSError), h5py.File(path, "r") as file:
        groups, pending = {file["/"]}, [file["/"]]  # each once, as a group may lie in itself
        while pending:
            group = pending.pop()
            nodes = [find(group, name) for name in group]
            for dataset in (node for node in nodes if isinstance(node, h5py.Dataset)):
                check_memory(_place(group, str(dataset.name)), dataset.size * dataset.dtype.itemsize)
            members = {node for node in nodes if isinstance(node, h5py.Group)}
            pending += members - groups
            groups |= members


def own_names(group: "h5py.Group") -> list[str]:
    """Names of the members of a group that are no links elsewhere. Raises ValueError for a link to another file."""
    import h5py

    kinds = {name: group.id.links.get_info(name.encode()).type for name in group}
    for name, kind in kinds.items():
        if kind not in (h5py.h5l.TYPE_HARD, h5py.h5l.TYPE_SOFT):
            raise _outside(group, name)
    return [name for name, kind in kinds.items() if kind == h5py.h5l.TYPE_HARD]


def _outside(group: "h5py.Group", path: str) -> ValueError:
    return ValueError(f"{_place(group, path)} is a link or refers to other files, which are not read; {COPY}")


def _place(group: "h5py.Group", path: str) -> str:
    whole = path if path.startswith("/") else f"{group.name}/{path}"
    return f"{group.file.filename}: `{whole.strip('/')}`"
