"""What a plan is worth: what the world model promises, less what its uncertainty costs."""

from collections.abc import Callable

import torch
from einops import reduce, repeat
from torch import Generator, Tensor
from torch.nn import functional as F

from pipeline.imagination import Imagination
from pipeline.policies.losses import survival_probability
from pipeline.types import Rollout

CPU_ROWS = 512  # rows imagined at once on a CPU: the members' activations then stay in its cache


def plan_value(
    rollout: Rollout, weight: float, discount: float, worst: float, last_value: Tensor | None = None
) -> Tensor:
    """Discounted sum "B" of what every step of a plan is expected to be worth, in the log's unit of reward.

    A step counts its reward minus ``weight`` times its penalty, with the probability that the episode gets that far. An
    end does not stop the penalty, so that death does not pay: that of the ending step is paid for every step the plan
    has left. A halt is worth ``worst`` at once and for every step left. ``last_value`` "B" is the value of the last
    state; the steps left are then without end.
    """
    steps = rollout.reward.shape[1]
    powers = discount ** torch.arange(steps, device=rollout.reward.device)
    halted = rollout.halted.bool()
    ends = torch.where(halted | rollout.terminal.bool(), 1.0, 1 - rollout.continue_prob)
    reached = survival_probability(1 - ends)
    left = F.pad(powers.cumsum(0)[:-1], (1, 0)).flip(0)  # discounted number of steps after each
    if last_value is not None:
        left = torch.full_like(left, 1 / (1 - discount))
    cost = weight * rollout.penalty
    now = torch.where(halted, worst, rollout.reward - cost)
    after = torch.where(halted, worst, -cost)
    total = (powers * reached * (now + discount * ends * left * after)).sum(1)
    if last_value is not None:
        total = total + discount**steps * reached[:, -1] * (1 - ends[:, -1]) * last_value
    return total


class Objective:
    """Imagines plans and says what they are worth. ``value`` gives the worth "B" of last states "B Z".

    With ``particles`` 0 a plan is imagined once, by the members' mean without noise; else that many times with drawn
    steps, one member for a whole plan (TS-infinity of PETS, Chua et al. 2018, arXiv:1805.12114), and its worth is their
    mean. ``cap``, in standard deviations of the logged reward, is the penalty that halts a plan (MOReL, Kidambi et al.
    2020, arXiv:2005.05951); what is worth least in the logs is then paid from there on.
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
        self.imagination, self.weight, self.discount = imagination, weight, discount
        self.cap, self.particles, self.value = cap, particles, value
        most = 0.0 if cap is None else weight * cap * imagination.model.reward_scale
        self.worst = min(lowest_reward, 0.0) - most

    def __call__(self, state: Tensor, plans: Tensor, generator: Generator) -> Tensor:
        """Worth "E N" of plans "E N T A" from states "E Z"."""
        _, count, _, _ = plans.shape
        copies = max(self.particles, 1)
        start = repeat(state, "e z -> (e n p) z", n=count, p=copies)
        actions = repeat(plans, "e n t a -> (e n p) t a", p=copies)
        rows = CPU_ROWS if start.device.type == "cpu" else len(start)
        parts = zip(start.split(rows), actions.split(rows), strict=True)
        worth = torch.cat([self._worth(self.rollout(s, a, generator)) for s, a in parts])
        return reduce(worth, "(e n p) -> e n", "mean", n=count, p=copies)

    def rollout(self, start: Tensor, plan: Tensor, generator: Generator) -> Rollout:
        """Imagine the plans "B T A" from states "B Z"."""
        draws = generator if self.particles else None
        return self.imagination.rollout(
            lambda state, t, _: plan[:, t], start, plan.shape[1], draws, fixed_member=True, halt_above=self.cap
        )

    def _worth(self, rollout: Rollout) -> Tensor:
        last = None if self.value is None else self.value(rollout.state[:, -1])
        return plan_value(rollout, self.weight, self.discount, self.worst, last)
