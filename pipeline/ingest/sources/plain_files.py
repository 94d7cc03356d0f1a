"""Only files and folders are opened as logs: reading a pipe or a device would wait forever."""

import os
import stat
from pathlib import Path

ORDINARY = (stat.S_IFREG, stat.S_IFDIR)


def refuse_special(path: Path) -> None:
    """Raises ValueError if ``path``, or anything in the folder, is a pipe, a socket or a device."""
    for file in (path, *(Path(folder) / name for folder, _, names in os.walk(path) for name in names)):
        try:
            kind = stat.S_IFMT(file.stat().st_mode)
        except OSError:  # what is missing or may not be read is left to the reader
            continue
        if kind not in ORDINARY:
            raise ValueError(f"{file}: a pipe, socket or device, not a file; copy what it holds into a file")
