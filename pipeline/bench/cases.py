"""The cases in tensor work: the matmul ceiling, ensemble gradient steps, imagined transitions, policy updates."""

import itertools
import statistics
from collections.abc import Callable

import torch
from torch import Tensor

from pipeline.bench.plain import PlainEnsemble, PlainSAC
from pipeline.bench.timing import Result, Work, compare, matmul_precision, rates, twenty
from pipeline.bench.world import World
from pipeline.imagination import Imagination, RolloutSpec
from pipeline.training.replay_buffer import LoggedReplay, MixedReplay
from pipeline.uncertainty import Penalty

PRECISIONS = {"highest": "fp32", "medium": "medium"}  # of float32_matmul_precision, as the results name them
POOL = 50  # batches drawn before the clock starts and used in turn
Ceilings = dict[str, float]  # "bmm" and "linear" -> GFLOP/s in fp32


def matmul_ceiling(world: World) -> list[Result]:
    """What torch reaches at the very shapes used: the members' hidden layer, and one layer of actor and critics."""
    c, device = world.config, world.device
    x, w = torch.randn(c.members, c.batch, c.width, device=device), torch.randn(c.members, c.width, c.width)
    y, v = torch.randn(c.batch, c.hidden[0], device=device), torch.randn(c.hidden[0], c.hidden[0], device=device)
    w = w.to(device)
    gflop = {"bmm": 2e-9 * x.numel() * c.width, "linear": 2e-9 * y.numel() * c.hidden[0]}
    rivals = {
        ("bmm", f"bmm {c.members}x{c.batch}x{c.width}x{c.width}"): lambda: torch.bmm(x, w),
        ("linear", f"linear {c.batch}x{c.hidden[0]}x{c.hidden[0]}"): lambda: torch.nn.functional.linear(y, v),
    }
    results = []
    for ((kind, shape), product), name in itertools.product(rivals.items(), PRECISIONS):
        with matmul_precision(name), torch.no_grad():
            repeats = rates({"": twenty(product, gflop[kind])}, c.seconds / 4, device)[""]
        median = statistics.median(repeats)
        results.append(Result(shape, "torch", device.type, PRECISIONS[name], "GFLOP", median, repeats, median))
    return results


def ceilings(results: list[Result]) -> Ceilings:
    return {r.case.split()[0]: r.rate for r in results if r.precision == "fp32"}


def ensemble_steps(world: World, ceiling: Ceilings) -> list[Result]:
    fused = world.ensemble()
    plain = PlainEnsemble(world.ensemble())
    rows = itertools.cycle(world.rows(POOL))
    rivals = {
        "ours": descend(lambda: fused.loss(world.train[next(rows)])[0], fused.optimizer()),
        "plain": descend(lambda: plain.loss(world.train[next(rows)]), plain.optimizer()),
    }
    return compare("ensemble", "gradient steps", rivals, world.config.seconds, world.device, ceiling["bmm"])


def descend(loss: Callable[[], Tensor], optimizer: torch.optim.Optimizer) -> Work:
    """One gradient step."""

    def work() -> float:
        value = loss()
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()
        return 1.0

    return work


def imagined_transitions(world: World, ceiling: Ceilings) -> list[Result]:
    """The policy acts, every member predicts, one is drawn, the penalty is taken, the steps are stored."""
    c, model, learner = world.config, world.ensemble(), world.learner()
    penalty = Penalty("ensemble_std")
    replay = MixedReplay(world.train, Imagination(model, penalty), RolloutSpec(length=c.horizon, starts=c.starts))
    plain = Imagination(PlainEnsemble(model), penalty)  # type: ignore[arg-type]
    draws = world.generator("imagination")

    def ours() -> float:
        return replay.refresh(learner, draws)["imagined_transitions"]

    @torch.no_grad()
    def by_loop() -> float:
        start = world.train[torch.randint(len(world.train), (c.starts,), generator=draws, device=world.device)].state
        rollout = plain.rollout(lambda state, t, g: learner.act(state, g), start, c.horizon, draws)
        return float(len(rollout.transitions()))

    rivals: dict[str, Work] = {"ours": ours, "plain": by_loop}
    return compare("imagination", "transitions", rivals, c.seconds, world.device, ceiling["bmm"])


def policy_updates(world: World, ceiling: Ceilings) -> list[Result]:
    c, fused = world.config, world.learner()
    plain = PlainSAC(world.learner())
    draws = world.generator("policy")
    batches = itertools.cycle(LoggedReplay(world.train).batches(POOL, c.batch, draws))

    def ours() -> float:
        fused.update(next(batches), None, draws)
        return 1.0

    def by_loop() -> float:
        plain.update(next(batches), draws)
        return 1.0

    rivals: dict[str, Work] = {"ours": ours, "plain": by_loop}
    return compare("policy", "updates", rivals, c.seconds, world.device, ceiling["linear"])
