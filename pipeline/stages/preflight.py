"""All of params.yaml is checked before any stage works, so a typing error in the last block does not cost the first."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.ingest.sources.plain_files import refuse_special
from pipeline.params import apart, build, choose, section
from pipeline.training.config import check_shares
from pipeline.validation import LARGEST_SEED, did_you_mean, short

if TYPE_CHECKING:
    from pipeline.imagination import RolloutConfig
    from pipeline.policies.protocols import Policy
    from pipeline.uncertainty import PenaltyConfig


def check(params: Mapping[str, Any], stage: str = "ingest") -> None:
    """Raises ValueError that names the block, the key and the fix. Prints a warning for trainings that take days. The
    files of the logs and the memory for all stages are checked for the first ``stage`` alone."""
    check_seeds(params.get("seeds"))  # before the imports of all rooms
    from pipeline.policies import BASELINES

    kinds = blocks()
    for name in params:
        if name not in LISTS and name not in kinds:
            raise ValueError(f"params.yaml: unknown block {short(name)}{did_you_mean(name[:100], [*kinds, *LISTS])}")
    unlisted = BASELINES.keys() - check_baselines(params)
    configs = {name: load(kind, params, name) for name, kind in kinds.items() if name in params or name not in unlisted}
    (model, _), fit = configs["world_model"], configs["fit"]
    learner, policy = configs["policy"]
    _, logs = configs["dataset"]
    for path in dict.fromkeys((logs.path, logs.held_out_path)) if stage == "ingest" else ():  # before it hashes them
        refuse_special(Path(path))
    check_planner(learner, configs["penalty"].name)
    check_pessimism(configs["penalty"], configs["rollout"], policy)
    check_shares(configs["trainer"], fit.batch_size, fit.window if model.recurrent else 1)
    check_logs({name: configs[name] for name in params["baselines"]}, stage)
    from pipeline.stages.sizes import check_memory, slow_trainings
    from pipeline.stages.starts import check_starts

    configs["baselines"] = params["baselines"]
    check_memory(configs, stage)
    check_starts(configs, params, stage)
    for line in slow_trainings(configs):
        print(f"warning: {line}")


def check_baselines(params: Mapping[str, Any]) -> list[str]:
    """The names in ``baselines``. Raises ValueError unless they are different learners that need no world model."""
    from pipeline.policies import BASELINES, LEARNERS

    names = params.get("baselines")
    choices = f"the learners {', '.join(BASELINES)}"
    if "baselines" not in params:
        raise ValueError("params.yaml: `baselines` is missing; add `baselines: [bc]`")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f"params.yaml: `baselines`: {short(names)} must list one or more of {choices}, such as [bc]")
    for name in names:
        place = f"params.yaml: `baselines`: {short(name)}"
        if name in LEARNERS and name not in BASELINES:
            raise ValueError(
                f"{place} needs a world model, so it is no baseline: choose it by `policy.name`, or list {choices}"
            )
        if name not in BASELINES:
            raise ValueError(f"{place} is unknown{did_you_mean(name[:100], BASELINES)}")
        if names.count(name) > 1:
            raise ValueError(f"{place} is there twice; remove one")
    return names


def check_listed(name: str, params: Mapping[str, Any]) -> None:
    """Raises ValueError if ``baselines`` does not list ``name``: the stages after it would not read what it learns."""
    if name not in params["baselines"]:
        raise ValueError(f"params.yaml: `baselines`: {short(params['baselines'])} does not list `{name}`; add it")


def without_unlisted(params: Mapping[str, Any]) -> dict[str, Any]:
    """``params`` without the blocks of baselines that they do not list, which no stage reads."""
    from pipeline.policies import BASELINES

    return {name: block for name, block in params.items() if name not in BASELINES.keys() - set(params["baselines"])}


def check_logs(baselines: Mapping[str, object], stage: str) -> None:
    """Raises ValueError for a baseline that cannot learn from the logs, as soon as the first stage has read them.
    ``baselines`` has the options by name."""
    from pipeline.data.spec import read_spec
    from pipeline.policies import BASELINES
    from pipeline.training.config import check_baseline

    file = Path("data/dataset/spec.json")
    if stage == "ingest" or not file.exists():
        return
    spec = read_spec(file)
    for name, config in baselines.items():
        check_baseline(name, BASELINES[name], config, spec)


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
    """``seeds`` is a list of distinct whole numbers from 0 to ``LARGEST_SEED``."""
    whole = isinstance(seeds, list) and all(type(seed) is int and 0 <= seed <= LARGEST_SEED for seed in seeds)
    if not whole or not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(
            f"params.yaml: `seeds`: {short(seeds)} must list distinct whole numbers from 0 to {LARGEST_SEED}, such as "
            "[0, 1, 2]"
        )


LISTS = ("seeds", "baselines")  # what is no block


@dataclass(frozen=True)
class Family:
    """A block whose ``key`` chooses a class, and so the options; those of ``common`` are there for every choice."""

    registry: Mapping[str, Any]
    key: str = "name"
    common: type | None = None


def blocks() -> dict[str, type | Family]:
    """What each block of params.yaml is built as; an entry here for every block. Those of ``BASELINES`` may be missing
    where ``baselines`` does not list them."""
    from pipeline.assessment import AssessmentConfig
    from pipeline.evaluation import EvaluationConfig, MonitorConfig
    from pipeline.imagination import RolloutConfig
    from pipeline.ingest.sources import SOURCES
    from pipeline.ope import OfflineConfig
    from pipeline.policies import BASELINES, LEARNERS
    from pipeline.policies.start import StartConfig
    from pipeline.training.config import FitConfig, TrainerConfig
    from pipeline.uncertainty import PenaltyConfig
    from pipeline.world_models import WORLD_MODELS

    return {
        "dataset": Family(SOURCES, key="source"),
        "world_model": Family(WORLD_MODELS),
        "fit": FitConfig,
        "assessment": AssessmentConfig,
        "penalty": PenaltyConfig,
        "rollout": RolloutConfig,
        "policy": Family(LEARNERS, common=StartConfig),
        **{name: learner.Config for name, learner in BASELINES.items()},
        "monitor": MonitorConfig,
        "offline": OfflineConfig,
        "evaluation": EvaluationConfig,
        "trainer": TrainerConfig,
    }


def load(kind: type | Family, params: Mapping[str, Any], name: str) -> Any:
    """The config of one block; for a family the chosen class and its config."""
    if isinstance(kind, Family):
        block = section(params, name)
        rest = block if kind.common is None else apart(kind.common, block, name)[1]
        return choose(kind.registry, rest, name, kind.key)
    return build(kind, section(params, name), name)
