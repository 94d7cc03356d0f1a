"""Writes the arrays that stages pass to each other."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def write_arrays(file: Path | str, arrays: Mapping[str, NDArray[Any]], compressed: bool = False) -> None:
    """Write named arrays as .npz, and make the folder."""
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    save = np.savez_compressed if compressed else np.savez
    save(file, allow_pickle=False, **arrays)
