"""Runs an agent in a real environment: whole episodes, raw returns, and recordings on request."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

from pipeline.data.episode import Episode
from pipeline.envs.action_space import CONTINUOUS, DISCRETE
from pipeline.envs.permission import ForbiddenError
from pipeline.envs.wrappers import make
from pipeline.evaluation.recording import Recording
from pipeline.serving.agent import RawObservation
from pipeline.validation.pace import paced


class ArrayAgent(Protocol):
    """An agent that can run in an environment. Its sizes, where not None, and its kind of actions are checked against
    the environment first."""

    obs_dim: int | None = None
    action_dim: int | None = None
    action_kind: str = CONTINUOUS

    def reset(self, episodes: int) -> None:
        """Start ``episodes`` episodes side by side."""

    def act(self, obs: RawObservation) -> NDArray[Any]:
        """Actions "B A" in the environment's units, or integers "B" where actions are discrete, for raw observations
        "B ...": one array, or one array for each key."""


@dataclass(frozen=True)
class EpisodeResults:
    """What ``N`` episodes came to."""

    returns: NDArray[np.float64]  # "N", undiscounted
    lengths: NDArray[np.int64]  # "N", steps
    discounted: NDArray[np.float64]  # "N", discounted returns from the first step
    recorded: list[Episode] = field(default_factory=list)  # in the environment's units; empty unless requested


class OneEpisode(gymnasium.Wrapper):  # type: ignore[type-arg]
    """Does nothing after the end of its episode until it is reset with a seed, so that a finished environment costs
    nothing while the others of its batch go on."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode if ``seed`` is given, else stay at the last observation."""
        if seed is not None:
            self.last_obs, _ = self.env.reset(seed=seed, options=options)
        self.over = seed is None
        return self.last_obs, {}

    def step(self, action: object) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """One step, or no change and reward zero once the episode is over."""
        if self.over:
            return self.last_obs, 0.0, False, False, {}
        self.last_obs, reward, terminated, truncated, _ = self.env.step(action)
        self.over = terminated or truncated
        return self.last_obs, float(reward), terminated, truncated, {}


def run_episodes(
    agent: ArrayAgent,
    env_id: str,
    env_kwargs: Mapping[str, Any] | None,
    episodes: int,
    seed: int,
    env_batch: int = 25,
    max_steps: int | None = None,
    discount: float = 1.0,
    record: bool = False,
) -> EpisodeResults:
    """Run ``episodes`` full episodes. Episode i is seeded with ``seed + i``, so ``env_batch`` changes the speed but not
    the results (beyond the rounding of the agent's own batched arithmetic). With ``record``, every step is kept in
    memory.

    Raises ValueError when the environment cannot be made, has no time limit, or does not fit the agent.
    """
    width = min(env_batch, episodes)
    envs = make_environments(env_id, env_kwargs or {}, width, max_steps)
    try:
        check_spaces(envs, agent, env_id)
        parts = [range(i, min(i + width, episodes)) for i in range(0, episodes, width)]
        slices = paced(parts, f"{{}} batches of {width} episodes", len(parts))
        batches = [run_batch(agent, envs, seed, numbers, discount, record) for numbers in slices]
    finally:
        envs.close()
    return EpisodeResults(
        returns=np.concatenate([b.returns for b in batches]),
        lengths=np.concatenate([b.lengths for b in batches]),
        discounted=np.concatenate([b.discounted for b in batches]),
        recorded=[episode for b in batches for episode in b.recorded],
    )


def run_batch(
    agent: ArrayAgent, envs: SyncVectorEnv, seed: int, numbers: range, discount: float = 1.0, record: bool = False
) -> EpisodeResults:
    """Run the episodes ``numbers`` side by side; spare environments do nothing."""
    count, width = len(numbers), envs.num_envs
    obs, _ = envs.reset(seed=[seed + i for i in numbers] + [None] * (width - count))
    agent.reset(width)
    returns, lengths = np.zeros(width), np.zeros(width, np.int64)
    running = np.arange(width) < count
    discounted = np.zeros(width)
    recording = Recording(obs) if record else None
    while running.any():
        action = _checked_action(agent.act(obs), envs)
        obs, reward, terminated, truncated, _ = envs.step(action)
        if recording is not None:
            recording.add(action, obs, reward, terminated)
        returns += np.where(running, reward, 0.0)
        discounted += np.where(running, discount**lengths * reward, 0.0)
        lengths += running
        running &= ~(terminated | truncated)
    recorded = recording.episodes(lengths[:count]) if recording is not None else []
    return EpisodeResults(returns[:count], lengths[:count], discounted[:count], recorded)


def make_environments(env_id: str, env_kwargs: Mapping[str, Any], count: int, max_steps: int | None) -> SyncVectorEnv:
    """``count`` copies of an environment side by side. Raises ValueError that names the fix when the environment cannot
    be made or has no time limit."""

    def single() -> gymnasium.Env[Any, Any]:
        return OneEpisode(make(env_id, env_kwargs, max_steps))

    try:
        envs = SyncVectorEnv([single] * count, autoreset_mode=AutoresetMode.NEXT_STEP)
    except gymnasium.error.DependencyNotInstalled as error:
        raise ValueError(f"environment {env_id}: a package is missing: {_one_line(error)}") from None
    except (gymnasium.error.Error, ImportError) as error:
        fix = "install the package that registers it, or set dataset.env_id to null"
        raise ValueError(f"environment {env_id}: cannot be made: {_one_line(error)}; {fix}") from None
    except ForbiddenError as error:
        raise ValueError(f"environment {env_id}: {error}") from None
    except TypeError as error:
        raise ValueError(f"environment {env_id}: dataset.env_kwargs do not fit: {_one_line(error)}") from None
    if max_steps is None and envs.envs[0].spec is not None and envs.envs[0].spec.max_episode_steps is None:
        envs.close()
        raise ValueError(f"environment {env_id}: has no time limit; set evaluation.max_steps")
    return envs


def check_spaces(envs: SyncVectorEnv, agent: ArrayAgent, env_id: str) -> None:
    """Raises ValueError unless observations are a box or a dict of boxes, actions a box or discrete as the agent
    expects, and both of the agent's sizes; a size that the agent leaves None is not compared."""
    fix = "choose another dataset.env_id"
    obs = envs.single_observation_space
    parts = list(obs.spaces.values()) if isinstance(obs, gymnasium.spaces.Dict) else [obs]
    action_space = Discrete if agent.action_kind == DISCRETE else Box
    actions = [envs.single_action_space]
    checks = (("obs", parts, Box, agent.obs_dim), ("action", actions, action_space, agent.action_dim))
    for kind, spaces, space_type, expected in checks:
        for space in spaces:
            if not isinstance(space, space_type):
                raise ValueError(f"environment {env_id}: {kind} space {space} is not a {space_type.__name__}; {fix}")
        size = sum(map(gymnasium.spaces.flatdim, spaces))
        if expected is not None and expected != size:
            fix = "set dataset.env_id to the environment that the logs come from"
            raise ValueError(f"environment {env_id}: {kind} has {size} values, the agent expects {expected}; {fix}")


def _checked_action(action: NDArray[Any], envs: SyncVectorEnv) -> NDArray[Any]:
    space = envs.action_space
    action = np.asarray(action)
    if action.shape != space.shape:
        raise ValueError(f"the agent's actions have shape {action.shape}, the environment takes {space.shape}")
    if not np.isfinite(action).all():
        raise ValueError("the agent's actions are not finite; look for diverged losses in the policy's history")
    if not isinstance(space, Box):
        return action
    # Rounding in the map from [-1, 1] to the bounds can leave the box.
    return np.clip(action.astype(space.dtype), space.low, space.high)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
