"""Episodes in blocks are stored, refused and compared as one by one."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.data.dataset import PreparedDataset, Starts
from pipeline.data.episode import Episode, LoggedData
from pipeline.ingest import blocks
from pipeline.ingest.checks import repeats, run_checks
from pipeline.ingest.checks.sample import Sample
from pipeline.ingest.copies import copies_of, digest_in, marks_of
from pipeline.ingest.statistics import Rows
from pipeline.ingest.writer import write_dataset

LENGTHS = (3, 1, 40_000, 2, 5, 700, 4)


def episode(index: int, steps: int, wide: bool = False) -> Episode:
    """Unlike every other index; as float64 if ``wide``."""
    rng = np.random.default_rng(index)
    kind = np.float64 if wide else np.float32
    obs = {key: rng.normal(size=(steps + 1, size)).astype(kind) for key, size in (("b", 2), ("a", 9))}
    cost = rng.uniform(size=(steps, 1)).astype(kind)
    action, reward = rng.uniform(-1, 1, (steps, 2)).astype(kind), rng.normal(size=steps).astype(kind)
    return Episode(obs, action, reward, terminated=index % 3 == 0, cost=cost)


def mixed() -> list[Episode]:
    """Short and long episodes, among them copies and episodes of another type and order of keys."""
    episodes = [episode(i, steps, wide=i in (3, 4)) for i, steps in enumerate(LENGTHS)]
    obs, ones = {"a": np.zeros((3, 9)), "b": np.ones((3, 2))}, np.ones((2, 2))
    other = Episode(obs, ones, ones[0], True, cost=ones[:, :1])
    return [*episodes, episodes[5], other, episodes[0], *(episode(i, 20) for i in range(100, 400))]


def stored(folder: Path, episodes: Iterable[Episode]) -> dict[str, bytes]:
    log = LoggedData("log", "callable", episodes, cost_names=["energy"])
    write_dataset(folder, log, "blocks", 0.3, seed=0)
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def test_blocks_store_the_same_bytes_as_single_episodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    together = stored(tmp_path / "together", mixed())
    monkeypatch.setattr(blocks, "BYTES", 1)
    alone = stored(tmp_path / "alone", mixed())
    assert together.keys() == alone.keys() >= {"cost.npy", "obs.a.npy", "spec.json"}
    assert [name for name in alone if alone[name] != together[name]] == []
    first = mixed()[0]
    np.testing.assert_array_equal(np.load(tmp_path / "together" / "obs.a.npy")[:4], first.obs["a"])
    np.testing.assert_array_equal(np.load(tmp_path / "together" / "reward.npy")[:4], [*first.reward, 0])


def test_a_source_may_reuse_its_arrays(tmp_path: Path) -> None:
    def reused() -> Iterator[Episode]:
        obs, action, reward = np.zeros((4, 1), np.float32), np.zeros((3, 1), np.float32), np.zeros(3, np.float32)
        for index in range(5):
            obs[:], action[:], reward[:] = index, index / 10, index
            yield Episode({"state": obs}, action, reward, terminated=False)

    stored(tmp_path / "d", reused())
    assert np.load(tmp_path / "d" / "obs.state.npy")[::4, 0].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("at", [0, 2, 250])
def test_the_first_bad_value_is_named_with_its_episode(tmp_path: Path, at: int) -> None:
    episodes = [episode(i, 20) for i in range(300)]
    episodes[at].reward[7] = np.nan
    episodes[at + 1].action[0, 0] = np.inf
    with pytest.raises(ValueError, match=rf"^log: episode {at}, reward\[7\]: nan; repair or remove the episode$"):
        stored(tmp_path / "d", episodes)


def test_an_earlier_bad_value_comes_before_an_error_of_the_source(tmp_path: Path) -> None:
    def source(bad: bool) -> Iterator[Episode]:
        first, second = episode(0, 4), episode(1, 4)
        second.action[3, 1] = np.nan if bad else 0
        yield from (first, second)
        raise ValueError("row 9: the time goes back; sort the rows")

    for bad, message in ((True, r"episode 1, action\[3, 1\]: nan"), (False, "row 9: the time")):
        with pytest.raises(ValueError, match=message):
            stored(tmp_path / "d", source(bad))


def test_a_wrong_length_comes_after_an_earlier_bad_value(tmp_path: Path) -> None:
    short = Episode({"state": np.zeros((3, 1))}, np.zeros((3, 1)), np.zeros(3), False)
    good = [Episode({"state": np.zeros((4, 1))}, np.full((3, 1), float(i)), np.zeros(3), False) for i in range(2)]
    with pytest.raises(ValueError, match="episode 2, obs state: 3 rows, expected 4"):
        stored(tmp_path / "d", [*good, short])
    good[1].action[1] = np.inf
    with pytest.raises(ValueError, match=r"episode 1, action\[1, 0\]: inf"):
        stored(tmp_path / "d", [*good, short])


def test_copies_are_equal_in_every_row() -> None:
    """Equal length and first, middle and last rows are not enough."""
    lengths = np.array([5, 5, 5, 4, 5])
    offsets = np.concatenate([[0], np.cumsum(lengths + 1)])
    values = np.concatenate([np.arange(n + 1.0) for n in lengths]).astype(np.float32)[:, None]
    values[offsets[2] + 1] = 9
    arrays = [values, (values[:, 0] > 2)]
    assert copies_of(marks_of(arrays, offsets), digest_in(arrays, offsets)).tolist() == [0, 0, 1, 2, 0]


def test_starts_are_all_windows_in_order() -> None:
    lengths = np.array([4, 1, 0, 7])
    first = np.cumsum(lengths + 1) - (lengths + 1)
    for length in range(1, 8):
        expected = [f + i for f, n in zip(first, lengths, strict=True) for i in range(n - length + 1)]
        starts = Starts(first, lengths, length)
        assert starts.all().tolist() == expected == starts[np.arange(len(starts))].tolist()


def test_rows_of_chosen_episodes_in_parts() -> None:
    lengths, chosen = np.array([3, 1, 6, 2]), np.array([True, False, True, True])
    offsets = np.concatenate([[0], np.cumsum(lengths + 1)])
    for final in (True, False):
        whole = np.repeat(chosen, lengths + 1)
        whole[offsets[1:] - 1] &= final
        rows = Rows(offsets, chosen, final)
        assert rows.count == whole.sum()
        for start in range(len(whole)):
            for stop in range(start + 1, len(whole) + 1):
                assert rows.between(start, stop).tolist() == whole[start:stop].tolist()


def near_duplicates(folder: Path) -> PreparedDataset:
    """Sixty episodes; 40 to 49 repeat 0 to 9 with noise of a ten-thousandth."""
    rng, episodes = np.random.default_rng(0), [episode(i, 25 + i % 2) for i in range(60)]
    for i in range(10):
        obs = {k: (v + 1e-4 * rng.normal(size=v.shape)).astype(np.float32) for k, v in episodes[i].obs.items()}
        episodes[40 + i] = Episode(obs, episodes[i].action, episodes[i].reward, False, cost=episodes[i].cost)
    return write_dataset(folder, LoggedData("log", "callable", episodes, cost_names=["energy"]), "near", 0.3, seed=0)


def test_near_duplicates_in_few_dimensions_are_all_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = near_duplicates(tmp_path / "d")
    monkeypatch.setattr(repeats, "AT_ONCE", 7)
    check = next(result for result in run_checks(dataset) if result.name == "near_duplicate_episodes")
    assert (check.evidence["pairs"], check.evidence["first"]) == (10, "0 and 40")
    monkeypatch.setattr(repeats, "PAIRS", 3)
    assert len(repeats._close_pairs(Sample(dataset))) == 0  # the first 30 episodes alone
