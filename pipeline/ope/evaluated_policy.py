"""A policy under offline evaluation: its actions along the logs, and in imagination."""

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
    """Whether two encoders give the same states: same class, size, weights and scales."""
    if type(left) is not type(right) or left.state_dim != right.state_dim:
        return False
    assert isinstance(left, nn.Module)
    assert isinstance(right, nn.Module)
    pairs = [dict([*m.named_parameters(), *m.named_buffers()]) for m in (left, right)]
    return pairs[0].keys() == pairs[1].keys() and all(torch.equal(v, pairs[1][k]) for k, v in pairs[0].items())


class EvaluatedPolicy:
    """The policy of ``agent`` with the world model that evaluates it. The two may or may not share their states."""

    def __init__(self, agent: PolicyAgent, model: WorldModel) -> None:
        self.policy, self.encoder, self.model = agent.policy, agent.encoder, model
        self.shares_state = alike(self.encoder, model.actor_encoder())

    @torch.no_grad()
    def act(self, state: Tensor) -> Tensor:
        """The policy's mode "B A" in states "B Z" of its own encoder."""
        return torch.cat([self.policy.act(chunk, None) for chunk in state.split(ROWS)])

    @torch.no_grad()
    def actions_along(self, dataset: PreparedDataset, split: str, rows: IntArray) -> Tensor:
        """The policy's actions "B A" at the dataset rows ``rows`` "B", after the logged history of each row."""
        requested = np.zeros(len(dataset.action), bool)
        requested[rows] = True
        actions = torch.zeros(dataset.action.shape)
        for batch, state in iter_states(dataset, split, self.encoder):
            if requested[batch].any():
                actions[batch[requested[batch]]] = self.act(state[torch.from_numpy(requested[batch])])
        return actions[rows]

    @torch.no_grad()
    def first_actions(self, obs: Observation) -> Tensor:
        """The policy's actions "B A" at the first observations "B ..." of episodes."""
        return self.act(self._first_states(obs))

    def actor(self, obs: Observation) -> Actor:
        """The policy as an actor in rollouts that start at first observations "B ...".

        It acts on the world model's own states if it shares them, else on its encoder's states of decoded observations.
        """
        return _SharedStateActor(self) if self.shares_state else _OwnStateActor(self, self._first_states(obs))

    def _first_states(self, obs: Observation) -> Tensor:
        return first_state(self.encoder, obs, self.model.action_dim)


class _SharedStateActor:
    def __init__(self, evaluated: EvaluatedPolicy) -> None:
        self.evaluated = evaluated

    def __call__(self, state: Tensor, t: int, generator: Generator | None) -> Tensor:
        return self.evaluated.act(state)


class _OwnStateActor:
    """Keeps the state of the policy's own encoder from step to step of one rollout."""

    def __init__(self, evaluated: EvaluatedPolicy, state: Tensor) -> None:
        self.evaluated, self.state, self.action = evaluated, state, torch.empty(0)

    def __call__(self, state: Tensor, t: int, generator: Generator | None) -> Tensor:
        if t > 0:
            obs = self.evaluated.model.decode(state)
            first = torch.zeros(len(state))
            self.state = self.evaluated.encoder.observe(self.state, self.action, obs, first)
        self.action = self.evaluated.act(self.state)
        return self.action
