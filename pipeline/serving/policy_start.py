"""A policy bundle as the start of a training."""

from pathlib import Path

from pipeline.encoders.layout import Layout
from pipeline.encoders.statistics import DataSpec
from pipeline.policies import LEARNERS
from pipeline.policies.protocols import student_of
from pipeline.policies.start import PolicyStart
from pipeline.serving.bundle import BundleSpec, options, weights_digest
from pipeline.serving.load_bundle import load_bundle

BUNDLE_FILE = "bundle.json"


def load_policy_start(folder: Path) -> PolicyStart:
    """The policy in ``folder``, to continue from. Raises ValueError if the bundle is refused, and for a planner without
    a ``terminal_value``, which has no weights."""
    policy, encoder, spec = load_bundle(folder)
    student = student_of(policy)
    if student is None:
        raise ValueError(
            f"{folder}: a {spec.policy} without `terminal_value` has no weights: set `policy.start_from: null`"
        )
    updates = student.config.updates + (0 if spec.start is None else spec.start.updates_before)
    config = options(LEARNERS[spec.policy].Config, spec.config, "config")
    transitions = spec.dataset.get("transitions", 0)
    data = DataSpec(spec.statistics, spec.obs_shapes, len(spec.action_low), transitions, spec.env_id, layout_in(spec))
    digest = weights_digest(folder)
    return PolicyStart(f"{folder}", spec.policy, policy, config, encoder, data, spec.action_kind, digest, updates)


def layout_in(spec: BundleSpec) -> Layout | None:
    """What the numbers of its logs stood for; None for a bundle of an earlier version, which holds no names."""
    names = {key: spec.dataset[key] for key in ("obs_names", "action_names", "units") if key in spec.dataset}
    actions = {key: vars(spec)[key] for key in ("action_kind", "action_start", "action_low", "action_high")}
    return options(Layout, names | actions, "dataset") if len(names) == 3 else None
