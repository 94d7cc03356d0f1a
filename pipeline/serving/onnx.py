"""A feed-forward policy as one torch module, for export to ONNX."""

import torch
from torch import Tensor, nn

from pipeline.encoders.standard import StandardEncoder
from pipeline.envs.action_space import DiscreteActions
from pipeline.serving.agent import PolicyAgent


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
