"""Warm start of a policy: it continues from stored weights, in the states that it knew."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pipeline.data.dataset import DatasetSpec, PreparedDataset
from pipeline.data.transitions import iter_states
from pipeline.encoders.statistics import DataSpec
from pipeline.policies.protocols import Policy, student_of
from pipeline.policies.start import Lineage, PolicyStart
from pipeline.protocols import StateEncoder
from pipeline.training.warm_start import check_layout, with_weights

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

OPTION = "policy.start_from"
UNRELATED = 0.5  # share of the states' variance: of states that have nothing in common it is 2
PROBES = 64  # states in which a policy must act and value as before


def check_start(start: PolicyStart, name: str, spec: DatasetSpec | None) -> None:
    """Raises ValueError if ``start`` is another learner than ``name``, or learned from logs whose numbers mean
    something else than those that ``spec`` describes."""
    if start.name != name:
        raise ValueError(
            f"params.yaml: `policy.name` is {name}, and {start.place} holds a {start.name}: set it to that, or "
            f"`{OPTION}: null`"
        )
    if spec is not None:
        check_layout(start.data_spec.obs_shapes, start.data_spec.layout, spec, start.place, OPTION)


def check_scales(start: PolicyStart, data: DataSpec) -> None:
    """Raises ValueError unless states are scaled as they were when the policy learned."""
    before, now = vars(start.data_spec.statistics), vars(data.statistics)
    if other := next((key for key in before if before[key] != now[key]), None):
        raise ValueError(
            f"{start.place}: the world model has other scales than the one the policy learned in (`{other}` is "
            f"{_short(now[other])} and was {_short(before[other])}): continue that one by `fit.start_from`, or set "
            f"`{OPTION}: null`"
        )


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:40] + "..."


def check_states(
    start: PolicyStart, encoder: StateEncoder, dataset: PreparedDataset, say: Callable[[str], None]
) -> None:
    """Raises ValueError if ``encoder`` gives other states than the policy learned in. A recurrent model that was fitted
    further moves its states a little, which ``say`` gets as a line."""
    before = start.encoder
    if type(before) is not type(encoder) or before.state_dim != encoder.state_dim:
        raise ValueError(
            f"{start.place}: the world model gives {encoder.state_dim} numbers of a {type(encoder).__name__}, and the "
            f"policy learned in {before.state_dim} of a {type(before).__name__}: set block `world_model` to what it "
            f"was, or `{OPTION}: null`"
        )
    moved = _moved(before, encoder, dataset)
    if moved > UNRELATED:
        raise ValueError(
            f"{start.place}: the states of the world model moved by {moved:.2g} of their variance since the policy "
            f"learned, so it would not know them: continue its world model by `fit.start_from`, or set `{OPTION}: null`"
        )
    if moved > 0:
        say(
            f"warning: {start.place}: the states of the world model moved by {moved:.2g} of their variance since the "
            "policy learned; it has to learn them again"
        )


@torch.no_grad()
def _moved(before: StateEncoder, now: StateEncoder, dataset: PreparedDataset) -> float:
    """Mean square of the change of states over logged steps, as a share of the variance of the states before."""
    split = "held_out" if dataset.spec.held_out_episodes else "train"
    old, new = (torch.cat([state for _, state in iter_states(dataset, split, encoder)]) for encoder in (before, now))
    return float((new - old).square().sum() / (old - old.mean(0)).square().sum().clamp(min=1e-12))


def lineage(start: PolicyStart, policy: Policy) -> Lineage:
    """Where ``policy``, which has yet to be trained, continues from."""
    student = student_of(policy)
    assert student is not None  # the weights of the start are its own
    return Lineage(start.digest, start.updates, student.config.updates)


def continued_policy(
    build: Callable[["DataclassInstance"], Policy],
    config: "DataclassInstance",
    start: PolicyStart,
    state: Tensor,
) -> Policy:
    """``build(config)`` with the weights of ``start``, which acts and values in the logged ``state`` "B Z" as that one
    did. Raises ValueError for weights of other shapes, and for options that give them another meaning."""
    policy = with_weights(build, config, start.config, start.policy, start.place, "policy")
    probes = state[:PROBES]
    if not all(
        torch.equal(*pair) for pair in zip(_answers(policy, probes), _answers(start.policy, probes), strict=True)
    ):
        changed = [k for k, v in vars(config).items() if v != vars(start.config)[k]]
        raise ValueError(
            f"params.yaml: {start.place} gives its weights another meaning under the changed options of `policy` "
            f"({', '.join(changed) or 'none'}): set what they were, or `{OPTION}: null`"
        )
    return policy


@torch.no_grad()
def _answers(policy: Policy, state: Tensor) -> list[Tensor]:
    """Actions, of what does not search, and values of states "B Z"."""
    critic = policy.critic_for_states()
    actions = [] if policy.plans else [policy.act(state, None)]
    return actions if critic is None else [*actions, critic.value(state, torch.Generator().manual_seed(0))]
