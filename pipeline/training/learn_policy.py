"""Learn a policy in the pessimistic imagination of a world model."""

import dataclasses
from collections.abc import Callable
from typing import Any

from pipeline.data.dataset import DatasetSpec, PreparedDataset
from pipeline.data.episode_draws import EpisodeDraws
from pipeline.data.futures import logged_futures
from pipeline.data.rows import Rows, in_memory, logged_rows
from pipeline.envs.action_space import DISCRETE
from pipeline.imagination import Imagination, RolloutSpec
from pipeline.policies import LEARNERS
from pipeline.policies.history import PolicyHistory
from pipeline.policies.learned import LearnedPolicy
from pipeline.policies.learner_spec import LearnerSpec, action_spread
from pipeline.policies.planning.example_plans import example_plans
from pipeline.policies.protocols import Policy, PolicyLearner, TakesSegments, is_learner, is_planner, student_of
from pipeline.policies.start import PolicyStart
from pipeline.protocols import StateEncoder
from pipeline.seeding import generator
from pipeline.training.config import TrainerConfig, single
from pipeline.training.policy import Monitor, PolicyTraining
from pipeline.training.policy_start import check_scales, check_start, check_states, continued_policy, lineage
from pipeline.training.preferred_episodes import preferred_episodes
from pipeline.training.replay_buffer import LoggedReplay, MixedReplay
from pipeline.training.session import Session, train
from pipeline.training.trainer import seed_torch
from pipeline.types import Transitions
from pipeline.uncertainty import PenaltySpec, build_penalty
from pipeline.validation import counted
from pipeline.world_models.protocols import TrainableWorldModel

EPOCHS_PER_RESUME_POINT = 10


def learn_policy(
    name: str,
    config: Any,
    model: TrainableWorldModel,
    dataset: PreparedDataset,
    penalty: PenaltySpec,
    rollout: RolloutSpec,
    trainer: TrainerConfig,
    seed: int,
    session: Session,
    monitor: Callable[[LearnedPolicy], Monitor] | None = None,
    start: PolicyStart | None = None,
) -> LearnedPolicy:
    """The policy that ``LEARNERS[name]`` learns in imagination; ``config`` is an instance of that class's ``Config``.
    ``monitor`` is built from the policy before its first update and adds its metrics to the history. With a ``start``
    it continues from those weights.

    Raises ValueError for discrete actions and a policy that needs continuous ones, for a ``start`` that does not fit,
    and when a loss is not finite.
    """
    policy_class = LEARNERS[name]
    check_actions(policy_class, dataset.spec)
    encoder: StateEncoder = model if policy_class.plans else model.actor_encoder()
    if start is not None:
        check_start(start, name, dataset.spec)
        check_scales(start, model.data_spec)
        check_states(start, encoder, dataset, session.say)
    logged = logged_rows(dataset, "train", encoder, trainer.logs_in_memory)
    few = in_memory(logged)
    imagination = pessimistic(model, penalty, few, seed, dataset)
    spec = learner_spec(model, penalty.weight, few, dataset.spec.action_kind)
    seed_torch(seed, "policy", "weights")
    own = [imagination] if policy_class.plans else []

    def build(options: Any) -> Policy:
        return policy_class(options, spec, *own)

    policy = build(config) if start is None else continued_policy(build, config, start, few.state)
    rollouts = f"; rollouts of {counted(rollout.length, 'step')}" if is_learner(policy) and policy.imagines else ""
    session.say(f"penalty {penalty.name}, weight {penalty.weight:.3g}{rollouts}")
    learned = LearnedPolicy(
        name,
        policy,
        config,
        encoder,
        model.data_spec,
        seed,
        privileged_knowledge=model.privileged_knowledge(),
        penalty=dataclasses.asdict(penalty),
        start=None if start is None else lineage(start, policy),
    )
    watch = None if monitor is None else monitor(learned)
    student = student_of(policy)
    draws = None if student is None else preferred_episodes(dataset, student.config, session.say)
    training = training_of(student, logged, imagination, rollout, seed, watch, draws)
    if training is not None:
        train(training, single(trainer), session, EPOCHS_PER_RESUME_POINT)
    plans = None
    if is_planner(policy):
        model.cpu()  # a student may have trained on a GPU; agents act on the CPU
        held_out = logged_rows(dataset, "held_out", encoder, trainer.logs_in_memory)
        plans = example_plans(policy, in_memory(held_out), seed)
    rows = training.history if training is not None else []
    return dataclasses.replace(learned, history=PolicyHistory(rows, plans))


def pessimistic(
    model: TrainableWorldModel, penalty: PenaltySpec, logged: Transitions, seed: int, dataset: PreparedDataset
) -> Imagination:
    """The model's imagination with a penalty that was fitted to the logs, and with their exogenous values."""
    measure = build_penalty(penalty)
    measure.fit(logged, generator(seed, "penalty", "fit"))
    return Imagination(model, measure, logged_futures(dataset, model.data_spec.statistics))


def learner_spec(
    model: TrainableWorldModel, penalty_weight: float, logged: Transitions, action_kind: str
) -> LearnerSpec:
    """Sizes of the model's states and actions, and scales of the logs."""
    sizes = (model.state_dim, model.action_dim, model.data_spec.statistics)
    return LearnerSpec.of(*sizes, action_spread(logged.action), penalty_weight, action_kind)


def training_of(
    student: PolicyLearner | None,
    logged: Rows,
    imagination: Imagination,
    rollouts: RolloutSpec,
    seed: int,
    monitor: Monitor | None,
    draws: EpisodeDraws | None,
) -> PolicyTraining | None:
    """Training of a learner, or of a planner's student; None for a planner without one."""
    if student is None:
        return None
    segment = student.segment if isinstance(student, TakesSegments) else 1
    replay = LoggedReplay(logged, draws)
    if student.imagines:
        replay = MixedReplay(logged, imagination, rollouts, segment, draws)
    return PolicyTraining(student, replay, imagination, rollouts.refresh_every, seed, "policy", monitor)


def check_actions(policy_class: type[Policy], spec: DatasetSpec) -> None:
    """Raises ValueError for discrete actions and a policy that needs continuous ones."""
    if spec.action_kind == DISCRETE and not policy_class.discrete:
        able = " or ".join(f"`{name}`" for name, entry in LEARNERS.items() if entry.discrete)
        raise ValueError(f"params.yaml: this policy needs continuous actions, and these are discrete: choose {able}")
