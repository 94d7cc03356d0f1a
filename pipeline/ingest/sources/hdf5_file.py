"""Read HDF5 files of other people: damage is reported in one line, and nothing outside the file is opened."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import h5py

SUFFIXES = (".hdf5", ".h5", ".hdf")
MOST_LINKS = 16  # links that lead from one to the next


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

    Raises ValueError for links to other files and for data that is stored in other files. Links are looked at before
    they are followed, so that a log cannot make this process open files of its choice.
    """
    import h5py

    node = group
    for name in (part.encode() for part in path.split("/") if part):
        if not isinstance(node, h5py.Group) or not node.id.links.exists(name):
            return None
        kind = node.id.links.get_info(name).type
        if kind == h5py.h5l.TYPE_EXTERNAL or links > MOST_LINKS:
            raise _outside(group, path)
        if kind == h5py.h5l.TYPE_SOFT:
            target = node.id.links.get_val(name).decode()
            node = find(node.file if target.startswith("/") else node, target, links + 1)
        else:
            node = node[name]
    if isinstance(node, h5py.Dataset) and (node.external or node.is_virtual):
        raise _outside(group, path)
    return node


def refuse_outside(path: Path) -> None:
    """Raises ValueError if any link or dataset of a file refers to other files; for readers that do not use ``find``.

    A file that cannot be opened is left to its reader.
    """
    import h5py

    with suppress(OSError), h5py.File(path, "r") as file:
        groups, pending = {file["/"]}, [file["/"]]  # each once, as a group may lie in itself
        while pending:
            group = pending.pop()
            members = {member for name in group if isinstance(member := find(group, name), h5py.Group)}
            pending += members - groups
            groups |= members


def own_names(group: "h5py.Group") -> list[str]:
    """Names of the members of a group that are no links elsewhere."""
    import h5py

    return [name for name in group if group.id.links.get_info(name.encode()).type == h5py.h5l.TYPE_HARD]


def _outside(group: "h5py.Group", path: str) -> ValueError:
    place = f"{group.file.filename}: `{f'{group.name}/{path}'.strip('/')}`"
    return ValueError(f"{place} is a link or refers to other files, which are not read; copy their data into this file")
