"""Values of an implausible size are a finding; rare, sparse and large ones of the system are none."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import threadpoolctl

from pipeline.data.dataset import PreparedDataset
from pipeline.data.episode import Episode, LoggedData
from pipeline.ingest import checks
from pipeline.ingest.checks import CheckResult, run_checks
from pipeline.ingest.checks.magnitude import implausible_magnitude
from pipeline.ingest.checks.sample import Sample
from pipeline.ingest.writer import write_dataset

EPISODES, STEPS = 20, 50
Change = Callable[[np.ndarray, np.ndarray], None]


def dataset(folder: Path, change: Change = lambda obs, reward: None) -> PreparedDataset:
    """Noise of about 1, changed in place by ``change(obs "E T+1 2", reward "E T")``."""
    draws = np.random.default_rng(0)
    obs = draws.normal(size=(EPISODES, STEPS + 1, 2)).astype(np.float32)
    reward = draws.normal(size=(EPISODES, STEPS)).astype(np.float32)
    action = draws.uniform(-1, 1, (EPISODES, STEPS, 1)).astype(np.float32)
    change(obs, reward)
    episodes = [Episode({"state": o}, a, r, False) for o, a, r in zip(obs, action, reward, strict=True)]
    log = LoggedData("noise", "npz", episodes, action_low=[-1.0], action_high=[1.0])
    return write_dataset(folder / "d", log, "noise", 0.2, 0)


def finding(folder: Path, change: Change) -> CheckResult | None:
    return implausible_magnitude(Sample(dataset(folder, change)))


def one_obs(value: float) -> Change:
    def change(obs: np.ndarray, reward: np.ndarray) -> None:
        obs[7, 11, 1] = value

    return change


def one_reward(value: float) -> Change:
    def change(obs: np.ndarray, reward: np.ndarray) -> None:
        reward[7, 11] = value

    return change


@pytest.mark.parametrize("value", [1e30, -1e30, 3e38, 1e12, -1e8])
@pytest.mark.parametrize(("place", "name"), [(one_obs, "state[1]"), (one_reward, "reward")])
def test_one_value_is_named_with_its_place(
    place: Callable[[float], Change], name: str, value: float, tmp_path: Path
) -> None:
    result = finding(tmp_path, place(value))
    assert result is not None
    assert result.severity == ("serious" if abs(value) > 1e18 else "warning")
    assert result.evidence["columns"] == name
    assert result.evidence["first"] == "episode 7, row 11"
    assert result.evidence["largest"] == pytest.approx(value, rel=1e-3)


def test_a_value_that_the_sample_misses_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.ingest.checks.sample.ROWS", 100)
    result = finding(tmp_path, one_obs(1e30))
    assert result is not None
    assert result.evidence["usual_distance_from_the_median"] < 10


def test_a_column_of_huge_values_overflows_too(tmp_path: Path) -> None:
    def change(obs: np.ndarray, reward: np.ndarray) -> None:
        reward *= 1e30

    result = finding(tmp_path, change)
    assert result is not None
    assert result.severity == "serious"


def test_a_final_observation_counts(tmp_path: Path) -> None:
    def change(obs: np.ndarray, reward: np.ndarray) -> None:
        obs[3, -1, 0] = 1e30

    result = finding(tmp_path, change)
    assert result is not None
    assert result.evidence["first"] == f"episode 3, row {STEPS}"


def sparse(obs: np.ndarray, reward: np.ndarray) -> None:
    """A reward of zero but for rare successes, of very different amounts."""
    reward[:] = 0
    reward[::5, -1] = 2e6 * (1 + np.arange(len(reward[::5])))


def offset(obs: np.ndarray, reward: np.ndarray) -> None:
    """A time stamp in seconds."""
    obs[..., 0] = 1.7e9 + np.arange(STEPS + 1)


def large(obs: np.ndarray, reward: np.ndarray) -> None:
    """A pressure in pascal, whose peaks are a thousand times the usual change."""
    obs[..., 0] = 1e7 + 1e3 * obs[..., 0]
    obs[4, 20, 0] = 1.1e7


def rest(obs: np.ndarray, reward: np.ndarray) -> None:
    """A force that is numerical noise at rest, and moves the system now and then."""
    obs[..., 0] *= 1e-12
    obs[::4, 20, 0] = 1e5


@pytest.mark.parametrize("change", [sparse, offset, large, rest, one_obs(1e5), one_reward(1e5)])
def test_large_values_of_the_system_are_none(change: Change, tmp_path: Path) -> None:
    assert finding(tmp_path, change) is None


def test_no_other_check_fails_on_huge_values(tmp_path: Path) -> None:
    def change(obs: np.ndarray, reward: np.ndarray) -> None:
        obs[7, 11, 1], reward[3, 3] = 3e38, -3e38

    (first, *_) = run_checks(dataset(tmp_path, change))
    assert first.name == "implausible_magnitude"
    assert first.evidence["count"] == 2


def test_checks_use_one_thread_and_give_the_others_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def threads() -> list[int]:
        return [library["num_threads"] for library in threadpoolctl.threadpool_info() if library["user_api"] == "blas"]

    seen: list[int] = []

    def look(sample: Sample) -> None:
        seen.extend(threads())

    monkeypatch.setattr(checks, "CHECKS", {"look": look})
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        before = threads()
        run_checks(dataset(tmp_path))
        assert threads() == before
    assert seen
    assert set(seen) == {1}
