"""Behavior cloning: the baseline that every learned policy must beat."""

from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor, nn

from pipeline.encoders.history import MAX_HISTORY
from pipeline.imagination import Imagination
from pipeline.networks.actor import ActorNetwork, TanhGaussianActor, actor_for
from pipeline.networks.conv import ImageTorso
from pipeline.policies.task import LearnerSpec
from pipeline.types import Transitions


@dataclass(frozen=True)
class BCConfig:
    updates: int = 5000
    batch_size: int = 256
    hidden: list[int] = field(default_factory=lambda: [128, 128])
    image_depth: int = 16  # channels of the first convolution, where the state holds images
    learning_rate: float = 1e-3
    history: int = 0  # steps before the present one that it sees: who acted may have remembered, or waited for effects

    def __post_init__(self) -> None:
        if min(self.updates, self.batch_size, self.image_depth) < 1:
            raise ValueError("updates, batch_size and image_depth must be at least 1")
        if not 0 <= self.history <= MAX_HISTORY:
            raise ValueError(f"history {self.history} must lie between 0 and {MAX_HISTORY}")


class BehaviorCloning(nn.Module):
    """Supervised learning of the logged actions (Pomerleau 1988).

    Continuous actions are fitted by least squares, so the policy's mode approximates the mean logged action. Discrete
    actions are fitted by cross-entropy, which learns their probabilities.
    """

    Config = BCConfig
    imagines = False
    plans = False

    def __init__(self, config: BCConfig, task: LearnerSpec, images: dict[str, list[int]] | None = None) -> None:
        """``images`` maps the names of the images at the end of the state to their shapes (:class:`ImageTorso`)."""
        super().__init__()
        self.config = config
        self.torso = ImageTorso(task.state_dim, images or {}, config.image_depth)
        self.actor = actor_for(task.action_kind, self.torso.features_dim, task.action_dim, config.hidden)
        self.optimizer = torch.optim.Adam(self.parameters(), lr=config.learning_rate, fused=True)
        self.updates_done = 0

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """One optimizer over all parameters."""
        return [self.optimizer]

    def update(self, batch: Transitions, imagination: Imagination | None, generator: Generator) -> dict[str, Tensor]:
        """One gradient step on the imitation loss; ``imagination`` and ``generator`` are not used."""
        loss = self.actor.imitation_loss(self.torso(batch.state), batch.action).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.updates_done += 1
        return {"bc_loss": loss.detach()}

    def act(self, state: Tensor, generator: Generator | None) -> Tensor:
        """The mode of the policy, "B A", in states "B Z"; ``generator`` is not used."""
        return self.actor.mode(self.torso(state))

    def critic_for_states(self) -> None:
        """None: behavior cloning learns no values."""

    def action_density(self) -> ActorNetwork | str:
        """The actor for discrete actions and states without images; otherwise the reason for having no density."""
        if isinstance(self.actor, TanhGaussianActor):
            return "the policy is deterministic: least squares learns no standard deviation"
        if len(self.torso.encoders):
            return "the policy sees images, and its convolutions are not part of the actor"
        return self.actor
