"""All of params.yaml is checked before any stage works, so a typing error in the last block does not cost the first."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pipeline.params import build, choose, did_you_mean, section
from pipeline.training.trainer import check_shares

if TYPE_CHECKING:
    from pipeline.imagination import RolloutConfig
    from pipeline.policies.protocols import Policy
    from pipeline.uncertainty import PenaltyConfig


def check(params: Mapping[str, Any]) -> None:
    """Raises ValueError that names the block, the key and the fix."""
    blocks = _blocks()
    for name in params:
        if name != "seeds" and name not in blocks:
            raise ValueError(f"params.yaml: unknown block `{name}`{did_you_mean(name, [*blocks, 'seeds'])}")
    check_seeds(params.get("seeds"))
    configs = {name: load(section(params, name), name) for name, load in blocks.items()}
    (model, _), fit = configs["world_model"], configs["fit"]
    learner, policy = configs["policy"]
    check_planner(learner, configs["penalty"].name)
    check_pessimism(configs["penalty"], configs["rollout"], policy)
    check_shares(configs["trainer"], fit.batch_size, fit.window if model.recurrent else 1)


def check_planner(learner: "type[Policy]", penalty: str) -> None:
    """A planner leaves for its environment with the model alone: neither logs nor a learner's value are there."""
    from pipeline.uncertainty import MEASURES

    if learner.plans and penalty not in MEASURES:
        raise ValueError(
            f"params.yaml: a planner cannot ask `penalty.name: {penalty}`: set one of {', '.join(MEASURES)}"
        )


def check_pessimism(penalty: "PenaltyConfig", rollout: "RolloutConfig", policy: object) -> None:
    """Options of ``penalty``, ``rollout`` and ``policy`` that only work together."""
    if penalty.name == "bellman" and isinstance(penalty.weight, str):
        raise ValueError("params.yaml: only the learner knows `penalty.name: bellman`: give `penalty.weight` a number")
    from pipeline.policies.sac import SACConfig

    halts = (rollout.halt_above, rollout.halt_quantile) != (None, None)
    if penalty.name == "bellman" and halts:
        raise ValueError(
            "params.yaml: `rollout.halt_above` and `halt_quantile` need a penalty known as it imagines, and "
            "`penalty.name: bellman` is not: set both to null"
        )
    if not isinstance(policy, SACConfig):
        return
    if policy.halt_cost is not None and not halts:
        raise ValueError("params.yaml: `policy.halt_cost` counts only where rollouts halt: set `rollout.halt_quantile`")
    if policy.conservatism > 0 and not 0 < round(rollout.real_ratio * policy.batch_size) < policy.batch_size:
        raise ValueError(
            f"params.yaml: `policy.conservatism` needs logged and imagined steps in a batch, and `rollout.real_ratio: "
            f"{rollout.real_ratio}` leaves one kind out: set it to 0.5"
        )


def check_seeds(seeds: Any) -> None:
    """``seeds`` is a list of distinct whole numbers from 0 on."""
    whole = isinstance(seeds, list) and all(type(seed) is int and seed >= 0 for seed in seeds)
    if not whole or not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"params.yaml: `seeds: {seeds}` must list distinct whole numbers from 0 on, such as [0, 1, 2]")


def _blocks() -> dict[str, Callable[[Mapping[str, Any], str], Any]]:
    """How each block is loaded; an entry here for every block of params.yaml."""
    from pipeline.evaluation import EvaluationConfig
    from pipeline.evaluation.monitor import MonitorConfig
    from pipeline.imagination import RolloutConfig
    from pipeline.ingest.sources import SOURCES
    from pipeline.ope import OfflineConfig
    from pipeline.policies import LEARNERS
    from pipeline.policies.bc import BehaviorCloning
    from pipeline.training.trainer import TrainerConfig
    from pipeline.training.world_model import FitConfig
    from pipeline.uncertainty import PenaltyConfig
    from pipeline.world_models import WORLD_MODELS

    return {
        "dataset": _family(SOURCES, key="source"),
        "world_model": _family(WORLD_MODELS),
        "fit": _config(FitConfig),
        "penalty": _config(PenaltyConfig),
        "rollout": _config(RolloutConfig),
        "policy": _family(LEARNERS),
        "bc": _config(BehaviorCloning.Config),
        "monitor": _config(MonitorConfig),
        "offline": _config(OfflineConfig),
        "evaluation": _config(EvaluationConfig),
        "trainer": _config(TrainerConfig),
    }


def _family(registry: Mapping[str, Any], key: str = "name") -> Callable[[Mapping[str, Any], str], Any]:
    return lambda block, where: choose(registry, block, where, key)


def _config(config: type) -> Callable[[Mapping[str, Any], str], Any]:
    return lambda block, where: build(config, block, where)
