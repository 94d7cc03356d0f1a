"""Ingest a log into the prepared form."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.data.dataset import PreparedDataset
from pipeline.data.episode import LoggedData
from pipeline.ingest.checks import CheckResult, run_checks
from pipeline.ingest.dataset_card import card
from pipeline.ingest.results import DatasetCard
from pipeline.ingest.roles import apply_roles
from pipeline.ingest.sources.base import SourceConfig
from pipeline.ingest.transform import apply_transform
from pipeline.ingest.writer import write_dataset


@dataclass(frozen=True)
class Ingested:
    """A prepared dataset, and what the checks say about it."""

    dataset: PreparedDataset
    checks: list[CheckResult]  # the most severe first
    card: DatasetCard  # the content of reports/metrics/dataset.json


def ingest(logged: LoggedData, config: SourceConfig, folder: Path | str) -> Ingested:
    """Transform, validate, split and store a log in ``folder``, then check it.

    Raises ValueError for a log that cannot be used, which leaves the old content of ``folder`` in place.
    """
    dataset = write_dataset(
        folder,
        apply_roles(apply_transform(logged, config.transform), config.exogenous_columns, config.exogenous_forecast),
        config.name or config.title,
        config.held_out_fraction,
        config.split_seed,
        config.train_share,
        config.split,
        config.split_gap,
    )
    checks = run_checks(dataset)
    return Ingested(dataset, checks, card(dataset, checks))
