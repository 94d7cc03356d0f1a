"""Mistakes in logs and options, over all sources. Each is refused with one line that names the place, the cause and an
option or act that mends it, and the dataset ingested before stays as it is."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from broken_logs import (
    BAD,
    HEAD,
    REWARD,
    TIME,
    Block,
    U,
    X,
    cell,
    cut,
    folder,
    function,
    garbage,
    hdf5,
    minari,
    npz,
    parquet,
    rows,
    table,
    times,
    transform,
)
from data_examples import counting_columns, counting_log

from pipeline.ingest.ingest import ingest
from pipeline.ingest.sources import SOURCES
from pipeline.ingest.writer import write_dataset
from pipeline.params import choose

CASES: dict[str, tuple[Callable[[], Block], list[str]]] = {
    # tables: files
    "no file": (
        lambda: {**table(rows()), "path": "logs.csv", "held_out_path": "logs.csv"},
        ["logs.csv: not found", "correct `dataset.path`"],
    ),
    "no held-out file": (
        lambda: {**table(rows()), "held_out_path": "val.csv"},
        ["val.csv: not found", "correct `dataset.held_out_path`"],
    ),
    "an empty file": (lambda: table(""), ["log.csv: empty", "name a file with rows"]),
    "a header alone": (lambda: table(HEAD), ["log.csv: holds no rows", "name another file"]),
    "a binary file": (
        lambda: table(bytes(range(256)) * 20),
        ["log.csv: ", "not a text table", "name a file with rows"],
    ),
    "a spreadsheet": (lambda: table(b"PK\3\4", "log.xlsx"), ["log.xlsx: no table", "name a file with .csv"]),
    "a folder without tables": (
        lambda: {**table("", "logs/notes.md"), "path": "logs", "held_out_path": "logs"},
        ["logs: no table", "name a file"],
    ),
    "files with other columns": (
        lambda: folder(a=rows(), b=rows(head="run,t,y,u,reward")),
        ["logs/b.csv: no column `x`", "which other files in logs have", "name the files to read in `dataset.files`"],
    ),
    "a cut Parquet file": (lambda: cut(parquet(), 500), ["log.parquet: ", "truncated", "write it again"]),
    "text in Parquet": (
        lambda: parquet(u=pa.array(["a", "b"] * 30)),
        ["log.parquet: action column `u` is text", "number"],
    ),
    # tables: how text is written
    "another delimiter": (
        lambda: table(rows(), delimiter=";"),
        ["log.csv: the only column is `run,t,x,u,reward`", "correct `dataset.delimiter`"],
    ),
    "another decimal mark": (
        lambda: table(rows().replace(",", ";").replace(".", ","), decimal="."),
        ["line 2: column `x`: `0,000` has a comma", 'set `dataset.decimal: ","`'],
    ),
    "another encoding": (
        lambda: table(rows().encode() + b"9,1,0,\xfc,1\n", encoding="utf-8"),
        ["log.csv: ", "UTF8", "correct `dataset.delimiter` and `dataset.encoding`"],
    ),
    "no such encoding": (
        lambda: table(rows(), encoding="utf-9"),
        ["unknown encoding: utf-9", "correct `dataset.encoding`"],
    ),
    "a cell too many": (
        lambda: table(rows(lambda i, r: [*r, "9"] if i == BAD else r)),
        ["line 33: 6 cells", "repair it"],
    ),
    "cells too few": (lambda: table(rows(lambda i, r: r[:3] if i == BAD else r)), ["line 33: 3 cells", "repair it"]),
    "too few names": (
        lambda: table(rows(), column_names=["a", "b"]),
        ["`dataset.column_names` has 2 names for 5 columns", "correct it"],
    ),
    # tables: cells
    "text among numbers": (
        lambda: table(cell(X, "Bad Input")),
        ["line 33: column `x` holds numbers, but `Bad Input`", "set `dataset.na_values"],
    ),
    "a text action": (
        lambda: table(cell(U, "open")),
        ["line 33: column `u` holds numbers, but `open`", "`dataset.na_values"],
    ),
    "an empty observation": (lambda: table(cell(X, "")), ["line 33: column `x`: empty", "set `dataset.missing`"]),
    "an empty action": (lambda: table(cell(U, "")), ["line 33: no action", "set `dataset.missing`"]),
    "an empty reward": (lambda: table(cell(REWARD, "")), ["line 33: column `reward`: empty", "set `dataset.missing`"]),
    "a mark of missing values": (
        lambda: table(cell(X, "-9999"), na_values=[-9999]),
        ["line 33: column `x`: empty", "set `dataset.missing`"],
    ),
    "an infinite value": (lambda: table(cell(X, "inf")), ["line 33: column `x`: inf", "repair or remove the row"]),
    "half a terminal": (
        lambda: table(cell(TIME, "0.5"), terminal_column="t"),
        ["column `t` must hold only 0 and 1", "repair"],
    ),
    # tables: time
    "a time of another format": (
        lambda: table(times(lambda t: f"2024-13-{t:02}"), time_column="t", time_format="%Y-%m-%d"),
        ["line 2: column `t`: `2024-13-00`", "correct `dataset.time_format`"],
    ),
    "a time that is none": (
        lambda: table(times(lambda t: "noon"), time_column="t"),
        ["line 2: column `t`: `noon` is no time", "set `dataset.time_format`"],
    ),
    "uneven times": (
        lambda: table(times(lambda t: t * t), time_column="t"),
        ["line 3: `t` is 1 after", "set `dataset.resample"],
    ),
    "equal times": (lambda: table(times(lambda t: 3), time_column="t"), ["line 3: same time as line 2", "remove one"]),
    "a gap": (
        lambda: table(times(lambda t: t + 50 * (t > 10)), time_column="t", gaps="refuse"),
        ["line 13: `t` has a gap of 51", "set `dataset.gaps: split`"],
    ),
    "a zone of another planet": (
        lambda: table(rows(), time_column="t", time_zone="Mars/Base"),
        ["`dataset.time_zone`", "is no time zone", "one is Europe/Berlin"],
    ),
    "a grid without times": (lambda: table(rows(), resample=1.0), ["resample 1.0 needs `time_column`"]),
    # tables: columns and roles
    "no observations": (
        lambda: table(rows(), obs_columns=[]),
        ["obs_columns is empty", "`python -m pipeline inspect FILE`"],
    ),
    "a mistyped column": (
        lambda: table(rows(), obs_columns=["xx"]),
        ["no column `xx` (did you mean `x`?)", "set `dataset.obs_columns`"],
    ),
    "a column with two roles": (
        lambda: table(rows(), action_columns=["x"]),
        ["['x'] are named twice", "give each one meaning"],
    ),
    "no reward": (lambda: table(rows(), reward_column=None), ["reward_column is null", "set `transform: mine:NAME`"]),
    "an exogenous column that is not there": (
        lambda: table(rows(), exogenous_columns=["wind"]),
        ["log.csv: no column `wind`", "set `dataset.exogenous_columns`"],
    ),
    "a cost that is not there": (
        lambda: table(rows(), cost_columns=["wear"]),
        ["no column `wear`", "`dataset.cost_columns`"],
    ),
    "next states that are not there": (
        lambda: table(rows(), next_obs_columns=["x2"]),
        ["no column `x2`", "set `dataset.next_obs_columns`"],
    ),
    "an update of another column": (
        lambda: table(rows(), update_every={"y": 3}),
        ["update_every: ['y'] are not among obs_columns"],
    ),
    "a reward that would be lost": (
        lambda: table(rows(lambda i, r: [*r[:REWARD], "10" if i % 20 == 19 else "0"])),
        ["3 steps at the end of an episode", "name the true ends in `dataset.terminal_column`"],
    ),
    # splits
    "one episode": (
        lambda: table(rows(), episode_column=None),
        ["a split needs two different episodes", "set `dataset.split: last`"],
    ),
    "a short log by time": (
        lambda: table(rows(), episode_column=None, split="last"),
        ["59 steps in 1 episodes", "lower `dataset.split_gap`"],
    ),
    "no groups": (
        lambda: table(rows(), split="group"),
        ["3 episodes have no group", "set a table's `dataset.group_column`"],
    ),
    "one group": (
        lambda: table(cell(TIME, "7", None), split="group", group_column="t"),
        ["all episodes are of group 7", "set `dataset.split: last`"],
    ),
    "a group that is not there": (
        lambda: table(rows(), split="group", group_column="patient"),
        ["no column `patient`", "set `dataset.group_column`"],
    ),
    "two splits": (
        lambda: {**npz({"split": "last"}), "held_out_path": "val.npz"},
        ["another file is held out", "set `held_out_path` to the same as `path`"],
    ),
    # arrays
    "no archive": (lambda: garbage("log.npz", "npz"), ["log.npz: ", "no complete zip archive", "fetch the file again"]),
    "pickled objects": (
        lambda: npz(obs=np.array([{}] * 19, object)),
        ["log.npz: `obs` hold pickled", "np.concatenate"],
    ),
    "an array under another name": (
        lambda: npz(reward=None, rewards=np.zeros(19)),
        ["no column `reward` (did you mean `rewards`?)", "set `dataset.reward_key`"],
    ),
    "one mark of ends": (
        lambda: npz(done=None, truncated=None, dones=np.eye(19)[18]),
        ["no column `done`, but `dones`", "set `dataset.terminal_key: dones`"],
    ),
    "arrays of two lengths": (
        lambda: npz(action=np.zeros((18, 1))),
        ["columns differ in length (obs 19, action 18", "again"],
    ),
    "a mask that is not there": (lambda: npz({"mask_key": "mask"}), ["no column `mask`", "set `dataset.mask_key`"]),
    "whole-number actions": (
        lambda: npz(action=np.zeros((19, 1), int)),
        ["`action` holds int64", "set `dataset.action_kind`"],
    ),
    "complex numbers": (
        lambda: npz(obs=np.zeros((19, 2), complex)),
        ["`obs` has dtype complex128", "convert it to float32"],
    ),
    "two rewards a step": (
        lambda: npz(reward=np.zeros((19, 2))),
        ["episode 0, reward: shape", "log one number per step"],
    ),
    "not a number": (
        lambda: npz(reward=np.full(19, np.nan)),
        ["episode 0, reward[0]: nan", "repair or remove the episode"],
    ),
    "actions out of bounds": (
        lambda: npz(action=np.full((19, 1), 3.0)),
        ["action[0, 0] = 3", "correct `dataset.action_low`"],
    ),
    "no rows": (
        lambda: npz(**{name: array[:0] for name, array in counting_columns().items()}),
        ["holds no steps", "name"],
    ),
    # HDF5
    "no HDF5": (lambda: garbage("log.hdf5", "d4rl_hdf5"), ["log.hdf5: ", "not HDF5", "fetch the file again"]),
    "a cut HDF5 file": (lambda: cut(hdf5(), 500), ["log.hdf5: truncated", "fetch the file again"]),
    "a dataset that is not there": (
        lambda: hdf5(rewards=None),
        ["log.hdf5: no column `rewards`", "set `dataset.reward_key`"],
    ),
    "no ends": (
        lambda: hdf5(terminals=None, timeouts=None),
        ["no column `terminals`", "or to null if no episode terminates"],
    ),
    "no ends of d3rlpy": (
        lambda: hdf5("d3rlpy_hdf5", timeouts=None),
        ["no `episode_terminals`", "set `dataset.terminal_key: terminals`"],
    ),
    "no episodes in groups": (
        lambda: {**hdf5(), "source": "hdf5_groups", "action_key": "acts"},
        ["log.hdf5: ", "`dataset.action_key"],
    ),
    "no HDF5 of groups": (
        lambda: garbage("log.hdf5", "hdf5_groups"),
        ["log.hdf5: ", "not HDF5", "fetch the file again"],
    ),
    # LeRobot and Minari
    "no LeRobot dataset": (lambda: {**folder(a=rows()), "source": "lerobot"}, ["logs", "info.json"]),
    "no such Minari dataset": (
        lambda: minari(dataset_id="lab/y-v0"),
        ["root: no Minari dataset `lab/y-v0` (did you mean"],
    ),
    "an id without version": (lambda: minari(dataset_id="door"), ["`door`", "an id ends with its version"]),
    "broken metadata": (
        lambda: minari(lambda data: (data / "metadata.json").write_text("{")),
        ["root/lab/x-v0/data: unreadable", "restore it from a copy"],
    ),
    "lost metadata": (
        lambda: minari(lambda data: (data / "metadata.json").unlink()),
        ["root/lab/x-v0: incomplete", "copy them from its source"],
    ),
    "cut Minari data": (
        lambda: minari(lambda data: cut({"path": data / "main_data.hdf5"}, 900)),
        ["root/lab/x-v0/data: damaged at episode 0", "restore it from a copy"],
    ),
    # functions and transforms
    "no such module": (lambda: function("", "nowhere:episodes"), ["no module `nowhere`", "correct `dataset.function`"]),
    "no such function": (
        lambda: function("", "mine:episode"),
        ["no function `episode` (did you mean `episodes`?)", "correct"],
    ),
    "an error of the function": (
        lambda: function("yield 1 / 0"),
        ["mine:episodes: ZeroDivisionError", "mine.py:5", "correct"],
    ),
    "no episode": (lambda: function("yield 3"), ["episode 0: got int", "yield a dict with obs, action"]),
    "an episode without rewards": (
        lambda: function("yield dict(obs=o, action=a, terminated=False)"),
        ["episode 0: no `reward`", "yield obs, action"],
    ),
    "too few observations": (
        lambda: function("yield dict(obs=o[2:], action=a, reward=r, terminated=False)"),
        ["episode 0, obs state: 4 rows, expected 6", "correct the log"],
    ),
    "no transform": (
        lambda: npz({"transform": "none:f"}),
        ["data/transforms/none.py: not found", "correct `dataset.transform"],
    ),
    "an error of the transform": (
        lambda: transform("return {'reward': episode['rewards']}"),
        ["through `mine:f`: episode 0: KeyError", "correct the function"],
    ),
    "too few rewards": (
        lambda: transform("return {'reward': episode['reward'][1:]}"),
        ["through `mine:f`: episode 0, reward: 3 rows, expected 4"],
    ),
    # options
    "no such source": (lambda: {**npz(), "source": "np"}, ["`dataset.source: np` is unknown (did you mean `npz`?)"]),
    "no such option": (lambda: npz({"reward_kye": "r"}), ["`dataset.reward_kye` (did you mean `reward_key`?)"]),
    "text for a number": (
        lambda: npz({"held_out_fraction": "ten"}),
        ["`dataset.held_out_fraction`: `ten` must be a number"],
    ),
    "no such environment": (
        lambda: npz({"env_id": "Nope-v0"}),
        ["`dataset.env_id: Nope-v0` cannot be made", "correct it"],
    ),
}


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared dataset from an earlier ingest."""
    place = tmp_path_factory.mktemp("before") / "dataset"
    write_dataset(place, counting_log(), "before", 0.3, 0)
    return place


def content(place: Path) -> dict[str, bytes]:
    return {str(file.relative_to(place)): file.read_bytes() for file in sorted(place.rglob("*")) if file.is_file()}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("case", CASES)
def test_a_mistake_is_one_line_and_overwrites_nothing(
    case: str, before: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, parts = CASES[case]
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    shutil.copytree(before, "out/dataset")
    block = make()
    with pytest.raises(ValueError) as caught:
        source, config = choose(SOURCES, block, "dataset", key="source")
        ingest(source(config).read(), config, Path("out/dataset"))
    message = str(caught.value)
    assert "\n" not in message
    assert "delete" not in message.lower()
    for part in parts:
        assert part in message, message
    assert content(Path("out")) == {f"dataset/{name}": data for name, data in content(before).items()}
