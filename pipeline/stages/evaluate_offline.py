"""data/policy/seed-K, data/bc/seed-K -> data/offline/seed-K.json: what they are worth, judged from the logs and the
world model alone."""

import argparse
import json
from pathlib import Path

from pipeline.data.dataset import open_dataset
from pipeline.ope import OfflineConfig
from pipeline.ope.evaluator import PolicyEvaluator
from pipeline.ope.summary import SCHEMA_VERSION, flat
from pipeline.params import build, section
from pipeline.serving.agent import load_agent
from pipeline.serving.bundle import weights_digest
from pipeline.stages.stage import stage
from pipeline.training.trainer import TrainerConfig, set_up_torch
from pipeline.world_models.checkpoint import load_world_model

READS = ["data/dataset", "data/world_model/seed-{seed}", "data/policy/seed-{seed}", "data/bc/seed-{seed}"]
WRITES = ["data/offline/seed-{seed}.json"]
BLOCKS = ["world_model", "policy", "penalty", "rollout", "offline", "trainer"]  # those of the policy name it in MLflow


def main(seed: int) -> None:
    with stage("evaluate_offline", seed) as run:
        set_up_torch(build(TrainerConfig, section(run.params, "trainer"), "trainer"))
        config = build(OfflineConfig, section(run.params, "offline"), "offline")
        policy, bc = (Path(path.format(seed=seed)) for path in READS[2:])
        run.log_params({block: run.params[block] for block in BLOCKS} | {"policy_sha256": weights_digest(policy)})
        dataset = open_dataset("data/dataset")
        run.log_dataset(dataset.spec, "data/dataset")

        judge = PolicyEvaluator(dataset, load_world_model(Path(READS[1].format(seed=seed))), config, seed)
        agents = {name: judge(load_agent(folder)) for name, folder in (("policy", policy), ("bc", bc))}
        logged = judge.logged()
        file = Path(WRITES[0].format(seed=seed))
        file.parent.mkdir(parents=True, exist_ok=True)
        told = {"schema_version": SCHEMA_VERSION, "seed": seed, "discount": config.discount, "horizon": judge.horizon}
        file.write_text(json.dumps({**told, "logged": logged, "agents": agents}, indent=2) + "\n")

        numbers = {f"offline/{k}": v for k, v in flat(agents["policy"]).items()}
        numbers |= {f"offline/bc_{k}": v for k, v in flat(agents["bc"]).items()}
        run.log_metrics(numbers | {"offline/logged": logged["value"]}, step=0)
        run.print(f"logged behavior: discounted return {logged['value']:.1f}")
        for name, estimates in agents.items():
            said = {k: e["value"] for k, e in estimates.items() if e["value"] is not None}
            run.print(f"{name}: " + ", ".join(f"{k} {v:.1f}" for k, v in said.items()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, required=True)
    main(parser.parse_args().seed)
