"""data/dataset -> data/baselines/seed-K/NAME: a policy from the logs alone, without a world model."""

from pipeline.data.dataset import open_dataset
from pipeline.evaluation.monitor import Monitor, MonitorConfig
from pipeline.params import build, section
from pipeline.policies import BASELINES
from pipeline.serving.bundle import learned_spec
from pipeline.serving.save_policy import save_policy
from pipeline.stages.preflight import check_listed
from pipeline.stages.stage import name_and_seed, stage
from pipeline.training.config import TrainerConfig
from pipeline.training.trainer import set_up_torch

READS = ["data/dataset"]
WRITES = ["data/baselines/seed-{seed}/{name}"]
BLOCKS = ["{name}", "monitor", "trainer"]


def main(name: str, seed: int) -> None:
    """Run the stage for one entry of ``baselines`` and one seed."""
    with stage("baseline", seed, choice=name) as run:
        # Lightning takes seconds to import, so a mistake in params.yaml is reported before.
        from pipeline.tracking.lightning_logger import logger_for
        from pipeline.training.baseline import learn_baseline
        from pipeline.training.session import Session

        check_listed(name, run.params)
        trainer = build(TrainerConfig, section(run.params, "trainer"), "trainer")
        config = build(BASELINES[name].Config, section(run.params, name), name)
        monitor = build(MonitorConfig, section(run.params, "monitor"), "monitor")
        run.log_params({block: run.params[block] for block in (name, "monitor", "trainer")})
        set_up_torch(trainer)
        dataset = open_dataset(READS[0])
        run.log_dataset(dataset.spec, READS[0])

        session = Session(run.work, logger_for(run), run.print, before_save=run.flush)
        watch = lambda policy: Monitor(monitor, policy.policy, policy.encoder, learned_spec(policy, dataset))  # noqa: E731
        learned = learn_baseline(name, config, dataset, trainer, seed, session, watch)

        save_policy(run.output(WRITES[0].format(name=name, seed=seed)), learned, dataset)


if __name__ == "__main__":
    main(*name_and_seed())
