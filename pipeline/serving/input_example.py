"""What the policy stage shows MLflow of a policy it has just saved."""

from typing import Any

import numpy as np

from pipeline.data.dataset import PreparedDataset
from pipeline.envs.action_space import actions_of
from pipeline.serving.agent import PolicyAgent


def served_example(agent: PolicyAgent, dataset: PreparedDataset, steps: int = 3) -> tuple[Any, Any]:
    """The first steps of a held-out episode as the served policy takes them, and what it does."""
    first = dataset.offsets[dataset.episodes("held_out")[0]]
    if not agent.stateful:
        obs = dataset.flat_obs(first + np.arange(steps))
        agent.reset(len(obs))
        return obs, agent.act(obs)
    seen = {key: array[None, first : first + steps] for key, array in dataset.obs.items()}
    action = actions_of(dataset.spec).denormalize(dataset.action[None, first : first + steps - 1])
    return {**seen, "action": action}, agent.act_after(seen, action)
