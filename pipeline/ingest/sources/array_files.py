"""The files of a log of arrays: one file, or all of a folder in the order of the numbers in their names."""

import re
from pathlib import Path


def array_files(path: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """The file itself, or those in a folder and the folders in it. Raises ValueError if there is none.

    With the suffix ``.npy`` of single arrays, the folders that hold some stand for the files.
    """
    if not path.is_dir():
        return [path]
    named = [file for file in path.rglob("*") if file.name.endswith(suffixes)]
    files = sorted({file.parent if file.suffix == ".npy" else file for file in named}, key=by_number)
    if not files:
        raise ValueError(f"{path}: a folder without {', '.join(suffixes)}; name a log file or another folder")
    return files


def by_number(name: object) -> list[tuple[int, str]]:
    """A key that sorts ``episode_2`` before ``episode_10``."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", str(name))]
