"""The value of a plan: the return that the world model predicts, minus the penalty for its uncertainty."""

from collections.abc import Callable

import torch
from einops import reduce, repeat
from torch import Generator, Tensor
from torch.nn import functional as F

from pipeline.imagination import Imagination, rows_at_once
from pipeline.policies.losses import survival_probability
from pipeline.types import Rollout


def plan_value(
    rollout: Rollout, weight: float, discount: float, halt_reward: float, last_value: Tensor | None = None
) -> Tensor:
    """Expected discounted sum "B" of penalized rewards over a plan, in the log's unit of reward.

    A step earns its reward minus ``weight`` times its penalty, weighted by the probability that the episode reaches it.
    Early termination is not rewarded: the penalty of the last step is paid again for every remaining step of the plan.
    A halt earns ``halt_reward`` at that step and at every remaining step. ``last_value`` "B" is the value of the last
    state; with it, the remaining steps go on forever.
    """
    steps = rollout.reward.shape[1]
    powers = discount ** torch.arange(steps, device=rollout.reward.device)
    halted = rollout.halted.bool()
    ends = torch.where(halted | rollout.terminal.bool(), 1.0, 1 - rollout.continue_prob)
    survival = survival_probability(1 - ends)
    remaining = F.pad(powers.cumsum(0)[:-1], (1, 0)).flip(0)  # discounted number of steps after each
    if last_value is not None:
        remaining = torch.full_like(remaining, 1 / (1 - discount))
    cost = weight * rollout.penalty
    now = torch.where(halted, halt_reward, rollout.reward - cost)
    after_end = torch.where(halted, halt_reward, -cost)
    total = (powers * survival * (now + discount * ends * remaining * after_end)).sum(1)
    if last_value is not None:
        total = total + discount**steps * survival[:, -1] * (1 - ends[:, -1]) * last_value
    return total


class Objective:
    """Imagines plans and returns their values. ``value`` maps last states "B Z" to their values "B".

    With ``particles`` 0 a plan is imagined once, with the members' mean and without noise. Otherwise it is imagined
    ``particles`` times with sampled steps, each time with one member for the whole plan (TS-infinity of PETS, Chua et
    al. 2018, arXiv:1805.12114), and the values are averaged. A penalty above ``cap``, in standard deviations of the
    logged reward, halts a plan (MOReL, Kidambi et al. 2020, arXiv:2005.05951); every step from there on then earns the
    lowest logged reward, if negative, minus the cost of the cap.
    """

    def __init__(
        self,
        imagination: Imagination,
        weight: float,
        discount: float,
        lowest_reward: float,
        cap: float | None = None,
        particles: int = 0,
        value: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        assert cap is None or lowest_reward > -float("inf")
        self.imagination = imagination
        self.weight = weight
        self.discount = discount
        self.cap = cap
        self.particles = particles
        self.value = value
        cap_cost = 0.0 if cap is None else weight * cap * imagination.model.reward_scale
        self.halt_reward = min(lowest_reward, 0.0) - cap_cost

    def __call__(self, state: Tensor, plans: Tensor, generator: Generator) -> Tensor:
        """Values "E N" of plans "E N T A" from states "E Z", in the log's unit of reward."""
        _, count, _, _ = plans.shape
        copies = max(self.particles, 1)
        start = repeat(state, "e z -> (e n p) z", n=count, p=copies)
        actions = repeat(plans, "e n t a -> (e n p) t a", p=copies)
        rows = rows_at_once(start)
        parts = zip(start.split(rows), actions.split(rows), strict=True)
        values = torch.cat([self._plan_value(self.rollout(s, a, generator)) for s, a in parts])
        return reduce(values, "(e n p) -> e n", "mean", n=count, p=copies)

    def rollout(self, start: Tensor, plan: Tensor, generator: Generator) -> Rollout:
        """Imagine the plans "B T A" from states "B Z". Steps are sampled from ``generator`` if there are particles."""
        draws = generator if self.particles else None
        return self.imagination.rollout(
            lambda state, t, _: plan[:, t], start, plan.shape[1], draws, fixed_member=True, halt_above=self.cap
        )

    def _plan_value(self, rollout: Rollout) -> Tensor:
        last_value = None if self.value is None else self.value(rollout.state[:, -1])
        return plan_value(rollout, self.weight, self.discount, self.halt_reward, last_value)
