"""Cases of a recurrent model: gradient steps, imagined steps, and actor-critic updates through the model."""

import math
import statistics
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from pipeline.bench.timing import Result, Work, compare, rates, repeated
from pipeline.encoders.statistics import DataSpec, Statistics
from pipeline.imagination import Imagination
from pipeline.policies.actor_critic import ActorCritic, ActorCriticConfig
from pipeline.policies.learner_spec import LearnerSpec
from pipeline.seeding import generator, seed_of
from pipeline.types import Observation, Segments, Transitions
from pipeline.uncertainty import Penalty
from pipeline.world_models.rssm import RSSM, RSSMConfig

ROWS = 1000  # synthetic transitions from which normalization statistics are computed


@dataclass(frozen=True)
class LatentShapes:
    """Sizes of one recurrent model, of its training windows, and of the learner that imagines in it."""

    name: str
    obs_shapes: dict[str, list[int]]
    action: int = 3
    windows: int = 16
    steps: int = 32
    starts: int = 512  # imagined rollouts at once
    model: RSSMConfig = field(default_factory=RSSMConfig)
    learner: ActorCriticConfig = field(default_factory=ActorCriticConfig)

    def __str__(self) -> str:
        m = self.model
        c = self.learner
        stoch = f"{m.stoch}x{m.classes}" if m.latent == "categorical" else m.stoch
        shapes = ", ".join("x".join(map(str, shape)) for shape in self.obs_shapes.values())
        return (
            f"{self.name}: observations {shapes}, {self.action} actions, deter {m.deter}, stoch {stoch} {m.latent}, "
            f"width {m.width}, image depth {m.image_depth}, {m.members} prior heads, {self.windows} windows of "
            f"{self.steps}; {self.starts} rollouts of {c.horizon} steps with penalty; actor-critic "
            f"{'x'.join(map(str, c.hidden))}, batch {c.batch_size}"
        )


def usual_shapes() -> list[LatentShapes]:
    """The vectors of Hopper, and small images."""
    return [LatentShapes("vectors", {"state": [11]}), LatentShapes("images", {"pixels": [32, 32, 3]})]


def large_shapes() -> list[LatentShapes]:
    """The sizes of DreamerV3's size12m (Hafner et al. 2023, arXiv:2301.04104), for a GPU. Ours has a dense recurrence;
    theirs is block-diagonal."""
    model = RSSMConfig(latent="categorical", deter=2048, stoch=32, classes=16, width=256, members=1)
    learner = ActorCriticConfig(batch_size=1024, hidden=[256, 256, 256])
    shapes = {"pixels": [64, 64, 3]}
    return [LatentShapes("size12m", shapes, action=6, steps=64, starts=1024, model=model, learner=learner)]


class LatentWorld:
    """A recurrent model, windows of noise, and a learner."""

    def __init__(self, shapes: LatentShapes, device: torch.device) -> None:
        self.shapes = shapes
        self.device = device
        draws = generator(0, "bench", shapes.name)
        batch, steps = shapes.windows, shapes.steps
        torch.manual_seed(seed_of(0, "bench", "rssm"))
        self.model = RSSM(shapes.model, _data_spec(shapes, draws)).to(device)
        self.segments = Segments(
            action=torch.rand(batch, steps, shapes.action, generator=draws) * 2 - 1,
            reward=torch.randn(batch, steps, generator=draws),
            terminal=torch.zeros(batch, steps),
            valid=torch.ones(batch, steps),
            obs=_noise(shapes.obs_shapes, (batch, steps + 1), draws),
        ).to(device)
        self.learner = ActorCritic(
            shapes.learner, LearnerSpec(self.model.state_dim, shapes.action, penalty_weight=1.0)
        ).to(device)
        self.imagination = Imagination(self.model, Penalty("disagreement"))
        self.draws = generator(0, "bench", "rssm", device=device)

    def starts(self, count: int) -> Tensor:
        """``count`` states "B Z" filtered from the windows, repeated as needed."""
        with torch.no_grad():
            states = self.model.filter_window(self.segments, None).state.flatten(0, 1)
        return states[torch.arange(count, device=self.device) % len(states)]


def latent_cases(shapes: LatentShapes, device: torch.device, seconds: float) -> list[Result]:
    """Gradient steps with clipping, imagined steps and actor-critic updates, and the matrix product that is their
    ceiling."""
    world = LatentWorld(shapes, device)
    product = _product(shapes, device, seconds)
    results = [product]
    works = {"rssm": "gradient steps", "rssm imagination": "steps", "actor-critic": "updates"}
    for (case, unit), work in zip(works.items(), (_fit(world), _imagine(world), _update(world)), strict=True):
        world.model.requires_grad_(case == "rssm")  # learners do not train the world model
        results += compare(f"{case}, {shapes.name}", unit, {"ours": work}, {}, seconds, device, product.rate)
    return results


def _fit(world: LatentWorld) -> Work:
    model = world.model
    optimizer = model.optimizer()

    def work() -> float:
        loss, _ = model.loss(world.segments, world.draws)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), model.gradient_clip)
        optimizer.step()
        return 1.0

    return work


def _imagine(world: LatentWorld) -> Work:
    starts = world.starts(world.shapes.starts)
    horizon = world.shapes.learner.horizon

    @torch.no_grad()
    def work() -> float:
        rollout = world.imagination.rollout(lambda s, t, g: world.learner.act(s, g), starts, horizon, world.draws)
        return float(rollout.reward.numel())

    return work


def _update(world: LatentWorld) -> Work:
    state = world.starts(world.shapes.learner.batch_size)
    zeros = torch.zeros(len(state), device=world.device)
    action = zeros.new_zeros(len(state), world.shapes.action)
    batch = Transitions.from_log(state, action, zeros, state, zeros)

    def work() -> float:
        world.learner.update(batch, world.imagination, world.draws)
        return 1.0

    return work


def _product(shapes: LatentShapes, device: torch.device, seconds: float) -> Result:
    """The matrix product of one hidden layer on all steps of a batch."""
    rows, width = shapes.windows * shapes.steps, shapes.model.width
    x, w = torch.randn(rows, width, device=device), torch.randn(width, width, device=device)
    work = repeated(lambda: nn.functional.linear(x, w), 2e-9 * rows * width**2)
    with torch.no_grad():
        repeats = rates({"": work}, seconds / 4, device)[""]
    rate = statistics.median(repeats)
    return Result(f"linear {rows}x{width}x{width}", "torch", device.type, "fp32", "GFLOP", rate, repeats, rate)


def _data_spec(shapes: LatentShapes, draws: torch.Generator) -> DataSpec:
    obs_dim = sum(math.prod(shape) for shape in shapes.obs_shapes.values() if len(shape) < 3)
    obs, next_obs = torch.randn(2, ROWS, obs_dim, generator=draws)
    reward = torch.randn(ROWS, generator=draws)
    terminal = (torch.arange(ROWS) % 100 == 0).float()
    return DataSpec(Statistics.of(obs, next_obs, reward, terminal), shapes.obs_shapes, shapes.action, ROWS)


def _noise(obs_shapes: dict[str, list[int]], lead: tuple[int, int], draws: torch.Generator) -> Observation:
    return {
        key: torch.randint(256, (*lead, *shape), generator=draws, dtype=torch.uint8)
        if len(shape) == 3
        else torch.randn(*lead, *shape, generator=draws)
        for key, shape in obs_shapes.items()
    }
