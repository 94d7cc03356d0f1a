"""Action-value networks."""

import torch
from torch import Tensor, nn

from pipeline.networks.mlp import ReLU, stacked_mlp


@torch.no_grad()
def polyak_update(target: nn.Module, source: nn.Module, rate: float) -> None:
    """Move every parameter of ``target`` toward that of ``source`` by the share ``rate`` (Polyak averaging, as in
    Lillicrap et al. 2016, arXiv:1509.02971)."""
    targets: list[Tensor] = list(target.parameters())
    sources: list[Tensor] = list(source.parameters())
    torch._foreach_lerp_(targets, sources, rate)


class Critics(nn.Module):
    """``count`` action-value functions "N" of one shape, computed as batched matrix products.

    The value is the network's output times a scale plus an offset; ``unit`` is (offset, scale), in units of reward.
    """

    def __init__(
        self,
        count: int,
        state_dim: int,
        action_dim: int,
        hidden: list[int],
        layer_norm: bool,
        unit: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        super().__init__()
        self.count = count
        self.offset, self.scale = unit
        sizes = [state_dim + action_dim, *hidden, 1]
        self.net = stacked_mlp(count, sizes, activation=ReLU, layer_norm=layer_norm)

    def forward(self, state: Tensor, action: Tensor) -> Tensor:
        """States "B Z" and actions "B A" -> values "N B". Several actions for each state "K B A" -> values "N K B"."""
        x = torch.cat([state.expand(*action.shape[:-1], -1), action], dim=-1)
        rows = x.flatten(0, -2)
        value = self.net(rows.expand(self.count, *rows.shape)).squeeze(-1) * self.scale + self.offset
        return value.unflatten(-1, x.shape[:-1])
