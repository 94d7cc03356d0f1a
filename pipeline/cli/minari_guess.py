"""Guess the block of params.yaml that reads a Minari dataset."""

import json
from pathlib import Path

from pipeline.cli.guess import Guess


def guess_minari(path: Path) -> Guess | None:
    """The guess for the Minari dataset at or below ``path``; None if there is none."""
    path = path.parent if path.name == "main_data.hdf5" else path
    nearest = [folder for folder in (path, path.parent) if _dataset_id(folder)]
    below = (
        file.parent.parent for name in ("metadata.json", "main_data.hdf5") for file in path.glob(f"**/data/{name}")
    )
    folders = nearest or sorted({folder for folder in below if _dataset_id(folder)})
    if not folders:
        return None
    dataset_id = str(_dataset_id(folders[0]))
    root = folders[0].resolve().parents[dataset_id.count("/")]
    if not path.is_absolute() and root.is_relative_to(Path.cwd()):
        root = root.relative_to(Path.cwd())
    guess = Guess({"source": "minari", "name": dataset_id, "dataset_id": dataset_id, "path": str(root)})
    guess.block["held_out_path"] = str(root)
    if len(folders) > 1:
        others = ", ".join(str(folder.relative_to(path)) for folder in folders[1:6])
        guess.unsure["dataset_id"] = f"one of {len(folders)}; others: {others}"
    return guess


def _dataset_id(folder: Path) -> str | None:
    """The id of the dataset in a folder; None if it holds none."""
    from pipeline.ingest.sources.minari_storage import attributes, has_attributes

    data = folder / "data"
    if (data / "metadata.json").exists():
        return str(json.loads((data / "metadata.json").read_text())["dataset_id"])
    return str(attributes(data)["dataset_id"]) if (data / "main_data.hdf5").exists() and has_attributes(data) else None
