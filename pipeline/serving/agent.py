"""Policies as environments use them: raw observations in, raw actions out, as numpy arrays in the environment's
units."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.data.dataset import PreparedDataset
from pipeline.envs.action_space import ActionSpec, actions_of
from pipeline.policies.history import PolicyHistory
from pipeline.policies.learned import LearnedPolicy
from pipeline.policies.protocols import Policy, is_planner
from pipeline.protocols import Actor, StateEncoder
from pipeline.serving.bundle import BundleSpec, learned_spec
from pipeline.serving.load_bundle import load_bundle

RawObservation = NDArray[Any] | Mapping[str, NDArray[Any]]


class PolicyAgent:
    """A policy and the encoder that turns observations into its states; it keeps the state between calls.

    ``history`` is the content of the bundle's ``history.json``, if the policy was learned in this process.
    """

    def __init__(
        self, policy: Policy, encoder: StateEncoder, spec: BundleSpec, history: PolicyHistory | None = None
    ) -> None:
        self.policy, self.encoder, self.spec = policy, encoder, spec
        self.history = history or PolicyHistory([])
        self.actions = actions_of(spec)
        self.obs_dim: int | None = sum(math.prod(shape) for shape in spec.obs_shapes.values())
        self.action_kind: str = self.actions.kind
        self.action_dim: int | None = self.actions.size
        self.stateful = encoder.stateful
        self._actor = behavior(policy)
        self._state = torch.empty(0)
        self._action = torch.empty(0)
        self._first = torch.empty(0)

    def reset(self, episodes: int) -> None:
        """Start ``episodes`` episodes that run in parallel."""
        self._actor = behavior(self.policy)
        self._state = self.encoder.initial(episodes)
        self._action = torch.zeros(episodes, self.actions.size)
        self._first = torch.ones(episodes)

    @torch.no_grad()
    def act(self, obs: RawObservation) -> NDArray[Any]:
        """Actions "B A", or integers "B" if actions are discrete, for raw observations "B ...". Several vectors may be
        one array "B O", side by side in the order of their sorted names.

        Raises ValueError for observations of another shape and for values that are not finite.
        """
        tensors = self._tensors(obs)
        batch = len(next(iter(tensors.values())))
        if batch != len(self._state):
            raise ValueError(f"got {batch} observations for {len(self._state)} episodes; call reset({batch}) first")
        self._state = self.encoder.observe(self._state, self._action, tensors, self._first)
        self._action = self._actor(self._state, 0, None)
        self._first = torch.zeros(batch)
        return self.actions.denormalize(self._action.numpy())

    def act_after(self, obs: Mapping[str, NDArray[Any]], action: NDArray[Any]) -> NDArray[Any]:
        """Actions after all observations "B T ..." and actions "B T-1 A" (discrete: "B T-1") since the episodes began.

        For callers that keep no agent between calls.
        """
        first = next(iter(obs.values()))
        self.reset(len(first))
        for t in range(first.shape[1]):
            if t > 0:
                self._action = torch.from_numpy(self.actions.normalize(action[:, t - 1])).float()
            last = self.act({key: values[:, t] for key, values in obs.items()})
        return last

    def _tensors(self, obs: RawObservation) -> dict[str, Tensor]:
        shapes = self.spec.obs_shapes
        named = obs if isinstance(obs, Mapping) else self._named(np.asarray(obs))
        if set(named) != set(shapes):
            raise ValueError(f"the policy expects observations {sorted(shapes)}, got {sorted(named)}")
        arrays = {k: np.asarray(v, np.uint8 if len(shapes[k]) == 3 else np.float32) for k, v in named.items()}
        for key, array in arrays.items():
            if list(array.shape[1:]) != list(shapes[key]):
                raise ValueError(f"observation `{key}` has shape {array.shape}, expected (batch, *{shapes[key]})")
            if not np.isfinite(array).all():
                raise ValueError(f"observation `{key}` holds values that are not finite")
        return {k: torch.from_numpy(a) for k, a in arrays.items()}

    def _named(self, obs: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """The observations by name, from one array. Raises ValueError for several vectors of another total size."""
        names = sorted(self.spec.obs_shapes)
        if len(names) == 1:
            return {names[0]: obs}
        sizes = [math.prod(self.spec.obs_shapes[name]) for name in names]
        if obs.shape[1:] != (sum(sizes),):
            shape = f"shape {obs.shape}, expected (batch, {sum(sizes)}): {', '.join(names)} side by side"
            raise ValueError(f"the observation has {shape}")
        return dict(zip(names, np.split(obs, np.cumsum(sizes)[:-1], axis=1), strict=True))


def behavior(policy: Policy) -> Actor:
    """How a policy acts in episodes that start now: by its mode, or for a planner by plans that continue each other."""
    return policy.receding() if is_planner(policy) else lambda state, t, generator: policy.act(state, None)


class RandomAgent:
    """Draws actions uniformly from the action space, from a seed."""

    def __init__(self, spec: ActionSpec, seed: int) -> None:
        self.actions = actions_of(spec)
        self.rng = np.random.default_rng(seed)
        self.obs_dim: int | None = None
        self.action_kind: str = self.actions.kind
        self.action_dim: int | None = self.actions.size

    def reset(self, episodes: int) -> None:
        """Nothing to reset: actions do not depend on earlier ones."""

    def act(self, obs: RawObservation) -> NDArray[Any]:
        """Random actions, one for each observation "B ..."."""
        return self.actions.uniform(self.rng, len(next(iter(obs.values())) if isinstance(obs, Mapping) else obs))


def agent_of(learned: LearnedPolicy, dataset: PreparedDataset) -> PolicyAgent:
    """The agent of a policy that was just learned from ``dataset``."""
    policy = learned.policy.eval().requires_grad_(False)
    agent = PolicyAgent(policy, learned.encoder, learned_spec(learned, dataset), learned.history)
    agent.reset(1)
    return agent


def load_agent(folder: Path | str) -> PolicyAgent:
    """The agent in a policy bundle. Raises ValueError with the reason if the bundle is damaged or unsafe."""
    policy, encoder, spec = load_bundle(folder)
    agent = PolicyAgent(policy, encoder, spec)
    agent.reset(1)
    return agent
