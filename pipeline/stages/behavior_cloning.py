"""data/dataset -> data/bc/seed-K: the baseline, a policy that imitates the logs."""

import argparse
from pathlib import Path

from pipeline.data.dataset import PreparedDataset, open_dataset
from pipeline.data.lazy_transitions import MappedTransitions
from pipeline.data.transitions import build_data_spec, encode_transitions
from pipeline.encoders.frame_stack import FramesConfig, StackedFrames
from pipeline.encoders.history import HistoryEncoder, vector_encoder
from pipeline.encoders.standard import StandardEncoder
from pipeline.encoders.statistics import DataSpec
from pipeline.params import build, section
from pipeline.policies.bc import BehaviorCloning
from pipeline.policies.task import LearnerSpec
from pipeline.serving.bundle import bundle_spec, encoder_spec, save_bundle
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
LogEncoder = StandardEncoder | HistoryEncoder | StackedFrames  # an encoder that needs no world model


def main(seed: int) -> None:
    with stage("behavior_cloning", seed) as run:
        trainer_config = build(TrainerConfig, section(run.params, "trainer"), "trainer")
        config = build(BehaviorCloning.Config, section(run.params, "bc"), "bc")
        run.log_params({block: run.params[block] for block in BLOCKS})
        set_up_torch(trainer_config)

        dataset = open_dataset("data/dataset")
        run.log_dataset(dataset.spec, "data/dataset")
        facts = build_data_spec(dataset)
        encoder, replay = seen_by_the_policy(dataset, facts, config.history)
        seed_torch(seed, "bc", "weights")
        sizes, kind = (encoder.state_dim, facts.action_dim), dataset.spec.action_kind
        task = LearnerSpec.of(*sizes, facts.statistics, action_kind=kind)
        learner = BehaviorCloning(config, task, images=encoder.images if isinstance(encoder, StackedFrames) else None)

        training = PolicyTraining(learner, replay, None, EPOCH, seed, "bc")
        learn(run, training, trainer_config)

        bundled = bundle_spec("bc", config, dataset, facts, seed, [], **encoder_spec(encoder))
        folder = Path(WRITES[0].format(seed=seed))
        save_bundle(folder, learner, encoder, bundled, {"rows": training.history}, model_card(bundled))


def seen_by_the_policy(dataset: PreparedDataset, facts: DataSpec, history: int) -> tuple[LogEncoder, LoggedReplay]:
    """Its filter, and the transitions in that filter's states."""
    if not dataset.spec.image_keys:
        encoder = vector_encoder(history, facts.obs_shapes, facts.statistics, facts.action_dim)
        return encoder, LoggedReplay(encode_transitions(dataset, "train", encoder))
    if history:
        raise ValueError("params.yaml: images are stacked, and `bc.history` is for logs without them: set it to 0")
    config = FramesConfig()
    frames = StackedFrames(config, facts.obs_shapes, facts.statistics)
    return frames, ReadReplay(MappedTransitions(dataset, "train", frames, config.frames))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, required=True)
    main(parser.parse_args().seed)
