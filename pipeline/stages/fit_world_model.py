"""data/dataset -> data/world_model/seed-K: fit the world model that policies will imagine in. With `fit.start_from` it
continues from one in data/start/world_model."""

from dataclasses import asdict

from pipeline.data.dataset import open_dataset
from pipeline.params import build, choose, section
from pipeline.stages.stage import seed_argument, stage
from pipeline.tracking.lineage import log_start, log_weights
from pipeline.training.config import FitConfig, TrainerConfig
from pipeline.training.trainer import set_up_torch
from pipeline.world_models import WORLD_MODELS
from pipeline.world_models.checkpoint import MODEL_FILE, save_world_model

READS = ["data/dataset", "data/start/world_model"]
WRITES = ["data/world_model/seed-{seed}"]
BLOCKS = ["world_model", "fit", "trainer"]


def main(seed: int) -> None:
    """Run the stage for one seed."""
    with stage("fit_world_model", seed) as run:
        # Lightning takes seconds to import, so a mistake in params.yaml is reported before.
        from pipeline.tracking.lightning_logger import logger_for
        from pipeline.training.fit_world_model import fit_world_model
        from pipeline.training.session import Session
        from pipeline.training.warm_start import FIT, seed_folder

        trainer = build(TrainerConfig, section(run.params, "trainer"), "trainer")
        fit = build(FitConfig, section(run.params, "fit"), "fit")
        model_class, config = choose(WORLD_MODELS, section(run.params, "world_model"), "world_model")
        run.log_params({block: run.params[block] for block in BLOCKS})
        set_up_torch(trainer)
        dataset = open_dataset("data/dataset")
        run.log_dataset(dataset.spec, "data/dataset")

        if fit.start_from is not None:
            log_start(run, seed_folder(fit.start_from, seed, MODEL_FILE, FIT))

        session = Session(run.work, logger_for(run), run.print, before_save=run.flush)
        model, history = fit_world_model(model_class, config, dataset, fit, trainer, seed, session)

        if run.is_main:
            folder = run.output(WRITES[0].format(seed=seed))
            save_world_model(folder, model, asdict(history))
            log_weights(run, folder)
            if history.start is not None:
                run.print(
                    f"held-out {history.criterion} at the start: {history.start[f'held_out_{history.criterion}']}"
                )
            run.print(f"best held-out {history.criterion}: {[round(x, 4) for x in history.best]}")
            run.print(f"termination: {asdict(history.termination)}")


if __name__ == "__main__":
    main(seed_argument())
