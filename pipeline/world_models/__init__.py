"""World models: what could happen next. ``WORLD_MODELS`` is what ``world_model.name`` in params.yaml chooses from."""

from pipeline.world_models.gaussian_ensemble import GaussianEnsemble

WORLD_MODELS = {"gaussian_ensemble": GaussianEnsemble}
