"""Minari datasets from their remotes: by id, and whole or not at all."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.params import did_you_mean

ID = re.compile(r"((?:hf|gcp)://[^/]+)/(.+)")


def split_id(dataset_id: str) -> tuple[str | None, str]:
    """The remote that an id such as ``hf://farama-minari/D4RL/door/human-v2`` names, and the id below it. Raises
    ValueError for other kinds of address."""
    if "://" not in dataset_id:
        return None, dataset_id
    match = ID.fullmatch(dataset_id)
    if match is None:
        fix = "write hf://owner/namespace/name-v0, or gcp://bucket/..."
        raise ValueError(f"dataset_id `{dataset_id}` is no address that Minari knows; {fix}")
    return match[1], match[2]


def is_complete(root: Path, dataset_id: str) -> bool:
    """Whether metadata and data lie under ``root``, and no download of them was broken off."""
    folder = root / split_id(dataset_id)[1] / "data"
    whole = (folder / "metadata.json").exists() and sum(1 for _ in folder.iterdir()) > 1
    return whole and not _mark(root, dataset_id).exists()


def fetch_minari(root: Path, dataset_id: str) -> None:
    """Download into ``root``. A mark stays beside a broken download, and the next call goes on with it. Raises
    ValueError when it cannot be had."""
    remote, local = split_id(dataset_id)
    mark, begun = _mark(root, dataset_id), (root / local).exists()
    root.mkdir(parents=True, exist_ok=True)
    mark.touch()
    try:
        _download(root, remote, local, begun)
    except ImportError:
        raise ValueError(_absent(root, local, "downloading needs `pip install 'minari[hf]'`")) from None
    except Exception as error:  # the remotes share no base class
        raise ValueError(_absent(root, local, f"download failed: {' '.join(str(error).split())[:200]}")) from None
    else:
        mark.unlink()
        shutil.rmtree(root / local.partition("/")[0] / ".cache", ignore_errors=True)  # the hub's notes on what is whole
    finally:
        if not (root / local).exists():
            mark.unlink(missing_ok=True)


def _download(root: Path, remote: str | None, dataset_id: str, begun: bool) -> None:
    import minari

    with minari_root(root, remote):
        # Minari takes an existing folder for a whole dataset unless forced; the hub then fetches only what is missing.
        minari.download_dataset(dataset_id, force_download=begun)


def _mark(root: Path, dataset_id: str) -> Path:
    return root / f".{split_id(dataset_id)[1].replace('/', '.')}.incomplete"


def _absent(root: Path, dataset_id: str, reason: str) -> str:
    if (root / dataset_id).exists():
        return f"{root / dataset_id}: incomplete; {reason}; run again to go on, or delete it"
    local = [str(file.parent.parent.relative_to(root)) for file in root.glob("**/data/metadata.json")]
    hint = did_you_mean(dataset_id, local) if local else ""
    return f"{root}: no Minari dataset `{dataset_id}`{hint}; {reason}"


@contextmanager
def minari_root(root: Path, remote: str | None = None) -> Iterator[None]:
    """Minari takes its root, and the remote of namespaces, from the environment alone; set them for one call."""
    wanted = {"MINARI_DATASETS_PATH": str(root)} | ({"MINARI_REMOTE": remote} if remote else {})
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
