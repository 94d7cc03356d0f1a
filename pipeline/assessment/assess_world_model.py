"""Assess a fitted world model on held-out episodes."""

import dataclasses

from pipeline.assessment.assess import Assessment, assess, context_of, whole_windows
from pipeline.assessment.latents import latent_report
from pipeline.assessment.model_error import Scale
from pipeline.assessment.penalty_quality import fitted_penalties
from pipeline.data.dataset import PreparedDataset
from pipeline.data.transitions import encode_transitions
from pipeline.world_models.protocols import TrainableWorldModel, is_latent


def assess_world_model(model: TrainableWorldModel, dataset: PreparedDataset, seed: int) -> Assessment:
    """Errors, calibration and every penalty's quality; for a latent model also what its latents hold."""
    penalties = fitted_penalties(encode_transitions(dataset, "train", model), seed)
    assessment = assess(model, dataset, penalties, seed)
    if not is_latent(model):
        return assessment
    context = context_of(dataset)
    scale = Scale(dataset.spec.obs_shapes, model.data_spec.statistics)
    latents = latent_report(model, whole_windows(dataset, context, seed), scale, context)
    return dataclasses.replace(assessment, latents=latents)
