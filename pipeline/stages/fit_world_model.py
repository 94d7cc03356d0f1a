"""data/dataset -> data/world_model/seed-K: fit the world model that policies will imagine in."""

import argparse
from pathlib import Path

from pipeline.data.store import open_dataset
from pipeline.data.tensors import encoded, facts_of
from pipeline.evaluation.model_error import termination_quality
from pipeline.params import build, choose, section
from pipeline.tracking.stage import stage
from pipeline.tracking.watchdog import Watchdog
from pipeline.training import ResumePoint, TrainerConfig, make_trainer, seed_torch, set_up_torch
from pipeline.world_models import WORLD_MODELS
from pipeline.world_models.fit import FitConfig, WorldModelTraining
from pipeline.world_models.storage import save_world_model

READS = ["data/dataset"]
WRITES = ["data/world_model/seed-{seed}"]
BLOCKS = ["world_model", "fit", "trainer"]


def main(seed: int) -> None:
    with stage("fit_world_model", seed) as run:
        trainer_config = build(TrainerConfig, section(run.params, "trainer"), "trainer")
        fit_config = build(FitConfig, section(run.params, "fit"), "fit")
        chosen, model_config = choose(WORLD_MODELS, section(run.params, "world_model"), "world_model")
        run.log_params({block: run.params[block] for block in BLOCKS})
        set_up_torch(trainer_config)

        dataset = open_dataset("data/dataset")
        run.log_dataset(dataset.spec, "data/dataset")
        seed_torch(seed, "world_model", "weights")
        model = chosen(model_config, facts_of(dataset))
        train, held_out = (encoded(dataset, split, model.encoder) for split in ("train", "held_out"))

        training = WorldModelTraining(model, train, held_out, fit_config, seed)
        resume = ResumePoint(run.work)
        if resume.load_into(training):
            run.print(f"going on after epoch {training.epochs_done}")
        if not training.finished:
            trainer = make_trainer(
                trainer_config,
                fit_config.max_epochs - training.epochs_done,
                [Watchdog(), resume],
                run.lightning_logger(),
            )
            trainer.fit(training)
        model = training.finish().cpu()

        if run.is_main:
            quality = termination_quality(model, training.held_out_data.to("cpu"))
            history = training.summary() | {"termination": {"used": model.termination_used(), **quality}}
            save_world_model(Path(WRITES[0].format(seed=seed)), run.params["world_model"]["name"], model, history)
            resume.forget()
            run.print(f"best held-out error of each member: {[round(x, 4) for x in training.best_mse.tolist()]}")
            run.print(f"termination: {history['termination']}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, required=True)
    main(parser.parse_args().seed)
