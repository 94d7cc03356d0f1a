"""Baselines: policies that learn from logged transitions alone, without a world model."""

import dataclasses
from collections.abc import Callable
from typing import Any

from pipeline.data.dataset import IN_MEMORY, PreparedDataset
from pipeline.data.episode_draws import EpisodeDraws
from pipeline.data.lazy_transitions import MappedTransitions
from pipeline.data.rows import logged_actions, logged_rows
from pipeline.data.transitions import build_data_spec
from pipeline.encoders import Encoder, StackedFrames, encoder_for
from pipeline.encoders.statistics import DataSpec
from pipeline.policies import BASELINES
from pipeline.policies.history import PolicyHistory
from pipeline.policies.learned import LearnedPolicy
from pipeline.policies.learner_spec import LearnerSpec, action_spread
from pipeline.training.config import TrainerConfig, check_baseline, single
from pipeline.training.policy import Monitor, PolicyTraining
from pipeline.training.preferred_episodes import preferred_episodes
from pipeline.training.replay_buffer import LoggedReplay, ReadReplay
from pipeline.training.session import Session, train
from pipeline.training.trainer import seed_torch

EPOCH = 1000  # updates between resume points


def learn_baseline(
    name: str,
    config: Any,
    dataset: PreparedDataset,
    trainer: TrainerConfig,
    seed: int,
    session: Session,
    monitor: Callable[[LearnedPolicy], Monitor] | None = None,
) -> LearnedPolicy:
    """The policy that ``BASELINES[name]`` learns from the training split; ``config`` is an instance of that class's
    ``Config``. An option ``history`` adds past steps to its states, and one with ``image_depth`` sees images.
    ``monitor`` is built from the policy before its first update and adds its metrics to the history.

    Raises ValueError for images and actions that it cannot take, and when a loss is not finite.
    """
    check_baseline(name, BASELINES[name], config, dataset.spec)
    data = build_data_spec(dataset, trainer.logs_in_memory)
    draws = preferred_episodes(dataset, config, session.say)
    encoder, replay = encoded_logs(dataset, data, vars(config).get("history", 0), trainer.logs_in_memory, draws)
    spread = action_spread(logged_actions(dataset, "train"))
    sizes = (encoder.state_dim, data.action_dim, data.statistics)
    spec = LearnerSpec.of(*sizes, spread, action_kind=dataset.spec.action_kind)
    images = {"images": encoder.images} if isinstance(encoder, StackedFrames) else {}
    seed_torch(seed, name, "weights")
    learner = BASELINES[name](config, spec, **images)
    learned = LearnedPolicy(name, learner, config, encoder, data, seed)
    watch = None if monitor is None else monitor(learned)
    training = PolicyTraining(learner, replay, None, EPOCH, seed, name, watch)
    train(training, single(trainer), session)
    return dataclasses.replace(learned, history=PolicyHistory(training.history))


def encoded_logs(
    dataset: PreparedDataset,
    data: DataSpec,
    history: int,
    limit: float = IN_MEMORY,
    draws: EpisodeDraws | None = None,
) -> tuple[Encoder, LoggedReplay]:
    """The policy's encoder, and the training transitions between the encoder's states."""
    encoder = encoder_for(data, history)
    if isinstance(encoder, StackedFrames):
        return encoder, ReadReplay(MappedTransitions(dataset, "train", encoder, encoder.config.frames), draws)
    return encoder, LoggedReplay(logged_rows(dataset, "train", encoder, limit), draws)
