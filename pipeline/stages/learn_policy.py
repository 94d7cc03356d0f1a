"""data/world_model/seed-K -> data/policy/seed-K: learn a policy in pessimistic imagination. With
`policy.start_from` it continues from one in data/start/policy."""

from pathlib import Path

from pipeline.data.dataset import open_dataset
from pipeline.evaluation.monitor import Monitor, MonitorConfig
from pipeline.imagination import RolloutConfig
from pipeline.params import apart, build, choose, section
from pipeline.policies import LEARNERS
from pipeline.policies.start import StartConfig
from pipeline.serving.agent import load_agent
from pipeline.serving.bundle import learned_spec
from pipeline.serving.input_example import served_example
from pipeline.serving.mlflow_logging import save_policy_model
from pipeline.serving.policy_start import BUNDLE_FILE, load_policy_start
from pipeline.serving.save_policy import save_policy
from pipeline.stages.stage import seed_argument, stage
from pipeline.tracking.lineage import log_start, log_weights
from pipeline.tracking.names import model_name
from pipeline.training.config import TrainerConfig
from pipeline.training.trainer import set_up_torch
from pipeline.uncertainty import PenaltyConfig
from pipeline.uncertainty.auto import resolve_auto
from pipeline.uncertainty.calibration_file import Calibration
from pipeline.world_models.checkpoint import load_world_model

READS = [
    "data/dataset",
    "data/world_model/seed-{seed}",
    "data/calibration/seed-{seed}.json",
    "data/start/policy",
]
WRITES = ["data/policy/seed-{seed}"]
BLOCKS = ["policy", "penalty", "rollout", "monitor", "trainer"]


def main(seed: int) -> None:
    """Run the stage for one seed."""
    with stage("learn_policy", seed) as run:
        # Lightning takes seconds to import, so a mistake in params.yaml is reported before.
        from pipeline.tracking.lightning_logger import logger_for
        from pipeline.training.learn_policy import learn_policy
        from pipeline.training.policy_start import OPTION
        from pipeline.training.session import Session
        from pipeline.training.warm_start import seed_folder

        trainer = build(TrainerConfig, section(run.params, "trainer"), "trainer")
        common, block = apart(StartConfig, section(run.params, "policy"), "policy")
        _, config = choose(LEARNERS, block, "policy")
        penalty = build(PenaltyConfig, section(run.params, "penalty"), "penalty")
        rollout = build(RolloutConfig, section(run.params, "rollout"), "rollout")
        monitor = build(MonitorConfig, section(run.params, "monitor"), "monitor")
        run.log_params({block: run.params[block] for block in BLOCKS})
        set_up_torch(trainer)
        dataset, model = open_dataset("data/dataset"), load_world_model(Path(READS[1].format(seed=seed)))
        run.log_dataset(dataset.spec, "data/dataset")
        calibration = Calibration.load(Path(READS[2].format(seed=seed)))
        if calibration.horizon == 0:
            run.print("warning: the world model is trusted for no step, see assess_world_model; rollouts are short")
        start = None
        if common.start_from is not None:
            start_folder = seed_folder(common.start_from, seed, BUNDLE_FILE, OPTION)
            log_start(run, start_folder)
            start = load_policy_start(start_folder)

        learned = learn_policy(
            run.params["policy"]["name"],
            config,
            model,
            dataset,
            *resolve_auto(penalty, rollout, calibration, model.reward_scale),
            trainer,
            seed,
            Session(run.work, logger_for(run), run.print, before_save=run.flush),
            lambda policy: Monitor(monitor, policy.policy, policy.encoder, learned_spec(policy, dataset)),
            start,
        )

        folder = run.output(WRITES[0].format(seed=seed))
        save_policy(folder, learned, dataset)
        if run.is_main:
            log_weights(run, folder)
            name = model_name(dataset.spec.name, run.params["policy"]["name"], seed)
            example = served_example(load_agent(folder), dataset)
            run.log_model(name, lambda model: save_policy_model(folder, model, *example))


if __name__ == "__main__":
    main(seed_argument())
