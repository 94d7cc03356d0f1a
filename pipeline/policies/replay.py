"""Where a learner's batches come from: logged transitions, mixed with what was imagined lately."""

import torch
from torch import Generator, Tensor

from pipeline.imagination import Imagination, RolloutConfig
from pipeline.interfaces import PolicyLearner
from pipeline.types import Metrics, Transitions

CPU_ROWS = 512  # rows imagined at once on a CPU: the members' activations then stay in its cache


class LoggedReplay:
    """Batches of logged transitions alone."""

    def __init__(self, logged: Transitions) -> None:
        self.logged = logged

    def refresh(self, learner: PolicyLearner, generator: Generator) -> Metrics:
        return {}

    def batches(self, count: int, batch_size: int, generator: Generator) -> list[Transitions]:
        """``count`` batches, gathered in one go because one large gather is cheaper than many small ones."""
        rows = _draw(self.logged, count * batch_size, generator)
        return [rows[i * batch_size : (i + 1) * batch_size] for i in range(count)]

    def to(self, device: torch.device) -> None:
        self.logged = self.logged.to(device)

    def state(self) -> list[dict[str, Tensor]]:
        return []

    def load_state(self, state: list[dict[str, Tensor]]) -> None:
        pass


class MixedReplay(LoggedReplay):
    """A share of logged transitions in every batch; the rest from the last ``retain`` refreshes of imagination, with
    rollouts branching off logged states (MBPO, Janner et al. 2019, arXiv:1906.08253)."""

    def __init__(self, logged: Transitions, imagination: Imagination, config: RolloutConfig) -> None:
        super().__init__(logged)
        self.imagination, self.config = imagination, config
        self.refreshes: list[Transitions] = []
        self.imagined = logged[:0]

    @torch.no_grad()
    def refresh(self, learner: PolicyLearner, generator: Generator) -> Metrics:
        """Imagine with the policy as it is now; what was imagined too long ago is forgotten."""
        starts = _draw(self.logged, self.config.starts, generator).state
        rows = CPU_ROWS if starts.device.type == "cpu" else len(starts)
        actor = lambda state, t, draws: learner.act(state, draws)  # noqa: E731
        parts, alive = [], 0.0
        for start in starts.split(rows):
            rollout = self.imagination.rollout(
                actor, start, self.config.length, generator, self.config.fixed_member, self.config.halt_above
            )
            parts.append(rollout.transitions())
            alive += float(rollout.alive[:, -1].sum())
        fresh = Transitions.cat(parts)
        self.refreshes = [*self.refreshes, fresh][-self.config.retain :]
        self.imagined = Transitions.cat(self.refreshes)
        return {
            "imagined_reward": float(fresh.reward.mean()),
            "imagined_penalty": float(fresh.penalty.mean()),
            "imagined_terminal_rate": float(fresh.terminal.mean()),
            "imagined_survival": alive / len(starts),
            "imagined_transitions": float(len(fresh)),
        }

    def batches(self, count: int, batch_size: int, generator: Generator) -> list[Transitions]:
        real = round(self.config.real_share * batch_size)
        logged = _draw(self.logged, count * real, generator)
        imagined = _draw(self.imagined, count * (batch_size - real), generator)
        pairs = zip(_split(logged, count), _split(imagined, count), strict=True)
        return [Transitions.cat([a, b]) for a, b in pairs]

    def to(self, device: torch.device) -> None:
        super().to(device)
        self.imagined = self.imagined.to(device)
        self.refreshes = [r.to(device) for r in self.refreshes]

    def state(self) -> list[dict[str, Tensor]]:
        return [dict(vars(r)) for r in self.refreshes]

    def load_state(self, state: list[dict[str, Tensor]]) -> None:
        self.refreshes = [Transitions(**fields) for fields in state]
        self.imagined = Transitions.cat(self.refreshes) if self.refreshes else self.logged[:0]


def _draw(source: Transitions, count: int, generator: Generator) -> Transitions:
    device = source.state.device
    return source[torch.randint(max(len(source), 1), (count,), generator=generator, device=device)]


def _split(rows: Transitions, count: int) -> list[Transitions]:
    size = len(rows) // count
    return [rows[i * size : (i + 1) * size] for i in range(count)]
