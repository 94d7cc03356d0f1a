"""What training and imagination repeat never waits for the device: a GPU stays busy, and a CUDA graph can record it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.bench.latent import LatentShapes, LatentWorld
from pipeline.bench.world import BenchConfig, make_world
from pipeline.imagination import Imagination
from pipeline.policies import POLICIES
from pipeline.policies.actor_critic import ActorCriticConfig
from pipeline.policies.learner_spec import LearnerSpec
from pipeline.policies.sac import SAC, SACConfig
from pipeline.types import Transitions
from pipeline.uncertainty import MEASURES, Penalty
from pipeline.world_models.rssm import RSSMConfig

CPU = torch.device("cpu")
# Reads of a value, results whose size depends on values, and copies of Python numbers to the device.
WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "_unique2", "lift_fresh"}


class NoWaiting(TorchDispatchMode):
    """Raises AssertionError where a GPU would have to be waited for."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket.__name__
        indices = args[1] if name.startswith("index") and isinstance(args[1], list | tuple) else ()
        assert name not in WAITS, f"{name} waits for the device"
        assert not any(x.dtype == torch.bool for x in indices if x is not None), f"{name} waits for the device"
        return function(*args, **(kwargs or {}))


def repeat(act: Callable[[], object]) -> None:
    """Once as a warm-up, which makes what optimizers keep, and once without waiting."""
    act()
    with NoWaiting():
        act()


def small_world(**model: Any) -> LatentWorld:
    config = RSSMConfig(deter=8, stoch=2, classes=3, width=8, members=2, **model)
    learner = ActorCriticConfig(batch_size=4, horizon=3, hidden=[8])
    shapes = LatentShapes("vectors", {"state": [3]}, windows=4, steps=5, starts=4, model=config, learner=learner)
    return LatentWorld(shapes, CPU)


def gradient_step(loss: Callable[[], Tensor], optimizer: torch.optim.Optimizer) -> Callable[[], None]:
    def step() -> None:
        value = loss()
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        torch.nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], 1.0)
        optimizer.step()

    return step


WAITING: dict[str, Callable[[Tensor], object]] = {
    "item": lambda x: x.sum().item(),
    "float": lambda x: float(x[0]),
    "if": lambda x: bool(x.any()),
    "mask": lambda x: x[x > 1],
    "tensor": lambda x: torch.tensor([1.0, 2.0]),
    "new_tensor": lambda x: x.new_tensor([1.0]),
}


@pytest.mark.parametrize("act", WAITING.values(), ids=WAITING)
def test_what_waits_is_noticed(act: Callable[[Tensor], object]):
    with pytest.raises(AssertionError, match="waits for the device"), NoWaiting():
        act(torch.arange(3.0))


@pytest.mark.parametrize("recurrence", ["gru", "lstm"])
@pytest.mark.parametrize("latent", ["gaussian", "categorical"])
def test_a_gradient_step_of_the_rssm(latent: str, recurrence: str):
    world = small_world(latent=latent, recurrence=recurrence)
    repeat(gradient_step(lambda: world.model.loss(world.segments, world.draws)[0], world.model.optimizer()))


def test_a_gradient_step_of_the_ensemble():
    world = make_world(BenchConfig(rows=100, width=8, depth=1, batch=8), CPU)
    model, rows = world.ensemble(), world.rows(1)[0]
    repeat(gradient_step(lambda: model.loss(world.train[rows])[0], model.optimizer()))


@pytest.mark.parametrize("penalty", MEASURES)
def test_an_imagined_rollout_of_the_ensemble(penalty: str):
    world = make_world(BenchConfig(rows=100, width=8, depth=1, policies=[[8]]), CPU)
    imagination, learner = Imagination(world.ensemble(), Penalty(penalty)), world.learner()
    draws = world.generator("imagination")
    repeat(lambda: imagination.rollout(lambda s, t, g: learner.act(s, g), world.train.state[:4], 3, draws))


@pytest.mark.parametrize("latent", ["gaussian", "categorical"])
def test_an_update_of_the_actor_critic(latent: str):
    world = small_world(latent=latent)
    world.model.requires_grad_(False)
    state, zeros = world.starts(4), torch.zeros(4)
    batch = Transitions.from_log(state, torch.zeros(4, 3), zeros, state, zeros)
    repeat(lambda: world.learner.update(batch, world.imagination, world.draws))


@pytest.mark.parametrize("options", [{}, {"bc_weight": 1.0, "conservatism": 1.0, "halt_cost": 1.0}])
def test_an_update_of_sac(options: dict[str, float]):
    world = make_world(BenchConfig(rows=100, width=8, depth=1, batch=8, policies=[[8]]), CPU)
    task = LearnerSpec.of(17, 6, world.data_spec.statistics, penalty_weight=1.0)
    learner = SAC(SACConfig(hidden=[8], **options), task)
    batch, draws = world.train[:8], world.generator("policy")
    repeat(lambda: learner.update(batch, None, draws))


@pytest.mark.parametrize("name", [name for name, learner in POLICIES.items() if learner.model_free])
def test_an_update_of_a_learner_without_a_model(name: str):
    world = make_world(BenchConfig(rows=100, width=8, depth=1, batch=8, policies=[[8]]), CPU)
    task = LearnerSpec.of(17, 6, world.data_spec.statistics)
    learner = POLICIES[name](POLICIES[name].Config(hidden=[8]), task)
    batch, draws = world.train[:8], world.generator("policy")
    repeat(lambda: learner.update(batch, None, draws))
