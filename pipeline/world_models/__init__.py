"""World models: predict the next state and reward. ``world_model.name`` in params.yaml is a key of ``WORLD_MODELS``."""

from pipeline.world_models.bayesian import MCDropout, Variational
from pipeline.world_models.gaussian_ensemble import GaussianEnsemble
from pipeline.world_models.protocols import TrainableWorldModel
from pipeline.world_models.rssm import RSSM

WORLD_MODELS: dict[str, type[TrainableWorldModel]] = {
    "gaussian_ensemble": GaussianEnsemble,
    "variational": Variational,
    "mc_dropout": MCDropout,
    "rssm": RSSM,
}
