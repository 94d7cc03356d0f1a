"""What the options of params.yaml need together: memory that this machine must have, and updates that take days.

Every estimate is a lower bound: weights with their gradients and Adam's two moments, and the activations of one batch
in float32, without what the logs add. So what is refused cannot run, and what passes may still be too much.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any

import psutil

from pipeline.imagination import RolloutConfig
from pipeline.policies.actor_critic import ActorCriticConfig
from pipeline.policies.planning.planner import PlannerConfig
from pipeline.training.config import FitConfig
from pipeline.world_models.gaussian_config import GaussianConfig
from pipeline.world_models.rssm_config import RSSMConfig

FIRST = "ingest"  # the stage before all others
GIB = 2**30
NUMBER = 4  # bytes of a float32
TRAINED = 4 * NUMBER  # bytes of a weight: itself, its gradient and two moments
STEP = 8  # numbers of a kept step beside its two states: action, reward, penalty, three flags, and the row in 64 bits
MANY_UPDATES = 10**8
PER_SECOND = 1000  # updates, at best, by order of magnitude


@dataclass(frozen=True)
class Need:
    """Memory that options need together; ``keys`` are what to lower."""

    keys: str
    bytes: float


def check_memory(configs: Mapping[str, Any], stage: str = FIRST, total: int | None = None) -> None:
    """Raises ValueError if something of ``configs``, as :func:`pipeline.stages.preflight.check` builds them, needs more
    memory than the ``total`` bytes of this machine. Other devices than the CPU have memory of their own, and only what
    stays outside of them counts. ``ingest`` comes before all others and asks for all; each other ``stage`` asks for
    what it does itself, because stages may run on different machines."""
    total = psutil.virtual_memory().total if total is None else total
    if configs["trainer"].accelerator != "cpu":
        return
    for need in needs(configs, stage):
        if need.bytes > total:
            raise ValueError(
                f"params.yaml: {need.keys} need at least {_gib(need.bytes)} of memory together, and this machine has "
                f"{_gib(total)}; lower one of them"
            )


def slow_trainings(configs: Mapping[str, Any]) -> Iterator[str]:
    """A line for each training that takes days."""
    updates = {
        "policy.updates": vars(configs["policy"][1]).get("updates", 0),
        **{f"{name}.updates": configs[name].updates for name in configs["baselines"]},
        "offline.updates": configs["offline"].updates,
        "offline.density_updates": configs["offline"].density_updates,
    }
    for key, count in updates.items():
        if count > MANY_UPDATES:
            hours = count / PER_SECOND / 3600
            yield f"`{key}: {count}` takes {hours:,.0f} hours at {PER_SECOND} updates a second"


def needs(configs: Mapping[str, Any], stage: str = FIRST) -> Iterable[Need]:
    """What the parts of ``stage`` need; of all stages for the first."""
    model, offline = configs["world_model"][1], configs["offline"]
    stages = {
        "fit_world_model": [world_model(model, configs["fit"])],
        "baseline": [need for name in configs["baselines"] for need in policy(configs[name], name)],
        "learn_policy": list(_learning(configs)),
        "evaluate_offline": [network("offline", offline.hidden, offline.batch_size, offline.critics)],
    }
    return chain(*stages.values()) if stage == FIRST else stages.get(stage, [])


def _learning(configs: Mapping[str, Any]) -> Iterator[Need]:
    learner, options = configs["policy"]
    if options.terminal_value is not None if learner.plans else learner.imagines:
        yield imagined_steps(configs["rollout"], state_numbers(configs["world_model"][1]))
    yield from policy(options, "policy")


def world_model(config: object, fit: FitConfig) -> Need:
    """A world model in training."""
    rows = fit.batch_size
    if isinstance(config, RSSMConfig):
        carry, latent = _state(config)
        weights = 3 * carry**2 + config.members * latent * config.width
        numbers = (carry + latent + config.width) * max(rows, fit.window)
        keys = "`fit.batch_size`, `fit.window` and `deter`, `stoch`, `classes`, `width` and `members` of `world_model`"
        return Need(keys, TRAINED * weights + NUMBER * numbers)
    if not isinstance(config, GaussianConfig):
        return Need("`world_model`", 0)
    members = vars(config).get("members", 1)
    keys = "`fit.batch_size` and `width`, `depth` and `members` of `world_model`"
    return Need(keys, mlp_bytes([config.width] * config.depth, rows, members))


def state_numbers(config: object) -> int:
    """Numbers of a state of the world model: those of ``rssm``; elsewhere at least one observed feature."""
    return sum(_state(config)) if isinstance(config, RSSMConfig) else 1


def _state(config: RSSMConfig) -> tuple[int, int]:
    """At least so many numbers of the carry and of the latent."""
    carry = 0 if config.recurrence == "none" else config.deter
    latent = config.stoch * (config.classes if config.latent == "categorical" else 1)
    return carry, 0 if config.latent == "point" else latent


def imagined_steps(config: RolloutConfig, state: int) -> Need:
    """The imagined steps that learners keep."""
    length = 1 if isinstance(config.length, str) else config.length
    steps = config.starts * length * config.retain
    return Need("`starts`, `length` and `retain` of `rollout`", NUMBER * steps * (2 * state + STEP))


def policy(config: object, place: str) -> Iterator[Need]:
    """A learner in training, or a planner that searches."""
    if isinstance(config, PlannerConfig):
        plans = config.population * config.horizon * max(config.particles, 1)
        yield Need("`population`, `horizon` and `particles` of `policy`", NUMBER * plans)
        if config.terminal_value is not None:
            yield from policy(config.terminal_value, f"{place}.terminal_value")
        return
    options = vars(config)
    if "hidden" not in options or "batch_size" not in options:
        return
    copies = options.get("critics", 1)
    rows = config.batch_size * config.horizon if isinstance(config, ActorCriticConfig) else options["batch_size"]
    yield network(place, options["hidden"], rows, copies)


def network(place: str, hidden: list[int], rows: int, copies: int = 1) -> Need:
    """Networks of one block in training."""
    several = "`hidden`, `critics` and `batch_size`" if copies > 1 else "`hidden` and `batch_size`"
    return Need(f"{several} of `{place}`", mlp_bytes(hidden, rows, copies))


def mlp_bytes(widths: list[int], rows: int, copies: int = 1) -> float:
    """Bytes of ``copies`` perceptrons with hidden layers of ``widths``, in training on ``rows`` rows each."""
    weights = sum(math.prod(pair) for pair in pairwise([1, *widths, 1]))
    return copies * (TRAINED * weights + NUMBER * rows * sum([1, *widths]))


def _gib(number: float) -> str:
    return f"{number / GIB:,.0f} GiB" if number < 1e6 * GIB else f"{number / GIB:.0e} GiB"
