"""Reads a policy bundle. Nothing in it is executed or unpickled; a damaged or malicious bundle is refused."""

from pathlib import Path
from typing import Any

import torch

from pipeline.encoders import Encoder, StackedFrames
from pipeline.imagination import Imagination
from pipeline.policies import LEARNERS
from pipeline.policies.learner_spec import LearnerSpec
from pipeline.policies.protocols import Policy
from pipeline.protocols import StateEncoder, WorldModel, first_state
from pipeline.serving.bundle import AGAIN, ENCODER_PREFIX, BundleSpec, build_encoder, options, read_description
from pipeline.uncertainty import Penalty, PenaltySpec
from pipeline.validation import one_line
from pipeline.validation.stored import record_of
from pipeline.validation.weights import load_weights, read_weights
from pipeline.world_models.protocols import TrainableWorldModel


def load_bundle(folder: Path | str) -> tuple[Policy, Encoder | TrainableWorldModel, BundleSpec]:
    """The policy, its encoder and the description. Raises ValueError with the reason if the bundle is refused."""
    folder = Path(folder)
    described, digest = read_description(folder)
    spec = record_of(BundleSpec, described, folder / "bundle.json", AGAIN)
    weights = read_weights(folder / "weights.safetensors", digest, AGAIN)
    try:
        encoder = build_encoder(spec)
        of_encoder = [name for name in weights if name.startswith(ENCODER_PREFIX)]
        load_weights(encoder, {name.removeprefix(ENCODER_PREFIX): weights.pop(name) for name in of_encoder})
        learner = _learner(encoder, spec)
        load_weights(learner, weights)
        _check_actions(learner, encoder, spec)
    except Exception as error:  # mismatched parts can raise anything
        raise ValueError(f"{folder}: refused: its parts do not fit together: {one_line(str(error))}; {AGAIN}") from None
    return learner.eval().requires_grad_(False), encoder.eval().requires_grad_(False), spec


def _learner(encoder: Encoder | TrainableWorldModel, spec: BundleSpec) -> Policy:
    """The policy without its weights."""
    chosen = LEARNERS[spec.policy]
    penalty = options(PenaltySpec, spec.penalty, "penalty") if spec.penalty else None
    own: dict[str, Any] = {"images": encoder.images} if isinstance(encoder, StackedFrames) else {}
    own |= {"imagination": _imagination(encoder, penalty)} if chosen.plans else {}
    task = LearnerSpec.of(
        encoder.state_dim,
        len(spec.action_low),
        spec.statistics,
        penalty_weight=0.0 if penalty is None else penalty.weight,
        action_kind=spec.action_kind,
    )
    return chosen(options(chosen.Config, spec.config, "config"), task, **own)


@torch.no_grad()
def _check_actions(learner: Policy, encoder: StateEncoder, spec: BundleSpec) -> None:
    """Encode one observation and, unless that takes a search, act on it, so that a bad bundle fails when it is loaded
    and not when it acts."""
    obs = {k: torch.zeros(1, *s, dtype=torch.uint8 if len(s) == 3 else None) for k, s in spec.obs_shapes.items()}
    state = first_state(encoder, obs, len(spec.action_low))
    action = torch.zeros(1) if learner.plans else learner.act(state, None)
    if not (state.isfinite().all() and action.isfinite().all()):
        raise ValueError("an observation of zeros becomes a state or an action that is not finite")


def _imagination(model: StateEncoder, penalty: PenaltySpec | None) -> Imagination:
    """The imagination that a planner searches in. Its encoder is the whole world model."""
    if not isinstance(model, WorldModel) or penalty is None:
        raise ValueError("a planner needs a world model as its encoder, and a penalty")
    state, action = model.initial(1), torch.zeros(1, model.action_dim)
    model.draw(state, action, model.predict(state, action), None, None)  # IndexError for elites that do not exist
    return Imagination(model, Penalty(penalty.name))
