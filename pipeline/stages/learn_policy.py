"""data/world_model/seed-K -> data/policy/seed-K: learn a policy in pessimistic imagination."""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from pipeline.data.dataset import DatasetSpec, open_dataset
from pipeline.data.transitions import encode_transitions
from pipeline.envs.action_space import DISCRETE
from pipeline.evaluation.monitor import Monitor, MonitorConfig
from pipeline.imagination import Imagination, RolloutConfig, RolloutSpec
from pipeline.params import build, choose, section
from pipeline.policies import LEARNERS
from pipeline.policies.planning.example_plans import example_plans
from pipeline.policies.protocols import Policy, is_learner, is_planner
from pipeline.policies.task import LearnerSpec
from pipeline.protocols import StateEncoder
from pipeline.seeding import generator
from pipeline.serving.agent import load_agent
from pipeline.serving.bundle import bundle_spec, encoder_spec, save_bundle
from pipeline.serving.input_example import served_example
from pipeline.serving.mlflow_logging import log_policy
from pipeline.serving.model_card import model_card
from pipeline.stages.learning import learn
from pipeline.stages.stage import stage
from pipeline.training.policy import PolicyTraining
from pipeline.training.replay_buffer import LoggedReplay, MixedReplay
from pipeline.training.trainer import TrainerConfig, seed_torch, set_up_torch
from pipeline.types import Transitions
from pipeline.uncertainty import PenaltyConfig, PenaltySpec, build_penalty
from pipeline.uncertainty.auto import resolve_auto
from pipeline.uncertainty.calibration_file import Calibration
from pipeline.world_models.checkpoint import load_world_model
from pipeline.world_models.protocols import TrainableWorldModel

READS = ["data/dataset", "data/world_model/seed-{seed}", "data/calibration/seed-{seed}.json"]
WRITES = ["data/policy/seed-{seed}"]
SMALLEST_SPREAD = 1e-3  # of a logged action, whose range is 2
BLOCKS = ["policy", "penalty", "rollout", "monitor", "trainer"]


def main(seed: int) -> None:
    with stage("learn_policy", seed) as run:
        trainer_config = build(TrainerConfig, section(run.params, "trainer"), "trainer")
        chosen, config = choose(LEARNERS, section(run.params, "policy"), "policy")
        penalty = build(PenaltyConfig, section(run.params, "penalty"), "penalty")
        rollout = build(RolloutConfig, section(run.params, "rollout"), "rollout")
        monitor = build(MonitorConfig, section(run.params, "monitor"), "monitor")
        run.log_params({block: run.params[block] for block in BLOCKS})
        set_up_torch(trainer_config)

        dataset = open_dataset("data/dataset")
        run.log_dataset(dataset.spec, "data/dataset")
        check_actions(chosen, dataset.spec)
        model = load_world_model(Path(READS[1].format(seed=seed)))
        calibration = Calibration.load(Path(READS[2].format(seed=seed)))
        resolved, rollouts = resolve_auto(penalty, rollout, calibration, model.reward_scale)
        replayed = "" if chosen.plans or not chosen.imagines else f"; rollouts of {rollouts.length} steps"
        run.print(f"penalty {resolved.name}, weight {resolved.weight:.3g}{replayed}")
        encoder: StateEncoder = model if chosen.plans else model.actor_encoder()
        logged = encode_transitions(dataset, "train", encoder)
        imagination = pessimistic(model, resolved, logged, seed)
        task = task_of(model, resolved.weight, logged, dataset.spec.action_kind)
        seed_torch(seed, "policy", "weights")
        learner = chosen(config, task, imagination) if chosen.plans else chosen(config, task)

        name, told = run.params["policy"]["name"], model.privileged_knowledge()
        own = encoder_spec(encoder) | {"penalty": dataclasses.asdict(resolved)}
        facts = bundle_spec(name, config, dataset, model.data_spec, seed, told, **own)
        watch = Monitor(monitor, learner, encoder, facts)
        training = training_of(learner, logged, imagination, rollouts, seed, watch)
        if training is not None:
            learn(run, training, trainer_config, every=10)
        history: dict[str, Any] = {"rows": training.history if training is not None else []}
        if is_planner(learner):
            model.cpu()  # a student may have learned elsewhere; agents act here
            history["plans"] = example_plans(learner, encode_transitions(dataset, "held_out", encoder), seed)

        folder = Path(WRITES[0].format(seed=seed))
        save_bundle(folder, learner, encoder, facts, history, model_card(facts))
        if run.is_main:
            log_policy(folder, *served_example(load_agent(folder), dataset))


def pessimistic(model: TrainableWorldModel, penalty: PenaltySpec, logged: Transitions, seed: int) -> Imagination:
    """The model's imagination, with a penalty that has seen the logs."""
    measure = build_penalty(penalty)
    measure.fit(logged, generator(seed, "penalty", "fit"))
    return Imagination(model, measure)


def task_of(model: TrainableWorldModel, penalty_weight: float, logged: Transitions, action_kind: str) -> LearnerSpec:
    """What the learner is told of the model's states and of the logs."""
    spread = tuple(logged.action.std(0).clamp(min=SMALLEST_SPREAD).tolist())
    sizes = (model.state_dim, model.action_dim)
    return LearnerSpec.of(*sizes, model.data_spec.statistics, spread, penalty_weight, action_kind)


def training_of(
    policy: Policy, logged: Transitions, imagination: Imagination, rollouts: RolloutSpec, seed: int, watch: Monitor
) -> PolicyTraining | None:
    """Training of the policy, or of a planner's student; None for a planner without one."""
    student = policy.student if is_planner(policy) else policy if is_learner(policy) else None
    if student is None:
        return None
    replay = MixedReplay(logged, imagination, rollouts) if student.imagines else LoggedReplay(logged)
    return PolicyTraining(student, replay, imagination, rollouts.refresh_every, seed, "policy", watch)


def check_actions(chosen: type[Policy], spec: DatasetSpec) -> None:
    """Raises ValueError where the logs' actions are not of a kind that the learner chooses from."""
    if spec.action_kind == DISCRETE and chosen.plans:
        raise ValueError(
            "params.yaml: planners search among continuous actions, and these are discrete: set `policy.name: sac`"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, required=True)
    main(parser.parse_args().seed)
