"""The density of logged actions under the behavior that was logged."""

import torch
from torch import Generator

from pipeline.envs.action_space import CONTINUOUS
from pipeline.networks.actor import ActorNetwork, actor_for
from pipeline.types import Transitions

BATCH, LEARNING_RATE, HIDDEN = 256, 1e-3, [64, 64]


def fit_behavior(data: Transitions, updates: int, generator: Generator, kind: str = CONTINUOUS) -> ActorNetwork:
    """The logged behavior as one squashed Gaussian for each state, or as the probabilities of discrete actions, by
    maximum likelihood. Weights that an estimated behavior gives have less variance than those of the true one (Hanna,
    Niekum & Stone 2019, arXiv:1806.01347)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
        actor = actor_for(kind, data.state.shape[1], data.action.shape[1], HIDDEN)
    optimizer, raw = torch.optim.Adam(actor.parameters(), lr=LEARNING_RATE, fused=True), actor.unsquash(data.action)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    for _ in range(updates):
        rows = torch.randint(len(data), (BATCH,), generator=generator)
        loss = -actor.log_prob(data.state[rows], raw[rows]).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        decay.step()
    return actor.requires_grad_(False)
