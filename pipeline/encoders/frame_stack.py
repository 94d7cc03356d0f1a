"""Frame stacking: the encoder of policies that learn from images without a world model."""

from typing import Annotated

import torch
from einops import rearrange
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from pipeline.encoders.standard import StandardEncoder
from pipeline.encoders.statistics import DataSpec, Statistics
from pipeline.types import Observation
from pipeline.validation import OPTIONS, Int


@dataclass(frozen=True, config=OPTIONS)
class FramesConfig:
    """Options of :class:`StackedFrames`."""

    frames: Annotated[Int, Field(ge=1, le=8)] = 2  # images stacked: one shows positions, two show velocities


class StackedFrames(nn.Module):
    """The state "B Z" holds the normalized vector observations, then the last frames of each image (DQN, Mnih et al.
    2015), flattened.

    Frames are stacked along the channels, the newest first; pixels keep their range from 0 to 255. At the start of an
    episode its first frame fills the stack. ``images`` maps each image to its stacked shape "H W C", in the order of
    the state.
    """

    Config = FramesConfig
    stateful = True

    def __init__(self, config: FramesConfig, obs_shapes: dict[str, list[int]], statistics: Statistics) -> None:
        super().__init__()
        self.config = config
        self.standard = StandardEncoder(obs_shapes, statistics)
        image_shapes = {k: s for k, s in sorted(obs_shapes.items()) if len(s) == 3}
        self.images = {k: [h, w, config.frames * c] for k, (h, w, c) in image_shapes.items()}
        self.sizes = [self.standard.state_dim, *(h * w * c for h, w, c in self.images.values())]
        self.state_dim = sum(self.sizes)

    @classmethod
    def from_data(cls, config: FramesConfig, data: DataSpec) -> "StackedFrames":
        """The encoder for logs like ``data``."""
        return cls(config, data.obs_shapes, data.statistics)

    def initial(self, batch: int) -> Tensor:
        """Zeros "B Z"; the first observation of an episode replaces them."""
        return torch.zeros(batch, self.state_dim, device=self.standard.mean.device)

    def observe(self, state: Tensor, action: Tensor, obs: Observation, first: Tensor) -> Tensor:
        """The state "B Z" with the frames of ``obs`` in place of the oldest; ``action`` is ignored. Where ``first``
        "B" is 1.0 an episode starts."""
        _, *stacks = state.split(self.sizes, dim=-1)
        parts = [self.standard.observe(state, action, obs, first)] if self.standard.obs_shapes else []
        for (key, (height, width, _)), flat in zip(self.images.items(), stacks, strict=True):
            new = obs[key].to(flat.dtype)
            old = rearrange(flat, "b (h w c) -> b h w c", h=height, w=width)
            filled = new.repeat(1, 1, 1, self.config.frames)
            shifted = torch.cat([new, old[..., : -new.shape[-1]]], dim=-1)
            parts.append(torch.where(first.bool()[:, None, None, None], filled, shifted).flatten(1))
        return torch.cat(parts, dim=-1)
