"""Features that are no state, ends in the wrong place, rewards that stand for missing values: found where they are and
nowhere else."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_checks import pendulum, state
from test_drift import plant

from pipeline.data.episode import Episode, LoggedData
from pipeline.ingest.checks import CheckResult, run_checks
from pipeline.ingest.writer import write_dataset

NEW = {"next_state_features", "counters", "jumps", "running_on", "zero_rewards", "reward_spikes"}
__all__ = ["pendulum"]  # a fixture


def results(folder: Path, episodes: list[Episode], **roles: object) -> dict[str, CheckResult]:
    log = LoggedData("log", "test", episodes, **roles)  # type: ignore[arg-type]
    return {result.name: result for result in run_checks(write_dataset(folder / "d", log, "log", 0.1, 0))}


def warned(checks: dict[str, CheckResult]) -> set[str]:
    return NEW & {name for name, result in checks.items() if result.warns}


def beside(episodes: list[Episode], feature: Callable[[int, np.ndarray], np.ndarray]) -> list[Episode]:
    """Episodes with more features "T+1 N", made from the observations "T+1 O"."""
    return [
        state(e, np.concatenate([e.obs["state"], feature(i, e.obs["state"])], axis=1)) for i, e in enumerate(episodes)
    ]


def after(e: int, obs: np.ndarray) -> np.ndarray:
    return np.concatenate([obs[1:], obs[-1:]])


def before(e: int, obs: np.ndarray) -> np.ndarray:
    return np.concatenate([obs[:1], obs[:-1]])


def before_or_zero(e: int, obs: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros_like(obs[:1]), obs[:-1]])


def test_a_sound_log_raises_none_of_them(tmp_path: Path) -> None:
    assert warned(results(tmp_path, plant("steady"))) == set()


def test_next_states_among_the_features(tmp_path: Path) -> None:
    checks = results(tmp_path, beside(plant("steady"), after))
    assert warned(checks) == {"next_state_features"}
    found = checks["next_state_features"]
    assert found.evidence["features"] == "state[3], state[4], state[5]"
    assert found.evidence["next_values_of"] == "state[0], state[1], state[2]"
    assert found.severity == "warning"
    names = {"state": ["a", "b", "c", "next_a", "next_b", "next_c"]}
    checks = results(tmp_path, beside(plant("steady"), after), obs_names=names)
    assert checks["next_state_features"].severity == "serious"


@pytest.mark.parametrize("past", [before, before_or_zero])
def test_a_history_is_none(past: Callable[[int, np.ndarray], np.ndarray], tmp_path: Path) -> None:
    assert "next_state_features" not in results(tmp_path, beside(plant("steady"), past))


def test_forecasts_of_weather_are_known_and_no_fault(tmp_path: Path) -> None:
    names = {"state": ["a", "b", "c", "a[+1]", "b[+1]", "c[+1]"]}
    checks = results(tmp_path, beside(plant("steady"), after), obs_names=names, exogenous=names["state"])
    assert "next_state_features" not in checks


def test_two_categories_of_one_feature_are_no_next_value(tmp_path: Path) -> None:
    def one_hot(e: int, obs: np.ndarray) -> np.ndarray:
        return np.stack([np.arange(len(obs)) % 2, 1 - np.arange(len(obs)) % 2], axis=1)

    # A feature that alternates at every step is the next value of its opposite in truth.
    assert "next_state_features" in results(tmp_path, beside(plant("steady"), one_hot))
    slow = beside(plant("steady"), lambda e, obs: one_hot(e, obs)[np.arange(len(obs)) // 3])
    assert "next_state_features" not in results(tmp_path, slow)


def test_row_numbers_and_times_count_over_the_whole_log(tmp_path: Path) -> None:
    def row(e: int, obs: np.ndarray) -> np.ndarray:
        return (np.arange(len(obs)) + e * len(obs))[:, None]

    checks = results(tmp_path, beside(plant("steady"), row))
    assert warned(checks) == {"counters"}
    assert checks["counters"].evidence == {"count": 1, "features": "state[3]", "step": 1}


def test_the_step_within_an_episode_may_be_meant(tmp_path: Path) -> None:
    checks = results(tmp_path, beside(plant("steady"), lambda e, obs: np.arange(len(obs))[:, None]))
    assert warned(checks) == set()
    assert checks["counters"].evidence["features"] == "state[3]"


def joined(first: Episode, second: Episode) -> Episode:
    """Two episodes as one: the log has lost the mark between them, and with it a final observation."""
    obs = np.concatenate([first.obs["state"][:-1], second.obs["state"]])
    action, reward = (np.concatenate(x) for x in ((first.action, second.action), (first.reward, second.reward)))
    return Episode({"state": obs}, action, reward, False)


def test_lost_ends_are_jumps_inside_episodes(pendulum: list[Episode], tmp_path: Path) -> None:
    assert "jumps" not in warned(results(tmp_path, pendulum))
    pairs = [joined(a, b) for a, b in zip(pendulum[::2], pendulum[1::2], strict=True)]
    checks = results(tmp_path, pairs)
    assert warned(checks) == {"jumps"}
    assert 3 <= checks["jumps"].evidence["jumps"] <= len(pairs)
    assert checks["jumps"].evidence["first"].endswith(", step 199")


def pieces(terminated: bool) -> list[Episode]:
    """One run of 4,000 steps in 40 pieces."""
    (run,) = plant("steady", episodes=1)
    return [
        Episode({"state": run.obs["state"][t : t + 101]}, run.action[t : t + 100], run.reward[t : t + 100], terminated)
        for t in range(0, 4000, 100)
    ]


def test_terminals_within_a_run_that_goes_on(tmp_path: Path) -> None:
    checks = results(tmp_path, pieces(terminated=True))
    assert warned(checks) == {"running_on"}
    assert checks["running_on"].evidence["terminals"] == 39
    checks = results(tmp_path, pieces(terminated=False))
    assert warned(checks) == set()
    assert checks["running_on"].meaning == "Episodes go on where the one before ended: one run in pieces."


def paid(change: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> list[Episode]:
    """The steady plant with other rewards: a function of these, all between -9 and -5, and of the states "T O"."""
    return [replace(e, reward=change(np.clip(e.reward, -4, 0) - 5, e.obs["state"][:-1])) for e in plant("steady")]


def test_zeros_in_place_of_missing_rewards(tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    checks = results(tmp_path, paid(lambda reward, x: np.where(draws.random(len(reward)) < 0.1, 0, reward)))
    assert warned(checks) == {"zero_rewards"}
    assert checks["zero_rewards"].evidence["share"] == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize(
    "change",
    [
        lambda reward, x: np.where(x[:, 0] > 0.5, 0, reward),  # free of cost in some states
        lambda reward, x: np.maximum(reward + 5.2, 0),  # falls to zero
        lambda reward, x: np.round(reward + 5),  # amounts, of which zero is one
    ],
)
def test_zeros_that_belong_to_the_system(
    change: Callable[[np.ndarray, np.ndarray], np.ndarray], tmp_path: Path
) -> None:
    assert "zero_rewards" not in warned(results(tmp_path, paid(change)))


def test_single_rewards_far_outside(tmp_path: Path) -> None:
    def spiked(reward: np.ndarray, x: np.ndarray) -> np.ndarray:
        return np.where(np.arange(len(reward)) == 50, 100 * reward, reward)

    few = [*paid(spiked)[:4], *paid(lambda reward, x: reward)[4:]]
    checks = results(tmp_path, few)
    assert warned(checks) == {"reward_spikes"}
    assert checks["reward_spikes"].evidence["spikes"] == 4


def test_nobody_predicts_weather_so_its_past_is_not_missed(tmp_path: Path) -> None:
    draws = np.random.default_rng(0)

    def front(e: int, obs: np.ndarray) -> np.ndarray:
        """Goes on in its direction: only two values tell the next one."""
        return np.cumsum(np.cumsum(draws.normal(size=(len(obs), 1)), axis=0) / 10, axis=0)

    weather = beside(plant("steady"), front)
    names = {"state": ["a", "b", "c", "front"]}
    assert results(tmp_path, weather, obs_names=names)["memory"].evidence["feature"] == "front"
    assert results(tmp_path, weather, obs_names=names)["memory"].warns
    assert not results(tmp_path, weather, obs_names=names, exogenous=["front"])["memory"].warns
