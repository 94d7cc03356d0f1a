"""data/policy/seed-K, data/baselines/seed-K -> data/offline/seed-K.json: their value, estimated from the logs and the
world model alone."""

import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pipeline.data.dataset import open_dataset
from pipeline.ope import OfflineConfig
from pipeline.ope.evaluate_offline import evaluate_offline
from pipeline.ope.summary import ESTIMATORS, offline_numbers
from pipeline.params import build, section
from pipeline.policies import BASELINES
from pipeline.serving.agent import load_agent
from pipeline.serving.bundle import weights_digest
from pipeline.stages.stage import seed_argument, stage
from pipeline.training.config import TrainerConfig
from pipeline.training.trainer import set_up_torch
from pipeline.validation.records import DIGITS, save_record
from pipeline.world_models.checkpoint import load_world_model

READS = ["data/dataset", "data/world_model/seed-{seed}", "data/policy/seed-{seed}", "data/baselines/seed-{seed}"]
WRITES = ["data/offline/seed-{seed}.json"]
BLOCKS = ["world_model", "policy", "penalty", "rollout", "offline", "trainer"]  # those of the policy name it in MLflow


def main(seed: int) -> None:
    """Run the stage for one seed."""
    policy, baselines = (Path(folder.format(seed=seed)) for folder in READS[2:])

    def remove_unlisted(params: dict[str, Any]) -> None:
        for name in _remove_unlisted(baselines, params["baselines"]):
            print(f"{baselines / name}: removed, because `baselines` does not list it any more", flush=True)

    with stage("evaluate_offline", seed, prepare=remove_unlisted) as run:
        set_up_torch(build(TrainerConfig, section(run.params, "trainer"), "trainer"))
        config = build(OfflineConfig, section(run.params, "offline"), "offline")
        folders = {"policy": policy, **{name: baselines / name for name in run.params["baselines"]}}
        digest = weights_digest(policy)
        run.log_params({block: run.params[block] for block in BLOCKS} | {"policy_sha256": digest})
        dataset, model = open_dataset("data/dataset"), load_world_model(Path(READS[1].format(seed=seed)))
        run.log_dataset(dataset.spec, "data/dataset")
        agents = {name: load_agent(folder) for name, folder in folders.items()}

        result = evaluate_offline(agents, model, dataset, config, seed)

        save_record(result, run.output(WRITES[0].format(seed=seed)), allow_nan=True, digits=DIGITS, seal=True)
        logged = result.logged.value
        run.log_metrics(offline_numbers(result) | {"offline/logged": logged}, step=0)
        run.print(f"logged behavior: discounted return {logged:.1f}")
        for name, estimates in result.agents.items():
            values = {estimator: pick(estimates).value for estimator, pick in ESTIMATORS.items()}
            run.print(f"{name}: " + ", ".join(f"{k} {v:.1f}" for k, v in values.items() if v is not None))


def _remove_unlisted(folder: Path, names: Collection[str]) -> list[str]:
    """Remove the policies of baselines that are not among ``names``, and return what they are called. DVC would count
    them as read, so a copy of the project that never had them would run this stage again. DVC's cache keeps them."""
    unlisted = [name for name in BASELINES if name not in names and (folder / name).is_dir()]
    for name in unlisted:
        shutil.rmtree(folder / name)
    return unlisted


if __name__ == "__main__":
    main(seed_argument())
