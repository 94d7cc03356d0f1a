"""data/dataset -> data/bc/seed-K: the baseline, a policy that imitates the logs."""

import argparse
from pathlib import Path

from pipeline.data.dataset import PreparedDataset, open_dataset
from pipeline.data.lazy_transitions import MappedTransitions
from pipeline.data.transitions import facts_of, filtered
from pipeline.encoders.frame_stack import FramesConfig, StackedFrames
from pipeline.encoders.history import vector_filter
from pipeline.encoders.statistics import Facts
from pipeline.params import build, section
from pipeline.policies.bc import BehaviourCloning
from pipeline.policies.task import Task
from pipeline.serving.bundle import bundle_facts, filter_facts, save_bundle
from pipeline.serving.load_bundle import BundleFilter
from pipeline.serving.model_card import model_card
from pipeline.stages.learning import learn
from pipeline.stages.stage import stage
from pipeline.training.policy import PolicyTraining
from pipeline.training.replay_buffer import LoggedReplay, ReadReplay
from pipeline.training.trainer import TrainerConfig, seed_torch, set_up_torch

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
        filter, replay = seen_by_the_policy(dataset, facts, config.history)
        seed_torch(seed, "bc", "weights")
        sizes, kind = (filter.state_dim, facts.action_dim), dataset.spec.action_kind
        task = Task.of(*sizes, facts.statistics, action_kind=kind)
        learner = BehaviourCloning(config, task, images=filter.images if isinstance(filter, StackedFrames) else None)

        training = PolicyTraining(learner, replay, None, EPOCH, seed, "bc")
        learn(run, training, trainer_config)

        bundled = bundle_facts("bc", config, dataset, facts, seed, [], **filter_facts(filter))
        folder = Path(WRITES[0].format(seed=seed))
        save_bundle(folder, learner, filter, bundled, {"rows": training.history}, model_card(bundled))


def seen_by_the_policy(dataset: PreparedDataset, facts: Facts, history: int) -> tuple[BundleFilter, LoggedReplay]:
    """Its filter, and the transitions in that filter's states."""
    if not dataset.spec.image_keys:
        encoder = vector_filter(history, facts.obs_shapes, facts.statistics, facts.action_dim)
        return encoder, LoggedReplay(filtered(dataset, "train", encoder))
    if history:
        raise ValueError("params.yaml: images are stacked, and `bc.history` is for logs without them: set it to 0")
    config = FramesConfig()
    frames = StackedFrames(config, facts.obs_shapes, facts.statistics)
    return frames, ReadReplay(MappedTransitions(dataset, "train", frames, config.frames))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, required=True)
    main(parser.parse_args().seed)
