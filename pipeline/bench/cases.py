"""Cases of tensor work: the matmul ceiling, ensemble gradient steps, imagined transitions, policy updates."""

import itertools
import statistics
from collections.abc import Callable

import torch
from torch import Tensor

from pipeline.bench.plain import PlainEnsemble, PlainSAC
from pipeline.bench.rival import Rival
from pipeline.bench.timing import Result, Work, compare, matmul_precision, rates, repeated
from pipeline.bench.world import World
from pipeline.imagination import Imagination, RolloutSpec
from pipeline.training.replay_buffer import LoggedReplay, MixedReplay
from pipeline.uncertainty import Penalty

PRECISIONS = {"highest": "fp32", "medium": "medium"}  # of float32_matmul_precision, as the results name them
POOL = 50  # batches, drawn before the timing starts and used in turn
Ceilings = dict[str, float]  # "bmm" and "linear" -> GFLOP/s in fp32


def matmul_ceiling(world: World) -> list[Result]:
    """Speed of torch's matrix products at the shapes of the members' hidden layer and of one layer of the actor."""
    c = world.config
    device = world.device
    x = torch.randn(c.members, c.batch, c.width, device=device)
    w = torch.randn(c.members, c.width, c.width).to(device)
    y = torch.randn(c.batch, c.policies[0][0], device=device)
    v = torch.randn(c.policies[0][0], c.policies[0][0], device=device)
    gflop = {"bmm": 2e-9 * x.numel() * c.width, "linear": 2e-9 * y.numel() * c.policies[0][0]}
    rivals = {
        ("bmm", f"bmm {c.members}x{c.batch}x{c.width}x{c.width}"): lambda: torch.bmm(x, w),
        ("linear", f"linear {c.batch}x{c.policies[0][0]}x{c.policies[0][0]}"): lambda: torch.nn.functional.linear(y, v),
    }
    results = []
    for ((kind, shape), product), name in itertools.product(rivals.items(), PRECISIONS):
        with matmul_precision(name), torch.no_grad():
            repeats = rates({"": repeated(product, gflop[kind])}, c.seconds / 4, device)[""]
        median = statistics.median(repeats)
        results.append(Result(shape, "torch", device.type, PRECISIONS[name], "GFLOP", median, repeats, median))
    return results


def ceilings(results: list[Result]) -> Ceilings:
    """The fp32 speeds of :func:`matmul_ceiling`."""
    return {r.case.split()[0]: r.rate for r in results if r.precision == "fp32"}


def ensemble_steps(world: World, ceiling: Ceilings, rivals: list[Rival]) -> list[Result]:
    """Gradient steps of the Gaussian ensemble."""
    fused = world.ensemble()
    plain = PlainEnsemble(world.ensemble())
    rows = itertools.cycle(world.rows(POOL))
    own = {
        "ours": descend(lambda: fused.loss(world.train[next(rows)])[0], fused.optimizer()),
        "plain": descend(lambda: plain.loss(world.train[next(rows)]), plain.optimizer()),
    }
    others = _works(rivals, "ensemble")
    return compare("ensemble", "gradient steps", own, others, world.config.seconds, world.device, ceiling["bmm"])


def _works(rivals: list[Rival], case: str) -> dict[str, Work]:
    return {who: work for rival in rivals for who, work in rival.works(case).items()}


def descend(loss: Callable[[], Tensor], optimizer: torch.optim.Optimizer) -> Work:
    """Work of one gradient step on ``loss``."""

    def work() -> float:
        value = loss()
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()
        return 1.0

    return work


def imagined_transitions(world: World, ceiling: Ceilings, rivals: list[Rival]) -> list[Result]:
    """Imagined transitions: the policy acts, all members predict, one is sampled, and the step is penalized and
    stored."""
    c = world.config
    model = world.ensemble()
    learner = world.learner()
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

    own: dict[str, Work] = {"ours": ours, "plain": by_loop}
    others = _works(rivals, "imagination")
    return compare("imagination", "transitions", own, others, c.seconds, world.device, ceiling["bmm"])


def policy_updates(world: World, ceiling: Ceilings, rivals: list[Rival]) -> list[Result]:
    """Updates of soft actor-critic, for each width of its hidden layers."""
    return [x for hidden in world.config.policies for x in _updates(world, hidden, ceiling, rivals)]


def _updates(world: World, hidden: list[int], ceiling: Ceilings, rivals: list[Rival]) -> list[Result]:
    c = world.config
    fused = world.learner(hidden=hidden)
    plain = PlainSAC(world.learner(hidden=hidden))
    draws = world.generator("policy")
    batches = itertools.cycle(LoggedReplay(world.train).batches(POOL, c.batch, draws))

    def ours() -> float:
        fused.update(next(batches), None, draws)
        return 1.0

    def by_loop() -> float:
        plain.update(next(batches), draws)
        return 1.0

    own: dict[str, Work] = {"ours": ours, "plain": by_loop}
    case = f"policy {'x'.join(map(str, hidden))}"
    return compare(case, "updates", own, _works(rivals, case), c.seconds, world.device, ceiling["linear"])
