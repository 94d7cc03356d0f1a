"""Behavior cloning: the baseline, a policy that imitates the logs."""

from pipeline.data.dataset import IN_MEMORY, PreparedDataset
from pipeline.data.lazy_transitions import MappedTransitions
from pipeline.data.rows import logged_rows
from pipeline.data.transitions import build_data_spec
from pipeline.encoders import Encoder, StackedFrames, encoder_for
from pipeline.encoders.statistics import DataSpec
from pipeline.policies.bc import BCConfig, BehaviorCloning
from pipeline.policies.history import PolicyHistory
from pipeline.policies.learned import LearnedPolicy
from pipeline.policies.learner_spec import LearnerSpec
from pipeline.training.config import TrainerConfig, single
from pipeline.training.policy import PolicyTraining
from pipeline.training.replay_buffer import LoggedReplay, ReadReplay
from pipeline.training.session import Session, train
from pipeline.training.trainer import seed_torch

EPOCH = 1000  # updates between resume points


def behavior_cloning(
    config: BCConfig, dataset: PreparedDataset, trainer: TrainerConfig, seed: int, session: Session
) -> LearnedPolicy:
    """A policy that imitates the training split; it needs no world model.

    Raises ValueError for images with a history, and when a loss is not finite.
    """
    data = build_data_spec(dataset, trainer.logs_in_memory)
    encoder, replay = encoded_logs(dataset, data, config.history, trainer.logs_in_memory)
    seed_torch(seed, "bc", "weights")
    kind = dataset.spec.action_kind
    spec = LearnerSpec.of(encoder.state_dim, data.action_dim, data.statistics, action_kind=kind)
    learner = BehaviorCloning(config, spec, images=encoder.images if isinstance(encoder, StackedFrames) else None)
    training = PolicyTraining(learner, replay, None, EPOCH, seed, "bc")
    train(training, single(trainer), session)
    return LearnedPolicy("bc", learner, config, encoder, data, seed, history=PolicyHistory(training.history))


def encoded_logs(
    dataset: PreparedDataset, data: DataSpec, history: int, limit: float = IN_MEMORY
) -> tuple[Encoder, LoggedReplay]:
    """The policy's encoder, and the training transitions between the encoder's states."""
    encoder = encoder_for(data, history)
    if isinstance(encoder, StackedFrames):
        return encoder, ReadReplay(MappedTransitions(dataset, "train", encoder, encoder.config.frames))
    return encoder, LoggedReplay(logged_rows(dataset, "train", encoder, limit))
