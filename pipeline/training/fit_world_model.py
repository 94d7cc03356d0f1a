"""Fit a world model to a prepared dataset."""

from pipeline.data.batches import Bootstrap, WindowBatches
from pipeline.data.dataset import IN_MEMORY, DatasetSpec, PreparedDataset
from pipeline.data.rows import first_rows, in_memory, logged_rows
from pipeline.data.transitions import build_data_spec
from pipeline.data.windows import Windows
from pipeline.training.config import FitConfig, TrainerConfig
from pipeline.training.session import Session, train
from pipeline.training.trainer import seed_torch
from pipeline.training.warm_start import FIT, continued_model, seed_folder
from pipeline.training.world_model import Batches, WorldModelTraining
from pipeline.world_models.checkpoint import MODEL_FILE
from pipeline.world_models.protocols import ModelConfig, TrainableWorldModel
from pipeline.world_models.results import TerminationRecord, WorldModelHistory
from pipeline.world_models.termination import termination_quality


def fit_world_model(
    model_class: type[TrainableWorldModel],
    model_config: ModelConfig,
    dataset: PreparedDataset,
    fit: FitConfig,
    trainer: TrainerConfig,
    seed: int,
    session: Session,
) -> tuple[TrainableWorldModel, WorldModelHistory]:
    """The fitted model on the CPU, and its history: the content of ``history.json``.

    Raises ValueError for a model that cannot read the dataset's observations, and when a loss is not finite.
    """
    check_observations(model_class, dataset.spec)
    seed_torch(seed, "world_model", "weights")
    limit = trainer.logs_in_memory
    if fit.start_from is None:
        model = model_class(model_config, build_data_spec(dataset, limit))
    else:
        folder = seed_folder(fit.start_from, seed, MODEL_FILE, FIT)
        model = continued_model(model_class, model_config, dataset, folder, session.say, limit)
    training = WorldModelTraining(model, batches_for(model, dataset, fit, seed, limit), fit, seed)
    train(training, trainer, session)
    model = training.finish().cpu()
    quality = termination_quality(model, in_memory(logged_rows(dataset, "held_out", model, limit)))
    termination = TerminationRecord(**vars(quality), used=model.termination_used())
    return model, WorldModelHistory(**training.summary(), termination=termination)


def check_observations(model_class: type[TrainableWorldModel], spec: DatasetSpec) -> None:
    """Raises ValueError for logs of images alone, which only a recurrent model can read."""
    if not model_class.recurrent and not spec.vector_keys:
        raise ValueError("params.yaml: observations are images alone; set `world_model.name: rssm`")


def batches_for(
    model: TrainableWorldModel, dataset: PreparedDataset, config: FitConfig, seed: int, limit: float = IN_MEMORY
) -> Batches:
    """Windows for a recurrent model, single transitions for others."""
    if model.recurrent:
        train_windows, held_out_windows = (Windows(dataset, split, config.window) for split in ("train", "held_out"))
        return WindowBatches(train_windows, held_out_windows, config.windows, config.held_out_rows, seed)
    steps, held_out = (logged_rows(dataset, split, model, limit) for split in ("train", "held_out"))
    few = first_rows(held_out, config.held_out_rows)
    return Bootstrap(steps, few, model.num_bootstraps, config.batch_size, seed)
