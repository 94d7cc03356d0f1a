"""``evaluate BUNDLE``: a policy bundle in its environment, outside the pipeline."""

from pathlib import Path

import numpy as np


def evaluate_bundle(bundle: Path, episodes: int, env_id: str | None, seed: int) -> list[str]:
    """Raw returns of full episodes, summed up in lines. Raises ValueError where there is no bundle or environment."""
    from pipeline.agents import load_agent
    from pipeline.evaluation.episodes import run_episodes

    agent = load_agent(bundle)
    facts = agent.facts
    chosen = env_id or facts.env_id
    if not chosen:
        raise ValueError(f"{bundle}: its logs name no environment; give one with --env-id")
    env_kwargs = facts.env_kwargs if chosen == facts.env_id else None
    results = run_episodes(agent, chosen, env_kwargs, episodes, seed)
    mean, spread = float(np.mean(results.returns)), float(np.std(results.returns))
    return [
        f"{chosen}, {episodes} episodes from seed {seed}",
        f"return: mean {mean:.2f}, standard deviation {spread:.2f}",
        f"length: mean {float(np.mean(results.lengths)):.1f} steps",
    ]
