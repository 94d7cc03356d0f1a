"""A feed-forward policy as one torch module, for export to ONNX, and what the file says of its input and output."""

import json
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.encoders.standard import StandardEncoder
from pipeline.envs.action_space import DISCRETE, DiscreteActions
from pipeline.serving.agent import PolicyAgent
from pipeline.serving.bundle import BundleSpec


class RawPolicy(nn.Module):
    """Flat raw observations "B O" -> actions "B A" in the environment's units, or integers "B" if actions are
    discrete."""

    def __init__(self, agent: PolicyAgent) -> None:
        super().__init__()
        assert isinstance(agent.encoder, StandardEncoder)
        self.encoder, self.policy, self.actions = agent.encoder, agent.policy, agent.actions
        self.register_buffer("low", torch.tensor(agent.spec.action_low))
        self.register_buffer("half_range", (torch.tensor(agent.spec.action_high) - self.low) / 2)
        self.low: Tensor
        self.half_range: Tensor

    def forward(self, obs: Tensor) -> Tensor:
        """Encode, act and denormalize."""
        action = self.policy.act(self.encoder.encode(obs), None)
        if isinstance(self.actions, DiscreteActions):
            return action.argmax(-1) + self.actions.start
        return self.low + (action + 1) * self.half_range


def metadata(spec: BundleSpec) -> dict[str, str]:
    """The ``metadata_props`` of the file, each a JSON text.

    ``obs`` has one entry for each number of the input, in order: its ``name``, its ``unit`` where the log has one, and
    the smallest and largest value of the logs, ``low`` and ``high``. ``action`` has the same for each number of the
    output, with the bounds that actions keep; of discrete actions it has the options. ``policy`` says what was learned
    from which data.
    """
    dataset = spec.dataset
    contents = {
        "obs": _entries(_obs_names(spec), spec.statistics.obs_min, spec.statistics.obs_max, dataset),
        "action": _actions(spec),
        "policy": {"name": spec.policy, "seed": spec.seed, "dataset": dataset["name"], "digest": dataset.get("digest")},
    }
    return {key: json.dumps(value, ensure_ascii=False) for key, value in contents.items()}


def _obs_names(spec: BundleSpec) -> list[str]:
    names = spec.dataset.get("obs_names", {})
    return [
        name
        for key in sorted(spec.obs_shapes)
        for name in names.get(key) or (f"{key}[{i}]" for i in range(spec.obs_shapes[key][0]))
    ]


def _actions(spec: BundleSpec) -> list[dict[str, Any]]:
    names = spec.dataset.get("action_names", [])
    if spec.action_kind == DISCRETE:
        options = range(spec.action_start, spec.action_start + len(spec.action_low))
        return [{"value": value, **({"name": names[i]} if names else {})} for i, value in enumerate(options)]
    named = names or [f"action[{i}]" for i in range(len(spec.action_low))]
    return _entries(named, spec.action_low, spec.action_high, spec.dataset)


def _entries(
    names: list[str], low: list[float], high: list[float], dataset: dict[str, Any]
) -> list[dict[str, str | float]]:
    units = dataset.get("units", {})
    return [
        {"name": name, **({"unit": units[name]} if name in units else {}), "low": lowest, "high": highest}
        for name, lowest, highest in zip(names, low, high, strict=True)
    ]
