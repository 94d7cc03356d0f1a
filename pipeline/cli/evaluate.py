"""``evaluate BUNDLE``: run a policy bundle in its environment, outside the pipeline."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pipeline.serving.agent import PolicyAgent, RawObservation


class TimedAgent:
    """An agent that measures its time: ``seconds`` it took to act and the number of observations it ``acted`` on. They
    include those of finished episodes while others of the batch still run."""

    def __init__(self, agent: "PolicyAgent") -> None:
        self.agent, self.obs_dim, self.action_dim = agent, agent.obs_dim, agent.action_dim
        self.action_kind = agent.action_kind
        self.reset, self.seconds, self.acted = agent.reset, 0.0, 0

    def act(self, obs: "RawObservation") -> NDArray[Any]:
        """The agent's actions."""
        started = time.perf_counter()
        action = self.agent.act(obs)
        self.seconds += time.perf_counter() - started
        self.acted += len(action)
        return action


def evaluate_bundle(bundle: Path, episodes: int, env_id: str | None, seed: int) -> list[str]:
    """Raw returns of complete episodes as lines of text. Raises ValueError without a valid bundle or an environment."""
    from pipeline.evaluation.episodes import run_episodes
    from pipeline.serving.agent import load_agent

    agent = load_agent(bundle)
    env = env_id or agent.spec.env_id
    if not env:
        raise ValueError(f"{bundle}: its logs name no environment; set one with --env-id")
    env_kwargs = agent.spec.env_kwargs if env == agent.spec.env_id else None
    timed = TimedAgent(agent)
    results = run_episodes(timed, env, env_kwargs, episodes, seed)
    return [
        f"{env}, {episodes} episodes from seed {seed}",
        f"return: mean {float(np.mean(results.returns)):.2f}, standard deviation {float(np.std(results.returns)):.2f}",
        f"length: mean {float(np.mean(results.lengths)):.1f} steps",
        f"acting: {1000 * timed.seconds / timed.acted:.2f} ms for each observation",
    ]
