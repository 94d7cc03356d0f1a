"""Reward, termination and observation defined anew, without touching the logs."""

from pathlib import Path

import numpy as np
import pytest
from data_examples import LENGTHS, counting_columns, counting_log, npz_block

from pipeline.data.dataset import PreparedDataset
from pipeline.data.episode import LoggedData
from pipeline.ingest.sources import SOURCES
from pipeline.ingest.transform import apply_transform, load_transform
from pipeline.ingest.writer import write_dataset
from pipeline.params import choose

CODE = """
import numpy as np

def doubled(episode):
    episode["obs"]["state"] *= 0  # of its own copy
    return {"reward": 2 * episode["reward"]}

def ends_early(episode):
    return {"terminal": episode["obs"]["state"][1:, 0] % 100 == 2}

def clock_alone(episode):
    return {"obs": {"state": episode["obs"]["state"][:, :1]}}

def forgets(episode):
    episode["reward"] = episode["reward"] + 1

def misspells(episode):
    return {"rewards": episode["reward"]}

def short(episode):
    return {"reward": episode["reward"][:-1]}

def fails(episode):
    return {"reward": episode["rewards"]}
"""


@pytest.fixture(autouse=True)
def functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data/transforms"
    folder.mkdir(parents=True)
    (folder / "mine.py").write_text(CODE)
    return folder / "mine.py"


def written(name: str, log: LoggedData | None = None) -> PreparedDataset:
    return write_dataset(Path("dataset"), apply_transform(log or counting_log(), name), "counting", 0.3, seed=0)


def test_without_a_name_nothing_happens() -> None:
    log = counting_log()
    assert apply_transform(log, None) is log


def test_a_reward_is_redefined_and_what_is_left_out_stays() -> None:
    plain = write_dataset(Path("plain"), counting_log(), "counting", 0.3, seed=0)
    before, after = plain.transitions("all"), written("mine:doubled").transitions("all")
    np.testing.assert_array_equal(after["reward"], 2 * before["reward"])
    for name in ("obs", "action", "next_obs", "terminal"):
        np.testing.assert_array_equal(after[name], before[name])


def test_an_episode_ends_at_its_first_terminal() -> None:
    dataset = written("mine:ends_early")
    assert dataset.episode_lengths("all").tolist() == [min(n, 2) for n in LENGTHS]
    assert dataset.spec.terminals == sum(n >= 2 for n in LENGTHS)
    np.testing.assert_array_equal(dataset.obs["state"][dataset.offsets[1:] - 1, 0] % 100, [min(n, 2) for n in LENGTHS])


def test_an_environment_that_gives_other_observations_is_dropped() -> None:
    log = counting_log(env_id="Counting-v0", obs_names={"state": ["clock", "episode"]})
    kept, dropped = written("mine:doubled", log).spec, written("mine:clock_alone", log).spec
    assert (kept.env_id, kept.obs_names) == ("Counting-v0", {"state": ["clock", "episode"]})
    assert (dropped.env_id, dropped.obs_names) == (None, {"state": ["state[0]"]})
    assert any("with its own reward and termination" in w for w in kept.warnings)
    assert any("evaluated without an environment" in w for w in dropped.warnings)


@pytest.mark.parametrize(("source", "expected"), [("D4RL table", None), ("params.yaml", 0.0)])
def test_references_are_for_the_reward_of_the_log(source: str, expected: float | None) -> None:
    log = counting_log(ref_min_score=0.0, ref_max_score=1.0, ref_source=source)
    assert written("mine:doubled", log).spec.ref_min_score == expected


def test_the_file_can_be_told_from_an_edited_one(functions: Path) -> None:
    first = written("mine:doubled").spec.warnings
    functions.write_text(CODE + "\n")
    second = written("mine:doubled").spec.warnings
    assert first != second
    assert first[0].startswith("episodes are changed by `mine:doubled` (digest of its file: ")
    assert load_transform("mine:doubled")[1] in second[0]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mien:doubled", "data/transforms/mien.py: not found (did you mean `mine`?); correct `dataset.transform"),
        ("mine:double", "no function `double` (did you mean `doubled`?)"),
        (
            "mine:forgets",
            "counting through `mine:forgets`: episode 0: the function returned a NoneType; return the dict",
        ),
        ("mine:misspells", "the function returned an unknown key `rewards` (did you mean `reward`?)"),
        ("mine:short", "counting through `mine:short`: episode 0, reward: 3 rows, expected 4"),
        ("mine:fails", "episode 0: KeyError: 'rewards'; correct the function"),
    ],
)
def test_mistakes_name_the_place_and_the_fix(name: str, expected: str) -> None:
    with pytest.raises(ValueError) as caught:
        written(name)
    assert expected in str(caught.value)


def test_a_file_that_does_not_run_is_named(functions: Path) -> None:
    functions.write_text("import nowhere_to_be_found\n")
    with pytest.raises(ValueError, match=r"mine.py: ModuleNotFoundError: .*; correct the file"):
        load_transform("mine:doubled")


@pytest.mark.parametrize("name", ["mine", "mine:", "a/b.py:f", "mine:f:g"])
def test_other_spellings_are_refused_before_any_work(name: str, tmp_path: Path) -> None:
    block = npz_block(tmp_path / "log.npz", counting_columns(), transform=name)
    with pytest.raises(ValueError, match="must read file:function"):
        choose(SOURCES, block, "dataset", key="source")
