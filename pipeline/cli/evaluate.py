"""``evaluate BUNDLE``: a policy bundle in its environment, outside the pipeline."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pipeline.serving.agent import PolicyAgent


class TimedAgent:
    """The same agent, how long it took to act, and for how many observations; those of episodes that are over while
    others of their batch go on count too."""

    def __init__(self, agent: "PolicyAgent") -> None:
        self.agent, self.obs_dim, self.action_dim = agent, agent.obs_dim, agent.action_dim
        self.action_kind = agent.action_kind
        self.reset, self.seconds, self.acted = agent.reset, 0.0, 0

    def act(self, obs: Any) -> NDArray[np.float64]:
        started = time.perf_counter()
        action = self.agent.act(obs)
        self.seconds += time.perf_counter() - started
        self.acted += len(action)
        return action


def evaluate_bundle(bundle: Path, episodes: int, env_id: str | None, seed: int) -> list[str]:
    """Raw returns of full episodes, summed up in lines. Raises ValueError where there is no bundle or environment."""
    from pipeline.evaluation.episodes import run_episodes
    from pipeline.serving.agent import load_agent

    agent = load_agent(bundle)
    facts = agent.spec
    chosen = env_id or facts.env_id
    if not chosen:
        raise ValueError(f"{bundle}: its logs name no environment; give one with --env-id")
    env_kwargs = facts.env_kwargs if chosen == facts.env_id else None
    timed = TimedAgent(agent)
    results = run_episodes(timed, chosen, env_kwargs, episodes, seed)
    mean, spread = float(np.mean(results.returns)), float(np.std(results.returns))
    return [
        f"{chosen}, {episodes} episodes from seed {seed}",
        f"return: mean {mean:.2f}, standard deviation {spread:.2f}",
        f"length: mean {float(np.mean(results.lengths)):.1f} steps",
        f"acting: {1000 * timed.seconds / timed.acted:.2f} ms for an observation",
    ]
