"""Files with one mistake each, in the current folder, and the blocks of params.yaml that read them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_examples import counting_columns, npz_block

Block = dict[str, Any]
HEAD = "run,t,x,u,reward"
ROWS = [
    [str(i // 20), str(i % 20), f"{np.sin(i):.3f}", f"{np.cos(i):.3f}", f"{-abs(np.sin(i)):.3f}"] for i in range(60)
]
RUN, TIME, X, U, REWARD = range(5)
BAD = 31  # a row of the second of three episodes, on line 33 of the file


def table(content: str | bytes, name: str = "log.csv", **options: Any) -> Block:
    """A file in the current folder and the block that reads it."""
    file = Path(name)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    columns = {"obs_columns": ["x"], "action_columns": ["u"], "terminal_column": None, "episode_column": "run"}
    return {"source": "table", "path": name, "held_out_path": name, **columns, **options}


def rows(change: Callable[[int, list[str]], list[str]] = lambda i, row: row, head: str = HEAD) -> str:
    return "\n".join([head, *(",".join(change(i, list(row))) for i, row in enumerate(ROWS))]) + "\n"


def cell(column: int, text: str, row: int | None = BAD) -> str:
    """The table with ``text`` in one column, in one row or in all."""
    return rows(lambda i, cells: [*cells[:column], text, *cells[column + 1 :]] if row in (i, None) else cells)


def times(time: Callable[[int], object]) -> str:
    return rows(lambda i, cells: [cells[RUN], str(time(i % 20)), *cells[X:]])


def npz(options: Block | None = None, **columns: np.ndarray | None) -> Block:
    changed = {**counting_columns(), **columns}
    present = {name: array for name, array in changed.items() if array is not None}
    return npz_block(Path("log.npz"), present, **(options or {}))


def hdf5(source: str = "d4rl_hdf5", **columns: np.ndarray | None) -> Block:
    log = counting_columns()
    names = {"observations": "obs", "actions": "action", "rewards": "reward", "terminals": "done"}
    arrays: dict[str, np.ndarray | None] = {name: log[key] for name, key in names.items()}
    with h5py.File("log.hdf5", "w") as file:
        for name, array in {**arrays, "timeouts": log["truncated"], **columns}.items():
            if array is not None:
                file[name] = array
    return {"source": source, "path": "log.hdf5", "held_out_path": "log.hdf5"}


def garbage(name: str, source: str, content: bytes = b"neither of these " * 20) -> Block:
    Path(name).write_bytes(content)
    return {"source": source, "path": name, "held_out_path": name}


def cut(block: Block, size: int) -> Block:
    file = Path(block["path"])
    file.write_bytes(file.read_bytes()[:size])
    return block


def minari(change: Callable[[Path], object] = lambda data: None, dataset_id: str = "lab/x-v0") -> Block:
    import gymnasium
    from minari import create_dataset_from_buffers
    from minari.data_collector import EpisodeBuffer

    box = gymnasium.spaces.Box(-1, 1, (2,))
    ends = {"terminations": [False] * 5, "truncations": [False] * 4 + [True]}
    arrays = {"observations": np.zeros((6, 2), np.float32), "actions": np.zeros((5, 2), np.float32)}
    buffers = [EpisodeBuffer(**arrays, rewards=[0.0] * 5, **ends) for _ in range(3)]
    Path("root").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", str(Path("root").resolve()))
        create_dataset_from_buffers("lab/x-v0", buffers, observation_space=box, action_space=box)
    change(Path("root/lab/x-v0/data"))
    return {"source": "minari", "dataset_id": dataset_id, "path": "root", "held_out_path": "root"}


def function(body: str, name: str = "mine:episodes") -> Block:
    """A module whose function yields what ``body`` makes of an observation o, an action a and a reward r."""
    start = "import numpy as np\ndef episodes():\n    for i in range(4):\n"
    Path("mine.py").write_text(
        f"{start}        o, a, r = np.ones((6, 2)), np.ones((5, 1)), np.ones(5)\n        {body}\n"
    )
    return {"source": "callable", "path": "mine.py", "held_out_path": "mine.py", "function": name}


def transform(body: str, name: str = "mine:f") -> Block:
    Path("data/transforms").mkdir(parents=True)
    Path("data/transforms/mine.py").write_text(f"def f(episode):\n    {body}\n")
    return npz({"transform": name})


def folder(**files: str) -> Block:
    for name, content in files.items():
        block = table(content, f"logs/{name}.csv")
    return {**block, "path": "logs", "held_out_path": "logs"}


def parquet(**columns: Any) -> Block:
    block = table("", "log.parquet")
    plain = {name: pa.array(np.array([float(row[i]) for row in ROWS])) for i, name in enumerate(HEAD.split(","))}
    pq.write_table(pa.table({**plain, **columns}), "log.parquet")
    return block
