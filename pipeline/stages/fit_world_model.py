"""data/dataset -> data/world_model/seed-K: fit the world model that policies will imagine in."""

import argparse
from pathlib import Path

from pipeline.data.batches import Bootstrap, WindowBatches
from pipeline.data.dataset import DatasetSpec, PreparedDataset, open_dataset
from pipeline.data.transitions import build_data_spec, encode_transitions
from pipeline.data.windows import Windows
from pipeline.params import build, choose, section
from pipeline.stages.stage import stage
from pipeline.tracking.lightning_logger import logger_for
from pipeline.training.resume import ResumePoint
from pipeline.training.trainer import TrainerConfig, make_trainer, seed_torch, set_up_torch
from pipeline.training.watchdog import Watchdog
from pipeline.training.world_model import Batches, FitConfig, WorldModelTraining
from pipeline.world_models import WORLD_MODELS
from pipeline.world_models.checkpoint import save_world_model
from pipeline.world_models.protocols import TrainableWorldModel
from pipeline.world_models.termination import termination_quality

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
        check_observations(chosen, dataset.spec)
        seed_torch(seed, "world_model", "weights")
        model = chosen(model_config, build_data_spec(dataset))

        training = WorldModelTraining(model, batches_for(model, dataset, fit_config, seed), fit_config, seed)
        resume = ResumePoint(run.work)
        if resume.load_into(training):
            run.print(f"going on after epoch {training.epochs_done}")
        if not training.finished:
            trainer = make_trainer(
                trainer_config,
                fit_config.max_epochs - training.epochs_done,
                [Watchdog(), resume],
                logger_for(run),
            )
            trainer.fit(training)
        model = training.finish().cpu()

        if run.is_main:
            quality = termination_quality(model, encode_transitions(dataset, "held_out", model))
            history = training.summary() | {"termination": {"used": model.termination_used(), **quality}}
            save_world_model(Path(WRITES[0].format(seed=seed)), model, history)
            run.print(f"best held-out {history['criterion']}: {[round(x, 4) for x in history['best']]}")
            run.print(f"termination: {history['termination']}")


def check_observations(chosen: type[TrainableWorldModel], spec: DatasetSpec) -> None:
    """Raises ValueError where the chosen model would see nothing: one that is not recurrent sees vectors alone."""
    if not chosen.recurrent and not spec.vector_keys:
        raise ValueError("params.yaml: observations are images alone; set `world_model.name: rssm`")


def batches_for(model: TrainableWorldModel, dataset: PreparedDataset, config: FitConfig, seed: int) -> Batches:
    """Windows for a recurrent model, single transitions for others."""
    if model.recurrent:
        train, held_out = (Windows(dataset, split, config.window) for split in ("train", "held_out"))
        return WindowBatches(train, held_out, config.windows, config.held_out_rows, seed)
    steps, judged = (encode_transitions(dataset, split, model) for split in ("train", "held_out"))
    return Bootstrap(steps, judged[: config.held_out_rows], model.num_bootstraps, config.batch_size, seed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, required=True)
    main(parser.parse_args().seed)
