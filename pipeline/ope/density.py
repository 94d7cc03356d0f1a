"""The density of logged actions under the behavior policy."""

import torch
from torch import Generator

from pipeline.envs.action_space import CONTINUOUS
from pipeline.networks.actor import ActorNetwork, actor_for
from pipeline.networks.adam import LeanAdam
from pipeline.types import Transitions

BATCH = 256
LEARNING_RATE = 1e-3
HIDDEN = [64, 64]


def fit_behavior(data: Transitions, updates: int, generator: Generator, kind: str = CONTINUOUS) -> ActorNetwork:
    """Fit the behavior policy by maximum likelihood: one squashed Gaussian for each state, or probabilities of discrete
    actions.

    Importance weights from an estimated behavior policy have less variance than those from the true one (Hanna, Niekum
    & Stone 2019, arXiv:1806.01347).
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
        actor = actor_for(kind, data.state.shape[1], data.action.shape[1], HIDDEN)
    optimizer = LeanAdam(actor.parameters(), lr=LEARNING_RATE)
    raw = actor.unsquash(data.action)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    for _ in range(updates):
        rows = torch.randint(len(data), (BATCH,), generator=generator)
        loss = -actor.log_prob(data.state[rows], raw[rows]).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        decay.step()
    return actor.requires_grad_(False)
