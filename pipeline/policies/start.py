"""A stored policy that a learner continues from."""

import dataclasses
from typing import TYPE_CHECKING

from pydantic import with_config
from pydantic.dataclasses import dataclass

from pipeline.encoders.statistics import DataSpec
from pipeline.policies.protocols import Policy
from pipeline.protocols import StateEncoder
from pipeline.validation import OPTIONS, RECORD, FilePath, NonNegativeInt

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@dataclass(frozen=True, config=OPTIONS)
class StartConfig:
    """All learners share this option; a planner has weights only with a `terminal_value`."""

    # a policy bundle to continue from, or a folder of seed-K, below data/start/policy; null: from scratch
    start_from: FilePath | None = None


@with_config(RECORD)
@dataclasses.dataclass(frozen=True)
class Lineage:
    """Where a policy continued from: the SHA-256 of those weights, and the updates before and since."""

    weights_sha256: str
    updates_before: NonNegativeInt
    updates_since: NonNegativeInt


@dataclasses.dataclass(frozen=True)
class PolicyStart:
    """A policy with its options, the encoder of its states, and the logs it learned from."""

    place: str  # the folder, for messages
    name: str  # in the registry LEARNERS
    policy: Policy
    config: "DataclassInstance"
    encoder: StateEncoder
    data_spec: DataSpec
    action_kind: str
    digest: str  # SHA-256 of the weights
    updates: int  # all that led to these weights
