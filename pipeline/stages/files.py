"""Writes what stages hand to each other."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Json = Mapping[str, Any] | list[Any]


def write_json(file: Path | str, content: Json, allow_nan: bool = False) -> None:
    """Write indented JSON, and make the folder. Raises ValueError for NaN and infinity unless ``allow_nan``."""
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=2, allow_nan=allow_nan) + "\n")


def write_arrays(file: Path | str, arrays: Mapping[str, NDArray[Any]], compressed: bool = False) -> None:
    """Write named arrays as .npz, and make the folder."""
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    save = np.savez_compressed if compressed else np.savez
    save(file, allow_pickle=False, **arrays)
