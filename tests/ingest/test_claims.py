"""Files that claim more than they hold, and paths that are no files: one line, and neither memory nor time is lost."""

import os
import struct
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psutil
import pytest
from data_examples import counting_columns, refusal_of_file

from pipeline.cli.inspect import inspect_log
from pipeline.ingest.sources.minari import open_minari

ROWS = 10**12
FEW = len(counting_columns()["reward"])


def npy(array: np.ndarray, claimed: Any = None) -> bytes:
    """The bytes of an npy file; its header claims another shape."""
    if claimed is None:
        np.save(buffer := BytesIO(), array)
        return buffer.getvalue()
    text = str({"descr": array.dtype.str, "fortran_order": False, "shape": claimed}).encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + array.tobytes()


def claiming(folder: Path, column: str, shape: Any, archive: bool) -> Path:
    """A log whose ``column`` claims ``shape``: an npz file, or a folder of npy files."""
    parts = {name: npy(array, shape if name == column else None) for name, array in counting_columns().items()}
    if archive:
        with zipfile.ZipFile(folder / "log.npz", "w", zipfile.ZIP_DEFLATED) as file:
            for name, content in parts.items():
                file.writestr(f"{name}.npy", content)
        return folder / "log.npz"
    (folder / "log").mkdir()
    for name, content in parts.items():
        (folder / "log" / f"{name}.npy").write_bytes(content)
    return folder / "log"


@pytest.mark.parametrize("archive", [True, False])
@pytest.mark.parametrize(
    ("column", "shape"),
    [
        ("reward", (ROWS,)),
        ("obs", (ROWS, 2)),
        ("reward", (2**63,)),
        ("obs", (2**40, 2**40)),
        ("reward", (-1,)),
        ("reward", (FEW + 1,)),
    ],
)
def test_an_array_holds_what_its_header_claims(column: str, shape: Any, archive: bool, tmp_path: Path) -> None:
    log = claiming(tmp_path, column, shape, archive)
    message = refusal_of_file(tmp_path, log, "npz")
    assert message.startswith(f"{log if archive else log / f'{column}.npy'}: truncated, corrupt or not npz (")
    if archive:
        assert f"`{column}` claims shape {list(shape)}" in message
        assert f"and holds {counting_columns()[column].nbytes})" in message


def test_an_array_larger_than_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As from an archive that unpacks to more than the machine has."""
    memory = psutil.virtual_memory()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory._replace(available=10))
    for archive, place in ((True, "log.npz: `action`"), (False, "log/action.npy")):
        message = refusal_of_file(tmp_path, claiming(tmp_path, "", None, archive), "npz")
        assert f"{place}: needs 0 MiB of memory, but 0 MiB are free" in message


def flat(file: h5py.File, rows: int) -> None:
    for name in ("observations", "actions"):
        file.create_dataset(name, (rows, 2), "f4", chunks=True)
    file.create_dataset("rewards", (rows,), "f4", chunks=True)
    file.create_dataset("terminals", (rows,), "?", chunks=True)
    file.create_dataset("timeouts", (rows,), "?", chunks=True)


def grouped(file: h5py.File, rows: int) -> None:
    group = file.create_group("demo_0")
    group.create_dataset("obs", (rows, 2), "f4", chunks=True)
    group.create_dataset("actions", (rows, 2), "f4", chunks=True)
    group.create_dataset("rewards", (rows,), "f4", chunks=True)
    group.create_dataset("dones", (rows,), "?", chunks=True)


def dumped(file: h5py.File, rows: int) -> None:
    file["num_episodes"] = 1
    for name, shape in (("observations", (rows, 2)), ("actions", (rows, 1)), ("rewards", (rows, 1))):
        file.create_dataset(f"{name}_0", shape, "f4", chunks=True)
    file["terminated_0"] = True


@pytest.mark.parametrize(("write", "source"), [(flat, "d4rl_hdf5"), (grouped, "hdf5_groups"), (dumped, "d3rlpy_hdf5")])
def test_hdf5_files_that_claim_many_rows(write: Callable[[h5py.File, int], None], source: str, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "log.h5", "w") as file:
        write(file, ROWS)
    assert "MiB of memory, but" in refusal_of_file(tmp_path, tmp_path / "log.h5", source)


def test_minari_datasets_that_claim_many_rows(tmp_path: Path) -> None:
    folder = tmp_path / "mine/logs-v0/data"
    folder.mkdir(parents=True)
    (folder / "metadata.json").write_text("{}")
    with h5py.File(folder / "main_data.hdf5", "w") as file:
        file.create_dataset("episode_0/rewards", (ROWS,), "f8", chunks=True)
    with pytest.raises(ValueError, match=r"`episode_0/rewards`: needs \d+ MiB of memory"):
        open_minari(tmp_path, "mine/logs-v0")


def test_hdf5_datasets_without_values(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "log.h5", "w") as file:
        flat(file, 5)
        del file["rewards"]
        file["rewards"] = h5py.Empty("f4")
    assert "`rewards` has no values" in refusal_of_file(tmp_path, tmp_path / "log.h5", "d4rl_hdf5")


SUFFIXES = {"d4rl_hdf5": ".h5", "d3rlpy_hdf5": ".h5", "hdf5_groups": ".h5", "npz": ".npz", "table": ".csv"}
COLUMNS = {"table": {"obs_columns": ["x"], "action_columns": ["u"], "episode_column": "run", "reward_column": "r"}}


@pytest.mark.parametrize("kind", ["pipe", "link to a pipe", "device", "in a folder"])
@pytest.mark.parametrize("source", SUFFIXES)
def test_only_files_and_folders_are_opened(source: str, kind: str, tmp_path: Path) -> None:
    log = special = tmp_path / f"log{SUFFIXES[source]}"
    if kind == "link to a pipe":
        os.mkfifo(tmp_path / "pipe")
        log.symlink_to(tmp_path / "pipe")
    elif kind == "device":
        log.symlink_to(os.devnull)
    elif kind == "in a folder":
        log = tmp_path / "logs"
        (log / "deeper").mkdir(parents=True)
        special = log / "deeper" / f"log{SUFFIXES[source]}"
        os.mkfifo(special)
    else:
        os.mkfifo(log)
    expected = f"{special}: a pipe, socket or device, not a file; copy what it holds into a file"
    assert refusal_of_file(tmp_path, log, source, **COLUMNS.get(source, {})) == expected
    with pytest.raises(ValueError, match="a pipe, socket or device"):
        list(inspect_log(log))


@pytest.mark.parametrize("name", ["metadata.json", "main_data.hdf5"])
def test_nor_within_a_minari_dataset(name: str, tmp_path: Path) -> None:
    (tmp_path / "mine/logs-v0/data").mkdir(parents=True)
    os.mkfifo(tmp_path / "mine/logs-v0/data" / name)
    with pytest.raises(ValueError, match=f"{name}: a pipe, socket or device"):
        open_minari(tmp_path, "mine/logs-v0")
