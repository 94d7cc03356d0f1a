"""Behavior cloning: the baseline that every learned policy must beat."""

from dataclasses import field
from functools import cached_property

import torch
from pydantic.dataclasses import dataclass
from torch import Generator, Tensor, nn

from pipeline.encoders.history import History
from pipeline.imagination import Imagination
from pipeline.networks.actor import ActorNetwork, TanhGaussianActor, actor_for
from pipeline.networks.adam import LeanAdam
from pipeline.networks.conv import ImageTorso
from pipeline.networks.schedule import follow_cosine
from pipeline.policies.learner_spec import LearnerSpec
from pipeline.types import Transitions
from pipeline.validation import OPTIONS, Flag, LearningRate, PositiveFloat, PositiveInt, Units, Widths


@dataclass(frozen=True, config=OPTIONS)
class BCConfig:
    """Options of behavior cloning: block ``bc``, and ``policy.name: bc``."""

    updates: PositiveInt = 5000  # gradient updates
    batch_size: PositiveInt = 256  # logged steps in one update
    # each logged step is drawn in proportion to exp(its episode's advantage / temperature), with advantages scaled to
    # [0, 1]; null: all alike
    return_temperature: PositiveFloat | None = None
    hidden: Widths = field(default_factory=lambda: [128, 128])  # widths of the hidden layers
    image_depth: Units = 16  # channels of the first convolution, for image observations
    learning_rate: LearningRate = 1e-3  # learning rate of Adam
    decay: Flag = False  # whether the learning rate decays to zero along a cosine
    # steps before the present one that the policy sees, for logged behavior that had memory or waited for effects
    history: History = 0


class BehaviorCloning(nn.Module):
    """Supervised learning of the logged actions (Pomerleau 1988).

    Continuous actions are fitted by least squares, so the policy's mode approximates the mean logged action. Discrete
    actions are fitted by cross-entropy, which learns their probabilities.
    """

    Config = BCConfig
    imagines = False
    model_free = True
    plans = False
    discrete = True

    def __init__(self, config: BCConfig, task: LearnerSpec, images: dict[str, list[int]] | None = None) -> None:
        """``images`` maps the names of the images at the end of the state to their shapes (:class:`ImageTorso`)."""
        super().__init__()
        self.config = config
        self.torso = ImageTorso(task.state_dim, images or {}, config.image_depth)
        self.actor = actor_for(task.action_kind, self.torso.features_dim, task.action_dim, config.hidden)
        self.updates_done = 0

    @cached_property
    def optimizer(self) -> torch.optim.Optimizer:
        """Made when training asks for it: to act needs none, and torch takes a second for the first."""
        return LeanAdam(self.parameters(), lr=self.config.learning_rate)

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """One optimizer over all parameters."""
        return [self.optimizer]

    def update(self, batch: Transitions, imagination: Imagination | None, generator: Generator) -> dict[str, Tensor]:
        """One gradient step on the imitation loss; ``imagination`` and ``generator`` are not used."""
        c = self.config
        if c.decay:
            follow_cosine(self.optimizer, c.learning_rate, self.updates_done, c.updates)
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
