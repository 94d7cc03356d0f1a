"""Store a learned policy as a bundle."""

from dataclasses import asdict
from pathlib import Path

from pipeline.data.dataset import PreparedDataset
from pipeline.policies.learned import LearnedPolicy
from pipeline.serving.bundle import learned_spec, save_bundle
from pipeline.serving.model_card import model_card


def save_policy(folder: Path, learned: LearnedPolicy, dataset: PreparedDataset) -> None:
    """Write the bundle of a policy that was learned from ``dataset``, with its model card."""
    spec = learned_spec(learned, dataset)
    save_bundle(folder, learned.policy, learned.encoder, spec, asdict(learned.history), model_card(spec))
