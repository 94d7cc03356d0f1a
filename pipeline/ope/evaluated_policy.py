"""A policy as its judges meet it: what it would do along the logs, and in imagination."""

import numpy as np
import torch
from torch import Generator, Tensor, nn

from pipeline.data.dataset import PreparedDataset
from pipeline.data.transitions import IntArray, iter_states
from pipeline.protocols import Actor, StateEncoder, WorldModel, first_state
from pipeline.serving.agent import PolicyAgent
from pipeline.types import Observation

ROWS = 4096  # states acted in at once


def alike(left: StateEncoder, right: StateEncoder) -> bool:
    """Whether two filters give the same states: same class, same size, same weights, same scales."""
    if type(left) is not type(right) or left.state_dim != right.state_dim:
        return False
    assert isinstance(left, nn.Module)
    assert isinstance(right, nn.Module)
    pairs = [dict([*m.named_parameters(), *m.named_buffers()]) for m in (left, right)]
    return pairs[0].keys() == pairs[1].keys() and all(torch.equal(v, pairs[1][k]) for k, v in pairs[0].items())


class EvaluatedPolicy:
    """``agent`` beside the world model that judges it, whose states it may share or not."""

    def __init__(self, agent: PolicyAgent, model: WorldModel) -> None:
        self.policy, self.encoder, self.model = agent.policy, agent.encoder, model
        self.shares_state = alike(self.encoder, model.actor_encoder())

    @torch.no_grad()
    def act(self, state: Tensor) -> Tensor:
        """The policy's mode "B A" in its filter's states "B Z"."""
        return torch.cat([self.policy.act(some, None) for some in state.split(ROWS)])

    @torch.no_grad()
    def actions_along(self, dataset: PreparedDataset, split: str, rows: IntArray) -> Tensor:
        """What the policy would do "B A" once the observation of each of ``rows`` "B" was seen, after the logged
        actions that led there."""
        wanted = np.zeros(len(dataset.action), bool)
        wanted[rows] = True
        actions = torch.zeros(dataset.action.shape)
        for seen, state in iter_states(dataset, split, self.encoder):
            if wanted[seen].any():
                actions[seen[wanted[seen]]] = self.act(state[torch.from_numpy(wanted[seen])])
        return actions[rows]

    @torch.no_grad()
    def first_actions(self, obs: Observation) -> Tensor:
        """What it does "B A" at the first observations of episodes."""
        return self.act(self._first_states(obs))

    def actor(self, obs: Observation) -> Actor:
        """The policy in rollouts that start at first observations "B ...": in the model's own states where it shares
        them, else in those its filter makes of what the model decodes."""
        return _Shared(self) if self.shares_state else _Foreign(self, self._first_states(obs))

    def _first_states(self, obs: Observation) -> Tensor:
        return first_state(self.encoder, obs, self.model.action_dim)


class _Shared:
    def __init__(self, judged: EvaluatedPolicy) -> None:
        self.judged = judged

    def __call__(self, state: Tensor, t: int, generator: Generator | None) -> Tensor:
        return self.judged.act(state)


class _Foreign:
    """Keeps the state of the policy's own filter from step to step of one rollout."""

    def __init__(self, judged: EvaluatedPolicy, state: Tensor) -> None:
        self.judged, self.state, self.action = judged, state, torch.empty(0)
        self.model = judged.model

    def __call__(self, state: Tensor, t: int, generator: Generator | None) -> Tensor:
        if t > 0:
            seen, going_on = self.model.decode(state), torch.zeros(len(state))
            self.state = self.judged.encoder.observe(self.state, self.action, seen, going_on)
        self.action = self.judged.act(self.state)
        return self.action
