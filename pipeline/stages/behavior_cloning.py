"""data/dataset -> data/bc/seed-K: the baseline, a policy that imitates the logs."""

from pipeline.data.dataset import open_dataset
from pipeline.params import build, section
from pipeline.policies.bc import BehaviorCloning
from pipeline.serving.save_policy import save_policy
from pipeline.stages.stage import seed_argument, stage
from pipeline.training.config import TrainerConfig
from pipeline.training.trainer import set_up_torch

READS = ["data/dataset"]
WRITES = ["data/bc/seed-{seed}"]
BLOCKS = ["bc", "trainer"]


def main(seed: int) -> None:
    """Run the stage for one seed."""
    with stage("behavior_cloning", seed) as run:
        # Lightning takes seconds to import, so a mistake in params.yaml is reported before.
        from pipeline.tracking.lightning_logger import logger_for
        from pipeline.training.behavior_cloning import behavior_cloning
        from pipeline.training.session import Session

        trainer = build(TrainerConfig, section(run.params, "trainer"), "trainer")
        config = build(BehaviorCloning.Config, section(run.params, "bc"), "bc")
        run.log_params({block: run.params[block] for block in BLOCKS})
        set_up_torch(trainer)
        dataset = open_dataset("data/dataset")
        run.log_dataset(dataset.spec, "data/dataset")

        learned = behavior_cloning(
            config, dataset, trainer, seed, Session(run.work, logger_for(run), run.print, before_save=run.flush)
        )

        save_policy(run.output(WRITES[0].format(seed=seed)), learned, dataset)


if __name__ == "__main__":
    main(seed_argument())
