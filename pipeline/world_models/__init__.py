"""World models: what could happen next. ``WORLD_MODELS`` is what ``world_model.name`` in params.yaml chooses from."""

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
