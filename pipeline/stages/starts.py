"""``fit.start_from`` and ``policy.start_from`` are checked before any work: what they name is there, below the folder
that DVC watches, and fits the options of params.yaml and the logs."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.dataset import DatasetSpec
from pipeline.data.spec import read_spec
from pipeline.params import apart, section
from pipeline.policies.learner_spec import LearnerSpec
from pipeline.policies.start import PolicyStart, StartConfig
from pipeline.serving.policy_start import BUNDLE_FILE, load_policy_start
from pipeline.training.config import FitConfig
from pipeline.training.policy_start import OPTION, check_scales, check_start
from pipeline.training.warm_start import FIT, check_layout, seed_folder, stored_model, with_weights
from pipeline.world_models.checkpoint import MODEL_FILE
from pipeline.world_models.protocols import TrainableWorldModel

STAGES = ("ingest", "fit_world_model", "learn_policy")  # those that a start which does not fit would cost time
WORLD_MODELS, POLICIES = Path("data/start/world_model"), Path("data/start/policy")  # what dvc.yaml lists
SPEC = Path("data/dataset/spec.json")


def check_starts(configs: Mapping[str, Any], params: Mapping[str, Any], stage: str) -> None:
    """Raises ValueError of one line if a training of ``configs``, which :func:`pipeline.stages.preflight.check` builds
    from ``params``, cannot start where it should. Before ``ingest`` the logs are not known, and not compared."""
    fit: FitConfig = configs["fit"]
    policy = apart(StartConfig, section(params, "policy"), "policy")[0].start_from
    if stage not in STAGES or (fit.start_from, policy) == (None, None):
        return
    logs = read_spec(SPEC) if stage != "ingest" and SPEC.is_file() else None
    for seed in params["seeds"]:
        model = None if fit.start_from is None else _check_model(fit.start_from, seed, configs, logs)
        if policy is not None:
            _check_policy(policy, seed, str(params["policy"]["name"]), configs, logs, model)


def check_watched(start_from: str, watched: Path, option: str) -> None:
    """Raises ValueError unless ``start_from`` lies below ``watched``: DVC runs a stage again where a file that it
    lists has changed, and deletes what a stage writes before it runs."""
    if not Path(start_from).resolve().is_relative_to(watched.resolve()):
        raise ValueError(
            f"params.yaml: `{option}: {start_from}` is not below {watched}, which DVC watches: copy it there, such as "
            f"`cp -r data/{watched.name} {watched.parent}/`, and set `{option}: {watched}`"
        )


def _check_model(
    start_from: str, seed: int, configs: Mapping[str, Any], logs: DatasetSpec | None
) -> TrainableWorldModel:
    check_watched(start_from, WORLD_MODELS, FIT)
    folder = seed_folder(start_from, seed, MODEL_FILE, FIT)
    model_class, config = configs["world_model"]
    model = stored_model(model_class, config, folder)
    if logs is not None:
        check_layout(model.data_spec.obs_shapes, model.data_spec.layout, logs, f"{folder}", FIT)
    return model


def _check_policy(
    start_from: str,
    seed: int,
    name: str,
    configs: Mapping[str, Any],
    logs: DatasetSpec | None,
    model: TrainableWorldModel | None,
) -> None:
    check_watched(start_from, POLICIES, OPTION)
    start = load_policy_start(seed_folder(start_from, seed, BUNDLE_FILE, OPTION))
    policy_class, config = configs["policy"]
    check_start(start, name, logs)
    if model is not None:
        check_scales(start, model.data_spec)
    elif logs is not None:
        _check_same_logs(start, logs)
    if not policy_class.plans:  # those need a world model to be built
        data = start.data_spec
        sizes = (start.encoder.state_dim, data.action_dim, data.statistics)
        task = LearnerSpec.of(*sizes, action_kind=start.action_kind)
        build = partial(policy_class, task=task)
        with_weights(build, config, start.config, start.policy, start.place, "policy")


def _check_same_logs(start: PolicyStart, logs: DatasetSpec) -> None:
    """A world model from scratch has the scales of its logs: they are those of the policy for the same logs alone."""
    data = start.data_spec.statistics
    if not np.allclose([logs.reward_min, logs.reward_max], [data.reward_min, data.reward_max], rtol=1e-5, atol=0):
        raise ValueError(
            f"{start.place}: a world model that is fitted from scratch to these logs has other scales than the one the "
            f"policy learned in (rewards are {logs.reward_min:.6g} to {logs.reward_max:.6g}, and were "
            f"{data.reward_min:.6g} to {data.reward_max:.6g}): continue that one by `{FIT}`, or set `{OPTION}: null`"
        )
