"""data/dataset -> data/bc/seed-K: the baseline, a policy that imitates the logs."""

import argparse
from pathlib import Path

from pipeline.bundle import save_bundle
from pipeline.data.store import open_dataset
from pipeline.data.tensors import facts_of, filtered
from pipeline.params import build, section
from pipeline.policies.bc import BehaviourCloning
from pipeline.policies.learn import PolicyTraining
from pipeline.policies.replay import LoggedReplay
from pipeline.stages.bundling import bundle_facts, model_card
from pipeline.stages.learning import learn
from pipeline.standardise import StandardEncoder
from pipeline.tracking.stage import stage
from pipeline.training import TrainerConfig, seed_torch, set_up_torch

READS = ["data/dataset"]
WRITES = ["data/bc/seed-{seed}"]
BLOCKS = ["bc", "trainer"]
EPOCH = 1000  # updates between resume points


def main(seed: int) -> None:
    with stage("clone_behaviour", seed) as run:
        trainer_config = build(TrainerConfig, section(run.params, "trainer"), "trainer")
        config = build(BehaviourCloning.Config, section(run.params, "bc"), "bc")
        run.log_params({block: run.params[block] for block in BLOCKS})
        set_up_torch(trainer_config)

        dataset = open_dataset("data/dataset")
        run.log_dataset(dataset.spec, "data/dataset")
        facts = facts_of(dataset)
        encoder = StandardEncoder(facts.obs_shapes, facts.statistics)
        seed_torch(seed, "bc", "weights")
        learner = BehaviourCloning(config, encoder.state_dim, facts.action_dim)

        training = PolicyTraining(learner, LoggedReplay(filtered(dataset, "train", encoder)), None, EPOCH, seed, "bc")
        resume = learn(run, training, trainer_config)

        bundled = bundle_facts("bc", config, dataset, facts, seed, [])
        folder = Path(WRITES[0].format(seed=seed))
        save_bundle(folder, learner, encoder, bundled, {"rows": training.history}, model_card(bundled))
        resume.forget()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, required=True)
    main(parser.parse_args().seed)
