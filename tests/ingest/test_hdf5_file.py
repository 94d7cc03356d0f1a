"""HDF5 files may point at other files; a log never makes this process open them."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from pipeline.ingest.sources.d4rl_hdf5 import read_hdf5
from pipeline.ingest.sources.hdf5_file import check_whole, find, open_hdf5, own_names
from pipeline.ingest.sources.minari import open_minari

SECRET = np.arange(6.0)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A file with one honest dataset and every way to reach the number 5 of other files."""
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["x"] = SECRET
    (tmp_path / "raw").write_bytes(SECRET.tobytes())
    layout = h5py.VirtualLayout((6,), "f8")
    layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "x", (6,))
    with h5py.File(tmp_path / "log.h5", "w") as file:
        file["group/honest"] = SECRET
        file["inside"] = h5py.SoftLink("/group/honest")
        file["group/beside"] = h5py.SoftLink("honest")
        file["nowhere"] = h5py.SoftLink("/missing")
        file["loop"] = h5py.SoftLink("/loop")
        file["outside"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/x")
        file["root"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/")
        file["detour"] = h5py.SoftLink("/outside")
        file.create_dataset("raw", (6,), "f8", external=[(str(tmp_path / "raw"), 0, 48)])
        file.create_virtual_dataset("virtual", layout)
    return tmp_path / "log.h5"


@pytest.mark.parametrize("name", ["group/honest", "inside", "group/beside"])
def test_links_within_the_file_are_followed(name: str, log: Path) -> None:
    with open_hdf5(log) as file:
        dataset = find(file, name)
        assert isinstance(dataset, h5py.Dataset)
        assert dataset[:].tolist() == SECRET.tolist()


@pytest.mark.parametrize("name", ["missing", "group/missing", "group/honest/x"])
def test_what_is_missing_is_none(name: str, log: Path) -> None:
    with open_hdf5(log) as file:
        assert find(file, name) is None


@pytest.mark.parametrize("name", ["outside", "root/x", "detour", "raw", "virtual", "loop"])
def test_nothing_outside_the_file_is_read(name: str, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (log.parent / "other.h5").unlink()  # so that following a link fails in another way
    with open_hdf5(log) as file, pytest.raises(ValueError, match="is a link or refers to other files") as caught:
        find(file, name)
    assert str(caught.value).startswith(f"{log}: `")


def test_a_link_that_leads_nowhere_is_refused(log: Path) -> None:
    expected = "`nowhere` is a link to `/missing`, which is not there; remove it, or copy"
    with open_hdf5(log) as file, pytest.raises(ValueError, match=expected):
        find(file, "nowhere")


def test_no_episode_is_left_out_because_it_lies_in_another_file(log: Path) -> None:
    with open_hdf5(log) as file, pytest.raises(ValueError, match="is a link or refers to other files"):
        own_names(file)


@pytest.mark.parametrize("name", ["outside", "raw", "virtual"])
def test_whole_files_are_searched(name: str, log: Path, tmp_path: Path) -> None:
    with h5py.File(log, "a") as file:
        for other in {"outside", "root", "detour", "raw", "virtual", "loop", "nowhere"} - {name}:
            del file[other]
        file.move(name, f"group/{name}")
    with pytest.raises(ValueError, match=f"`group/{name}` is a link or refers to other files"):
        check_whole(log)
    with h5py.File(log, "a") as file:
        del file[f"group/{name}"]
    check_whole(log)
    check_whole(tmp_path / "missing.h5")


def test_a_group_may_lie_in_itself(log: Path) -> None:
    with h5py.File(log, "w") as file:
        file["a/b/honest"] = SECRET
        for i in range(20):
            file[f"a/b/{i}"] = file["a"]
    check_whole(log)


def test_minari_datasets_refuse_links_to_other_files(tmp_path: Path) -> None:
    folder = tmp_path / "mine/logs-v0/data"
    folder.mkdir(parents=True)
    (folder / "metadata.json").write_text("{}")
    with h5py.File(folder / "main_data.hdf5", "w") as file:
        file["episode_0/rewards"] = h5py.ExternalLink("/etc/other.h5", "/x")
    with pytest.raises(ValueError, match="`episode_0/rewards` is a link or refers to other files"):
        open_minari(tmp_path, "mine/logs-v0")


def test_flat_logs_refuse_links_to_other_files(log: Path) -> None:
    with pytest.raises(ValueError, match="`outside` is a link or refers to other files, which are not read; copy"):
        read_hdf5(log, {"detour"})


def test_columns_in_groups_have_paths(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "log.h5", "w") as file:
        file["buffer/obs"] = np.ones((3, 2))
    assert read_hdf5(tmp_path / "log.h5", {"buffer/obs"}).arrays["buffer/obs"][:].tolist() == [[1.0, 1.0]] * 3
    with pytest.raises(ValueError, match=r"no columns, but groups \(buffer\); set `dataset.source: hdf5_groups`"):
        read_hdf5(tmp_path / "log.h5", {"observations"})
