"""An input example of a policy for MLflow."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.dataset import PreparedDataset
from pipeline.envs.action_space import actions_of
from pipeline.serving.agent import PolicyAgent

Array = NDArray[Any]
ServedInput = Array | dict[str, Array]


def served_example(agent: PolicyAgent, dataset: PreparedDataset, steps: int = 3) -> tuple[ServedInput, Array]:
    """The first ``steps`` steps of a held-out episode in the form that the served policy takes, and its actions."""
    first = dataset.offsets[dataset.episodes("held_out")[0]]
    if not agent.stateful:
        obs = dataset.flat_obs(first + np.arange(steps))
        agent.reset(len(obs))
        return obs, agent.act(obs)
    observations = {key: array[None, first : first + steps] for key, array in dataset.obs.items()}
    action = actions_of(dataset.spec).denormalize(dataset.action[None, first : first + steps - 1])
    return {**observations, "action": action}, agent.act_after(observations, action)
