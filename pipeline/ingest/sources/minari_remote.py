"""Download Minari datasets by id; incomplete downloads are marked and resumed."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.validation import did_you_mean

ID = re.compile(r"((?:hf|gcp)://[^/]+)/(.+)")
VERSION = re.compile(r"-v\d+$")


def split_id(dataset_id: str) -> tuple[str | None, str]:
    """Remote and local id of an id such as ``hf://farama-minari/D4RL/door/human-v2``; remote None without ``://``.

    Raises ValueError for other addresses.
    """
    if "://" not in dataset_id:
        return None, dataset_id
    match = ID.fullmatch(dataset_id)
    if match is None:
        fix = "write hf://owner/namespace/name-v0, or gcp://bucket/..."
        raise ValueError(f"dataset_id `{dataset_id}` is not an address of a Minari remote; {fix}")
    return match[1], match[2]


def is_complete(root: Path, dataset_id: str) -> bool:
    """Whether metadata and data are under ``root``, and no download of them was interrupted."""
    folder = root / split_id(dataset_id)[1] / "data"
    return _is_dataset(folder) and not _marker(root, dataset_id).exists()


def _is_dataset(folder: Path) -> bool:
    from pipeline.ingest.sources.minari_storage import has_attributes

    if (folder / "metadata.json").exists():
        return sum(1 for _ in folder.iterdir()) > 1
    return has_attributes(folder)


def fetch_minari(root: Path, dataset_id: str) -> None:
    """Download a dataset into ``root``. Raises ValueError if that fails, and without a download for an id without a
    version and for a folder of the user's own that is not complete.

    A marker file stays beside an interrupted download, so that the next call resumes it.
    """
    remote, local = split_id(dataset_id)
    marker = _marker(root, dataset_id)
    resume = (root / local).exists()
    if resume and not marker.exists():
        raise ValueError(_failure(root, local, "metadata.json or the data are missing: copy them from its source"))
    above = [folder for folder in root.resolve().parents if (folder / local / "data").is_dir()]
    if above and not resume:
        raise ValueError(f"{root}: lies inside the dataset; set `dataset.path` to its root, {above[0]}")
    if not VERSION.search(local):
        raise ValueError(_failure(root, local, "an id ends with its version, such as -v0"))
    try:
        root.mkdir(parents=True, exist_ok=True)
        marker.touch()
        _download(root, remote, local, resume)
    except ImportError:
        raise ValueError(_failure(root, local, "downloading needs `pip install 'minari[hf]'`")) from None
    except Exception as error:  # the remotes share no base class
        raise ValueError(_failure(root, local, f"download failed: {' '.join(str(error).split())[:200]}")) from None
    else:
        marker.unlink()
        shutil.rmtree(root / local.partition("/")[0] / ".cache", ignore_errors=True)  # download state of the hub
    finally:
        if not (root / local).exists():
            marker.unlink(missing_ok=True)


def _download(root: Path, remote: str | None, dataset_id: str, resume: bool) -> None:
    import minari

    with minari_root(root, remote):
        # Unless forced, Minari treats an existing folder as complete. The hub then downloads only missing files.
        minari.download_dataset(dataset_id, force_download=resume)


def _marker(root: Path, dataset_id: str) -> Path:
    return root / f".{split_id(dataset_id)[1].replace('/', '.')}.incomplete"


def _failure(root: Path, dataset_id: str, reason: str) -> str:
    if (root / dataset_id).exists():
        again = "; run again to resume" if _marker(root, dataset_id).exists() else ""
        return f"{root / dataset_id}: incomplete; {reason}{again}"
    files = {*root.glob("**/data/metadata.json"), *root.glob("**/data/main_data.hdf5")}
    local = {str(file.parent.parent.relative_to(root)) for file in files}
    hint = did_you_mean(dataset_id, local) if local else ""
    return f"{root}: no Minari dataset `{dataset_id}`{hint}; {reason}"


@contextmanager
def minari_root(root: Path, remote: str | None = None) -> Iterator[None]:
    """Set Minari's root folder and remote, which it only reads from environment variables, within a ``with`` block."""
    variables = {"MINARI_DATASETS_PATH": str(root)} | ({"MINARI_REMOTE": remote} if remote else {})
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
