"""Episodes from a function: what it may yield, and what becomes of its mistakes."""

import sys
from pathlib import Path
from typing import Any

import pytest
from data_examples import LENGTHS, counting_columns, npz_block

from pipeline.data.dataset import PreparedDataset
from pipeline.ingest.sources import SOURCES
from pipeline.ingest.writer import write_dataset
from pipeline.params import choose

MODULE = """
import sys
sys.path.append({tests!r})
from data_examples import counting_episode

def episodes(lengths, marked=False):
    for e, steps in enumerate(lengths):
        yield counting_episode(e, steps, terminated=e % 2 == 0)

def dicts(lengths, marked=False):
    for e, episode in enumerate(episodes(lengths)):
        raw = dict(obs=episode.obs["state"], action=episode.action, reward=episode.reward,
                   terminated=episode.terminated)
        yield {{**raw, "held_out": e % 2 == 1}} if marked else raw

def without_final(lengths):
    for raw in dicts(lengths):
        yield {{**raw, "obs": raw["obs"][:-1], "group": "a", "span": (0, 9), "cost": raw["action"] * 0 + 2}}

def scalars(lengths):
    for raw in dicts(lengths):
        yield {{**raw, "reward": 1.0}}

def text(lengths):
    for raw in dicts(lengths):
        yield {{**raw, "reward": ["a"] * len(raw["action"]), "obs": raw["obs"][:-1]}}

def late(lengths):
    for raw in dicts(lengths):
        yield {{**raw, "span": (3, 1)}}

def half_marked(lengths):
    for e, raw in enumerate(dicts(lengths)):
        yield {{**raw, "held_out": True}} if e else raw

def misspelt(lengths):
    for raw in dicts(lengths):
        yield {{**raw, "terminate": True}}

def incomplete(lengths):
    yield {{"obs": [[0.0]], "action": []}}

def flags(lengths):
    for raw in dicts(lengths):
        yield {{**raw, "terminated": [False, True]}}

def wrong(lengths):
    yield from dicts(lengths)
    raise KeyError("no\\nsuch")

def numbers(lengths):
    yield 3
"""


@pytest.fixture
def block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A project folder with a module of its own."""
    file = tmp_path / "my_logs.py"
    file.write_text(MODULE.format(tests=str(Path(__file__).parents[1])))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "my_logs", raising=False)
    bounds = {"action_low": [-1.0], "action_high": [1.0]}
    options = {"path": "my_logs.py", "held_out_path": "my_logs.py", "kwargs": {"lengths": list(LENGTHS)}}
    return {"source": "callable", "function": "my_logs:episodes", **options, **bounds}


def ingest(folder: Path, block: dict[str, Any], **options: Any) -> PreparedDataset:
    source, config = choose(SOURCES, {**block, **options}, "dataset", key="source")
    return write_dataset(folder, source(config).read(), "log", config.held_out_fraction, config.split_seed)


@pytest.mark.parametrize("function", ["episodes", "dicts"])
def test_function_equals_the_same_log_as_npz(function: str, block: dict[str, Any], tmp_path: Path) -> None:
    made = ingest(tmp_path / "d", block, function=f"my_logs:{function}")
    stored = ingest(tmp_path / "e", npz_block(tmp_path / "log.npz", counting_columns()))
    assert made.spec.digest == stored.spec.digest
    assert made.spec.terminals == 3


def test_episodes_may_say_that_they_are_held_out(block: dict[str, Any], tmp_path: Path) -> None:
    kwargs = {"lengths": list(LENGTHS), "marked": True}
    dataset = ingest(tmp_path / "d", block, function="my_logs:dicts", kwargs=kwargs)
    assert dataset.held_out.tolist() == [False, True, False, True, False]


def test_without_final_observations_true_ends_are_kept(block: dict[str, Any], tmp_path: Path) -> None:
    options = {"function": "my_logs:without_final", "max_dropped_return": 1.0, "cost_names": ["energy"]}
    dataset = ingest(tmp_path / "d", block, **options)
    columns = {name: column for name, column in counting_columns().items() if name != "next_obs"}
    flat = npz_block(tmp_path / "log.npz", columns, max_dropped_return=1.0)
    stored = ingest(tmp_path / "e", flat)
    assert dataset.obs["state"].tolist() == stored.obs["state"].tolist()
    assert (dataset.spec.terminals, dataset.spec.dropped, dataset.spec.cost_names) == (3, 2, ["energy"])
    assert any("3 steps are true ends without a next observation: kept" in w for w in dataset.spec.warnings)


def test_features_may_have_names(block: dict[str, Any], tmp_path: Path) -> None:
    names = {"state": ["clock", "episode"]}
    assert ingest(tmp_path / "d", block, obs_names=names).spec.obs_names == names


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"function": "my_logs"}, "`dataset.function`: `my_logs` must read `module:function`, such as"),
        ({"function": "my_log:episodes"}, "my_log:episodes: no module `my_log` in"),
        ({"function": "my_logs:episode"}, "has no function `episode` (did you mean `episodes`?)"),
        (
            {"function": "my_logs:half_marked"},
            "episode 1: only some episodes have `held_out`; set `held_out` in all episodes, or in none",
        ),
        ({"function": "my_logs:misspelt"}, "episode 0: unknown key `terminate` (did you mean `terminated`?)"),
        ({"function": "my_logs:incomplete"}, "episode 0: no `reward`"),
        ({"function": "my_logs:flags"}, "`terminated` is an array; yield one bool"),
        ({"function": "my_logs:wrong"}, "my_logs:wrong: KeyError: 'no\\nsuch' ("),
        ({"function": "my_logs:numbers"}, "episode 0: got int; yield a dict with obs, action, reward, terminated"),
        ({"kwargs": {"length": 3}}, "TypeError"),
        (
            {"obs_names": {"state": ["clock"]}},
            "1 names for `state`, but observations are {'state': [2]}; correct `dataset.obs_names`",
        ),
        ({"function": "my_logs:scalars"}, "episode 0: reward is a single float64; yield numbers, one row per step"),
        ({"function": "my_logs:text"}, "episode 0: reward is an array of <U1; yield numbers, one row per step"),
        ({"function": "my_logs:late"}, "episode 0: `span` is (3, 1); yield the times of the first and the last obs"),
        ({"cost_names": ["energy"]}, "episode 0: no cost for 1 cost_names; yield `cost` [steps, costs]"),
        ({"path": "nowhere.py"}, "nowhere.py: not found; correct `dataset.path`"),
    ],
)
def test_mistakes_are_one_line(options: dict[str, Any], expected: str, block: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError) as caught:
        ingest(tmp_path / "d", block, **options)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
