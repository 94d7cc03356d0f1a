"""Estimate the value of policies from logs and a world model alone."""

from collections.abc import Mapping

from pipeline.data.dataset import PreparedDataset
from pipeline.ope import OfflineConfig
from pipeline.ope.evaluator import PolicyEvaluator
from pipeline.ope.results import SCHEMA_VERSION, SeedEstimates
from pipeline.serving.agent import PolicyAgent
from pipeline.world_models.protocols import TrainableWorldModel


def evaluate_offline(
    agents: Mapping[str, PolicyAgent],
    model: TrainableWorldModel,
    dataset: PreparedDataset,
    config: OfflineConfig,
    seed: int,
) -> SeedEstimates:
    """All estimates of each agent, and the value of the logged behavior: the content of ``data/offline/seed-K.json``.
    No environment is used."""
    evaluator = PolicyEvaluator(dataset, model, config, seed)
    estimates = {name: evaluator(agent) for name, agent in agents.items()}
    return SeedEstimates(
        schema_version=SCHEMA_VERSION,
        seed=seed,
        discount=config.discount,
        horizon=evaluator.horizon,
        logged=evaluator.logged(),
        agents=estimates,
    )
