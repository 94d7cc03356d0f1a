from typing import Any

import gymnasium
import numpy as np
import pytest

from pipeline.evaluation.episodes import ArrayAgent, run_episodes


class Counting(gymnasium.Env[Any, Any]):
    """Episode length is drawn from the seed; the reward of step t is t; observations count steps."""

    observation_space = gymnasium.spaces.Box(-1e6, 1e6, (2,), np.float64)
    action_space = gymnasium.spaces.Box(-2.0, 2.0, (1,), np.float32)

    def __init__(self, terminates: bool = True) -> None:
        self.terminates = terminates

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.t, self.length = 0, int(self.np_random.integers(2, 30))
        return np.array([0.0, self.length]), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.t < self.length or not self.terminates, "stepped after the end"
        assert abs(action[0]) <= 2.0
        self.t += 1
        obs = np.array([float(self.t), self.length])
        return obs, float(self.t), self.terminates and self.t == self.length, False, {}


gymnasium.register("Counting-v0", entry_point=lambda **kw: Counting(**kw), max_episode_steps=20)
gymnasium.register("Endless-v0", entry_point=lambda: Counting(terminates=False))
gymnasium.register("Discrete-v0", entry_point="gymnasium.envs.classic_control:CartPoleEnv", max_episode_steps=10)


class Agent(ArrayAgent):
    """Remembers what it was asked."""

    action = 3.0

    def __init__(self, **facts: int) -> None:
        self.resets: list[int] = []
        vars(self).update(facts)

    def reset(self, episodes: int) -> None:
        self.resets.append(episodes)

    def act(self, obs: np.ndarray) -> np.ndarray:
        assert obs.shape == (self.resets[-1], 2)
        return np.full((len(obs), 1), self.action)


def expected_length(seed: int) -> int:
    env = Counting()
    env.reset(seed=seed)
    return min(env.length, 20)


@pytest.mark.parametrize("env_batch", [1, 3, 25])
def test_whole_episodes_whatever_the_batch(env_batch: int) -> None:
    results = run_episodes(Agent(), "Counting-v0", {}, episodes=7, seed=40, env_batch=env_batch)
    lengths = np.array([expected_length(40 + i) for i in range(7)])
    assert len(set(lengths)) > 3
    assert lengths.max() == 20
    assert (results.lengths == lengths).all()
    assert (results.returns == lengths * (lengths + 1) / 2).all()


def test_agent_is_reset_for_each_batch() -> None:
    agent = Agent()
    run_episodes(agent, "Counting-v0", {}, episodes=5, seed=0, env_batch=2)
    assert agent.resets == [2, 2, 2]


def test_max_steps_and_env_kwargs() -> None:
    results = run_episodes(Agent(), "Counting-v0", {"terminates": False}, episodes=2, seed=0, max_steps=4)
    assert results.lengths.tolist() == [4, 4]
    assert results.returns.tolist() == [10.0, 10.0]


@pytest.mark.parametrize(
    ("env_id", "kwargs", "message"),
    [
        ("Pendulm-v1", {}, "Pendulm-v1: cannot be made.*env_id"),
        ("no_such_package:Thing-v0", {}, "cannot be made.*env_id"),
        ("Counting-v0", {"gravity": 1}, "env_kwargs do not fit"),
        ("Endless-v0", {}, "no time limit; set evaluation.max_steps"),
        ("Discrete-v0", {}, "is not a Box"),
    ],
)
def test_environments_that_cannot_be_used(env_id: str, kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        run_episodes(Agent(), env_id, kwargs, episodes=1, seed=0)
    assert "\n" not in str(caught.value)


def test_spaces_that_do_not_fit_the_agent() -> None:
    with pytest.raises(ValueError, match="obs has 2 values, the agent expects 11"):
        run_episodes(Agent(obs_dim=11), "Counting-v0", {}, episodes=1, seed=0)
    with pytest.raises(ValueError, match="action has 1 values, the agent expects 3"):
        run_episodes(Agent(obs_dim=2, action_dim=3), "Counting-v0", {}, episodes=1, seed=0)


def test_diverged_agents_are_named() -> None:
    agent = Agent()
    agent.action = float("nan")
    with pytest.raises(ValueError, match="not finite"):
        run_episodes(agent, "Counting-v0", {}, episodes=1, seed=0)


def test_mujoco_leaves_no_log_file(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mujoco")
    monkeypatch.chdir(tmp_path)

    class Still(Agent):
        def act(self, obs: np.ndarray) -> np.ndarray:
            return np.zeros((len(obs), 6))

    results = run_episodes(Still(), "HalfCheetah-v5", {}, episodes=1, seed=0, max_steps=3)
    assert results.lengths.tolist() == [3]
    assert not list(tmp_path.iterdir())
