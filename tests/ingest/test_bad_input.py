"""Every bad log is refused with one line that names the place and the fix."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_examples import counting_columns, counting_episode, counting_log, npz_block

from pipeline.ingest.sources import SOURCES
from pipeline.ingest.sources.base import LogSpec, SourceConfig, combine
from pipeline.ingest.writer import write_dataset
from pipeline.params import choose


def refusal(block: dict[str, Any], folder: Path) -> str:
    with pytest.raises(ValueError) as caught:
        source, config = choose(SOURCES, block, "dataset", key="source")
        write_dataset(folder / "dataset", source(config).read(), "log", config.held_out_fraction, config.split_seed)
    assert not (folder / "dataset").exists()
    message = str(caught.value)
    assert "\n" not in message
    return message


def changed(**columns: Any) -> dict[str, np.ndarray]:
    return {name: array for name, array in {**counting_columns(), **columns}.items() if array is not None}


def poisoned(name: str, row: int, value: float) -> dict[str, np.ndarray]:
    columns = counting_columns()
    columns[name][row] = value
    return columns


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (poisoned("reward", 6, np.nan), "episode 2, reward[1]: nan; repair or remove the episode"),
        (poisoned("obs", 0, np.inf), "episode 0, obs state[0, 0]: inf; repair or remove the episode"),
        (poisoned("action", 5, 1.5), "episode 2, action[0, 0] = 1.5 lies outside the declared bounds [-1, 1]"),
        (poisoned("done", 0, 0.5), "`done` must hold only 0 and 1, one per step; name another column or repair it"),
        (
            changed(reward=None, rewards=np.zeros(19)),
            "no column `reward` (did you mean `rewards`?); set `dataset.reward_key`",
        ),
        (changed(done=None), "set `dataset.terminal_key` to its name, or to null if no episode terminates"),
        (changed(action=np.zeros((18, 1), np.float32)), "columns differ in length ("),
        (
            changed(action=np.zeros((19, 1), np.int64)),
            "`action` holds int64; set `dataset.action_kind` to `discrete` if they are choices, or `continuous`",
        ),
        (
            changed(next_obs=np.zeros((19, 3))),
            "`next_obs` has shape [19, 3], expected [19, 2] as `obs`; set `dataset.next_obs_key`",
        ),
        (changed(obs=np.array([["a", "b"]] * 19), next_obs=np.array([["a", "b"]] * 19)), "expected numbers"),
        (
            changed(obs=np.zeros((19, 8, 8)), next_obs=np.zeros((19, 8, 8))),
            "images are not supported in flat logs: store them as a Minari dataset",
        ),
        (changed(obs=np.zeros((19, 0)), next_obs=np.zeros((19, 0))), "episode 0, obs state: no features"),
        (
            changed(next_obs=None, truncated=None),
            "no `truncated` and no `next_obs`, so time limits are unknown; set `dataset.terminal_key: done` with "
            "`dataset.timeout_key: null` if it marks true ends alone, or `dataset.terminal_key: null` with "
            "`dataset.timeout_key: done` if it marks time limits too",
        ),
        (
            changed(obs=np.array([{}] * 19, object)),
            "`obs` hold pickled Python objects, which are never loaded here",
        ),
    ],
)
def test_bad_columns(columns: dict[str, np.ndarray], expected: str, tmp_path: Path) -> None:
    message = refusal(npz_block(tmp_path / "log.npz", columns), tmp_path)
    assert message.startswith(str(tmp_path / "log.npz"))
    assert expected in message


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"path": "nowhere.npz"}, "nowhere.npz: not found; correct `dataset.path`"),
        ({"held_out_path": "nowhere.npz"}, "nowhere.npz: not found; correct `dataset.held_out_path`"),
        ({"source": "np"}, "`dataset.source: np` is unknown (did you mean `npz`?)"),
        ({"reward_kye": "r"}, "unknown key `dataset.reward_kye` (did you mean `reward_key`?)"),
        ({"action_high": None}, "set both `dataset.action_low` and `dataset.action_high`, or neither"),
        ({"action_low": [-1.0, -1.0]}, "2 and 1 action bounds for 1 actions"),
        ({"action_low": [1.0]}, "action 0 has bounds [1, 1]"),
        ({"held_out_fraction": 1.0}, "`dataset.held_out_fraction`: 1.0 must be below 1"),
        ({"ref_min_score": 1.0}, "give both ref_min_score and ref_max_score"),
        ({"ref_min_score": 1.0, "ref_max_score": 1.0}, "ref_min_score 1.0 must be below ref_max_score 1.0"),
        ({"env_id": "Pendulun-v1"}, "`dataset.env_id: Pendulun-v1` cannot be made"),
        ({"env_id": "Pendulum-v1"}, "has observations state [2], Pendulum-v1 has state [3]; correct `dataset.env_id`"),
    ],
)
def test_bad_options(options: dict[str, Any], expected: str, tmp_path: Path) -> None:
    block = npz_block(tmp_path / "log.npz", counting_columns())
    assert expected in refusal({**block, **options}, tmp_path)


@pytest.mark.parametrize("source", ["npz", "d4rl_hdf5"])
@pytest.mark.parametrize("keep", [0, 100, 700])
def test_truncated_files(source: str, keep: int, tmp_path: Path) -> None:
    file = Path(npz_block(tmp_path / "log.npz", counting_columns())["path"])
    file.write_bytes(file.read_bytes()[:keep])
    message = refusal({"source": source, "path": str(file), "held_out_path": str(file)}, tmp_path)
    assert message.startswith(f"{file}: truncated, corrupt or not")


def test_a_single_array_is_not_an_archive(tmp_path: Path) -> None:
    file = tmp_path / "log.npy"
    np.save(file, np.zeros(3))
    message = refusal({"source": "npz", "path": str(file), "held_out_path": str(file)}, tmp_path)
    assert message.startswith(f"{file}: truncated, corrupt or not npz (a single array, expected an archive)")


def test_references_of_the_file_must_span_a_range() -> None:
    config = SourceConfig(path="log", held_out_path="log")
    with pytest.raises(ValueError, match=r"metadata has reference scores 1 and 1; set `dataset.ref_min_score`"):
        combine(config, "minari", LogSpec(references=(1.0, 1.0)), [], 0, [], 0)


@pytest.mark.parametrize("key", ["a/b", "../x", "a\\b", "a\nb", ""])
def test_observations_are_not_called_by_paths(key: str, tmp_path: Path) -> None:
    episodes = [replace(counting_episode(e, 3), obs={key: np.ones((4, 2), np.float32)}) for e in range(4)]
    with pytest.raises(ValueError, match=r"log: episode 0: observation '.*' would name a file"):
        write_dataset(tmp_path / "d", counting_log(episodes=episodes, place="log"), "log", 0.5, 0)
    assert list(tmp_path.iterdir()) == []


def test_one_episode_cannot_be_split(tmp_path: Path) -> None:
    message = refusal(npz_block(tmp_path / "log.npz", counting_columns((5,))), tmp_path)
    assert "a split needs two different episodes" in message
