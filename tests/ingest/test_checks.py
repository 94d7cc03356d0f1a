"""Broken copies of valid logs: each fault is detected and named, and the valid log raises no warning."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from test_shared_logs import block_of, ingest

from pipeline.data.dataset import PreparedDataset
from pipeline.data.episode import Episode, LoggedData
from pipeline.ingest.checks import CHECKS, CheckResult, run_checks
from pipeline.ingest.checks.memory import signs
from pipeline.ingest.checks.regress import held_out_r2
from pipeline.ingest.checks.result import INCONCLUSIVE, json_value
from pipeline.ingest.checks.sample import Sample
from pipeline.ingest.sources.collect import Collect, CollectConfig
from pipeline.ingest.writer import write_dataset

Break = Callable[[int, Episode], Episode]
EPISODES = 40


@pytest.fixture(scope="session")
def pendulum(tmp_path_factory: pytest.TempPathFactory) -> list[Episode]:
    """Scripted behavior, in the order of the behaviors."""
    folder = tmp_path_factory.mktemp("pendulum") / "d"
    log = Collect(CollectConfig("data/logs", "data/logs", episodes=EPISODES)).read()
    episodes = list(log.episodes)
    write_dataset(folder, replace(log, episodes=episodes), "pendulum", 0.1, 0)  # removes what was collected
    return episodes


def stored(episodes: list[Episode], folder: Path) -> PreparedDataset:
    log = LoggedData("pendulum", "collect", episodes, action_low=[-2.0], action_high=[2.0])
    return write_dataset(folder / "dataset", log, "pendulum", 0.2, 0)


def alarms(results: list[CheckResult]) -> dict[str, CheckResult]:
    return {result.name: result for result in results if result.warns}


def only(name: str, dataset: PreparedDataset) -> CheckResult:
    result = CHECKS[name](Sample(dataset))
    assert result is not None
    return result


def state(episode: Episode, obs: np.ndarray) -> Episode:
    return replace(episode, obs={"state": obs.astype(np.float32)})


def late_actions(e: int, episode: Episode) -> Episode:
    """Row t holds the action of step t - 1."""
    return replace(episode, action=np.roll(episode.action, 1, axis=0))


def early_actions(e: int, episode: Episode) -> Episode:
    return replace(episode, action=np.roll(episode.action, -1, axis=0))


def late_rewards(e: int, episode: Episode) -> Episode:
    return replace(episode, reward=np.roll(episode.reward, 1))


def timeouts_marked(e: int, episode: Episode) -> Episode:
    return replace(episode, terminated=True)


def cut_without_terminal(e: int, episode: Episode) -> Episode:
    steps = 200 - 10 * (e % 4)
    cut = replace(episode, action=episode.action[:steps], reward=episode.reward[:steps])
    return state(cut, episode.obs["state"][: steps + 1])


def degrees_from_the_middle(e: int, episode: Episode) -> Episode:
    factor = [1, 1, 180 / np.pi] if e >= EPISODES // 2 else [1, 1, 1]
    return state(episode, episode.obs["state"] * factor)


def reward_in_the_observation(e: int, episode: Episode) -> Episode:
    paid = np.concatenate([[0], episode.reward])
    return state(episode, np.concatenate([episode.obs["state"], paid[:, None]], axis=1))


def without_velocity(e: int, episode: Episode) -> Episode:
    return state(episode, episode.obs["state"][:, :2])


def an_angle(e: int, episode: Episode) -> Episode:
    cos, sin, speed = episode.obs["state"].T
    return state(episode, np.stack([np.arctan2(sin, cos), speed], axis=1))


def with_a_clock(e: int, episode: Episode) -> Episode:
    clock = 0.05 * np.arange(len(episode.reward) + 1)
    clock[100:] += 0.4 * (e == 3)
    return state(episode, np.concatenate([episode.obs["state"], clock[:, None]], axis=1))


def without_reward(e: int, episode: Episode) -> Episode:
    return replace(episode, reward=np.zeros_like(episode.reward))


BREAKS: dict[Break, dict[str, object]] = {
    late_actions: {"action_shift": 1},
    early_actions: {"action_shift": -1},
    late_rewards: {"reward_shift": 1},
    timeouts_marked: {"timeouts_as_terminals": 1.0},
    cut_without_terminal: {"missing_terminals": 29},  # but for the last: it may be cut
    degrees_from_the_middle: {  # the past tells the unit, and the last fifth has another one than most parts before
        "unit_change": "degrees and radians",
        "memory": "state[0]",
        "drift": "state[2]",
    },
    reward_in_the_observation: {"reward_leak": "state[3]"},
    without_velocity: {"memory": "state[0]"},
    an_angle: {"wrapping_angles": "state[0]"},
    with_a_clock: {"time_gaps": 1},
    without_reward: {"equal_rewards": 0.0},
}


def test_sound_logs_raise_no_alarm(pendulum: list[Episode], tmp_path: Path) -> None:
    results = run_checks(stored(pendulum, tmp_path))
    assert [result.name for result in results if not result.passed] == []
    expected = {"action_shift", "reward_shift", "memory", "unit_change", "coverage", "actions"}
    assert expected <= {result.name for result in results}


def test_noise_makes_no_check_warn_and_none_pass(pendulum: list[Episode], tmp_path: Path) -> None:
    """Nothing explains independent draws, so neither a fault nor its absence can be measured."""
    rng = np.random.default_rng(0)

    def noise(episode: Episode) -> Episode:
        obs = rng.normal(size=episode.obs["state"].shape).astype(np.float32)
        return replace(episode, obs={"state": obs}, reward=rng.normal(size=episode.reward.shape))

    dataset = stored([noise(episode) for episode in pendulum], tmp_path)
    for name in ("action_shift", "reward_shift"):
        assert only(name, dataset).severity == INCONCLUSIVE
    walk = [
        replace(e, obs={"state": np.cumsum(e.obs["state"], axis=0)}) for e in (noise(episode) for episode in pendulum)
    ]
    wandering = stored(walk, tmp_path / "walk")
    for name in ("memory", "drift"):
        assert only(name, wandering).severity == INCONCLUSIVE


@pytest.mark.parametrize(
    ("without", "with_history", "autocorrelation", "verdict"),
    [
        (1.0, 1.0, 0.0, "passes"),
        (0.9, 0.91, 0.4, "passes"),
        (0.4, 0.41, 0.0, "passes"),  # noise that no model explains
        (0.3, 0.9, 0.5, "warns"),
        (0.3, 0.9, 0.0, "open"),  # the two signs disagree
        (-0.51, 0.026, 0.0, "open"),  # neither model explains anything
        (-0.12, 0.2, 0.25, "open"),  # history helps, and leaves most open
    ],
)
def test_one_rule_says_whether_observations_are_markov(
    without: float, with_history: float, autocorrelation: float, verdict: str
) -> None:
    partial, doubtful = signs(np.array([without]), np.array([with_history]), np.array([autocorrelation]))
    assert ("warns" if partial[0] else "open" if doubtful[0] else "passes") == verdict


@pytest.mark.parametrize("break_one", BREAKS, ids=lambda b: b.__name__)
def test_a_broken_copy_is_found_and_named_and_nothing_else(
    break_one: Break, pendulum: list[Episode], tmp_path: Path
) -> None:
    broken = [break_one(e, episode) for e, episode in enumerate(pendulum)]
    results = alarms(run_checks(stored(broken, tmp_path)))
    assert set(results) == set(BREAKS[break_one])
    for name, expected in BREAKS[break_one].items():
        assert expected in results[name].evidence.values()
        assert name in results[name].line


def test_a_moved_log_is_moved_back_by_the_rows_that_the_remedy_names(pendulum: list[Episode], tmp_path: Path) -> None:
    result = only("action_shift", stored([late_actions(0, e) for e in pendulum], tmp_path))
    assert "set a table's `action_offset: 1`, or move actions by -1 rows" in result.remedy


def test_copies_exact_and_nearly(pendulum: list[Episode], tmp_path: Path) -> None:
    rounded_copy = state(pendulum[7], pendulum[7].obs["state"] + 1e-5)
    dataset = stored([*pendulum, pendulum[3], pendulum[3], rounded_copy], tmp_path)
    assert only("duplicate_episodes", dataset).evidence["copies"] == 2
    assert only("near_duplicate_episodes", dataset).evidence["first"] == f"7 and {EPISODES + 2}"
    assert only("duplicate_rows", dataset).severity == "info"  # copies of episodes are reported once


def test_repeated_rows(pendulum: list[Episode], tmp_path: Path) -> None:
    """Every step of some episodes is logged twice at rest."""

    def frozen(episode: Episode) -> Episode:
        first = episode.obs["state"][:1]
        return Episode({"state": first.repeat(201, axis=0)}, np.zeros((200, 1)), episode.reward * 0 - 1, False)

    result = only("duplicate_rows", stored([*pendulum, frozen(pendulum[0])], tmp_path))
    assert result.severity == "warning"
    assert result.evidence["share"] == pytest.approx(199 / 8200, abs=1e-4)


def test_another_held_out_log_is_told_from_one_like_it(pendulum: list[Episode], tmp_path: Path) -> None:
    alike = [replace(e, held_out=i % 4 == 0) for i, e in enumerate(pendulum)]
    other = [replace(e, held_out=i >= 28) for i, e in enumerate(pendulum)]  # the random ones
    assert only("held_out_shift", stored(alike, tmp_path)).severity == "info"
    assert only("held_out_shift", stored(other, tmp_path)).severity == "warning"


def test_missing_values_are_refused_at_their_place(pendulum: list[Episode], tmp_path: Path) -> None:
    obs = pendulum[5].obs["state"].copy()
    obs[17, 2] = np.nan
    with pytest.raises(ValueError, match=r"pendulum: episode 5, obs state\[17, 2\]: nan; repair or remove"):
        stored([*pendulum[:5], state(pendulum[5], obs), *pendulum[6:]], tmp_path)


def test_equal_logs_give_equal_bytes_without_anything_that_is_no_json(pendulum: list[Episode], tmp_path: Path) -> None:
    dataset = stored(pendulum[::4], tmp_path)
    first, second = (json.dumps([asdict(f) for f in run_checks(dataset)], allow_nan=False) for _ in range(2))
    assert first == second


def test_two_short_episodes_are_enough(pendulum: list[Episode], tmp_path: Path) -> None:
    short = [Episode({"state": e.obs["state"][:2]}, e.action[:1], e.reward[:1], False) for e in pendulum[:2]]
    assert set(alarms(run_checks(stored(short, tmp_path)))) == {"single_step_episodes", "equal_rewards"}


def test_numbers_are_rounded_to_what_any_machine_computes() -> None:
    assert json_value({"a": [np.float32(1 / 3), np.int64(7)], "b": np.True_, "c": float("nan"), "d": 12345.6}) == {
        "a": [0.3333, 7],
        "b": True,
        "c": None,
        "d": 12350.0,
    }


def test_the_regression_bends_and_does_not_read_the_tested_rows() -> None:
    draws = np.random.default_rng(1)
    x, test = draws.normal(size=(3000, 2)), np.arange(3000) % 3 == 2
    curved, noise = abs(x[:, 0]) * x[:, 1], draws.normal(size=3000)
    r2 = held_out_r2(x, np.stack([curved, noise, np.ones(3000)], axis=1), test)
    assert r2[0] > 0.99
    assert abs(r2[1]) < 0.02
    assert r2[2] == 0


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("hopper-mixed", set()),
        ("halfcheetah-mixed", set()),
        ("neorl2-DMSD", set()),
        ("neorl2-Simglucose", {"memory", "constant_features"}),  # insulin acts late, and no past is observed
        ("neorl2-SafetyHalfCheetah", {"held_out_shift"}),  # both held-out returns lie below every other
        ("door-human", {"memory", "missing_terminals", "actions"}),  # no velocities; demonstrations cut at will
        ("cartpole-swingup", {"wrapping_angles"}),
    ],
)
def test_logs_of_other_authors(preset: str, expected: set[str], shared_data: Path, tmp_path: Path) -> None:
    assert set(alarms(run_checks(ingest(block_of(preset, shared_data), tmp_path / "d")))) == expected
