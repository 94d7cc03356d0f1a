"""What runs and models are called in MLflow: by the choices that tell them apart."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

# The block of params.yaml whose choice a stage is named by, and the key of the choice.
CHOICE = {
    "ingest": ("dataset", "source"),
    "fit_world_model": ("world_model", "name"),
    "assess_world_model": ("world_model", "name"),
    "learn_policy": ("policy", "name"),
    "evaluate_offline": ("policy", "name"),
    "evaluate": ("policy", "name"),
}


def parent_name(params: Mapping[str, Any], dataset: str | None = None, experiment: str | None = None) -> str:
    """``mountaincar sac ensemble_std w0.5 seed 0``, behind the name of the DVC experiment where there is one. Until the
    logs are read, ``dataset`` is None, and params.yaml names it."""
    learner, penalty = _block(params, "policy").get("name"), _block(params, "penalty")
    weight = penalty.get("weight")
    pessimism = [penalty.get("name"), "w auto" if weight == "auto" else None if weight is None else f"w{weight}"]
    from pipeline.policies import BASELINES  # they need no world model, and so no penalty

    parts = [dataset or _dataset(params), learner, *([] if learner in BASELINES else pessimism)]
    parts.append(_seeds(params["seeds"]))
    name = " ".join(str(part) for part in parts if part)
    return f"{experiment}: {name}" if experiment else name


def stage_name(stage: str, seed: int | None, params: Mapping[str, Any], choice: str | None = None) -> str:
    """``learn_policy sac seed 0``; ``choice`` is what the stage is run for, where params.yaml lists several."""
    block, key = CHOICE.get(stage, ("", ""))
    choice = choice or _block(params, block).get(key)
    return " ".join(str(part) for part in (stage, choice, None if seed is None else f"seed {seed}") if part)


def model_name(dataset: str, learner: str, seed: int) -> str:
    """``mountaincar-sac-seed-0``; MLflow refuses some signs in the name of a model."""
    return re.sub(r"[^\w-]+", "-", f"{dataset}-{learner}-seed-{seed}")


def _block(params: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    block = params.get(name)
    return block if isinstance(block, Mapping) else {}


def _dataset(params: Mapping[str, Any]) -> str | None:
    block = _block(params, "dataset")
    return next((block[key] for key in ("name", "dataset_id", "source") if block.get(key)), None)


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed {seeds[0]}" if len(seeds) == 1 else "seeds " + ",".join(str(seed) for seed in seeds)
