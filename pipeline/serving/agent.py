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
from pipeline.serving.requests import EPISODES, LARGEST_REQUEST, RawObservation, observations, past_actions
from pipeline.types import Observation


class Session:
    """Episodes of one caller that run side by side. Sessions share the networks alone, which acting only reads, so any
    number of them may act at once."""

    def __init__(self, policy: Policy, encoder: StateEncoder, spec: BundleSpec, episodes: int) -> None:
        self.encoder, self.spec, self.episodes = encoder, spec, episodes
        self.actions = actions_of(spec)
        self._actor = behavior(policy)
        self._state = encoder.initial(episodes)
        self._action = torch.zeros(episodes, self.actions.size)
        self._first = torch.ones(episodes)

    def act(self, obs: RawObservation) -> NDArray[Any]:
        """Actions "B A", or integers "B" if actions are discrete, for raw observations "B ...". Several vectors may be
        one array "B O", side by side in the order of their sorted names.

        Raises ValueError for observations of another shape and for values that are not finite or lead to actions that
        are not.
        """
        return self.step(observations(obs, self.spec))

    def act_after(self, obs: Observation, action: Tensor) -> NDArray[Any]:
        """Actions after all observations "B T ..." and actions "B T-1 A", in [-1, 1], since the episodes began."""
        steps = next(iter(obs.values())).shape[1]
        for t in range(steps):
            if t > 0:
                self._action = action[:, t - 1]
            last = self.step({key: values[:, t] for key, values in obs.items()})
        return last

    @torch.no_grad()
    def step(self, obs: Observation) -> NDArray[Any]:
        """The same for observations that are checked already (:mod:`pipeline.serving.requests`)."""
        batch = len(next(iter(obs.values())))
        if batch != self.episodes:
            raise ValueError(f"got {batch} observations for {self.episodes} episodes; call reset({batch}) first")
        state = _finite(self.encoder.observe(self._state, self._action, obs, self._first), "state")
        action = _finite(self._actor(state, 0, None), "action")
        self._state, self._action, self._first = state, action, torch.zeros(batch)
        return self.actions.denormalize(action.numpy())


def _finite(rows: Tensor, name: str) -> Tensor:
    bad = torch.nonzero(~rows.isfinite().all(-1))
    if len(bad):
        raise ValueError(
            f"observation {int(bad[0, 0])} (from 0) leads to a {name} that is not finite: its values are too far from "
            "those of the logs; check their units"
        )
    return rows


class PolicyAgent:
    """A policy and the encoder that turns observations into its states. It keeps the session of one caller: ``reset``
    begins it, ``act`` goes on. Callers at the same time take a :meth:`session` each.

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
        self._session = self.session(0)

    def session(self, episodes: int) -> Session:
        """A new session of ``episodes`` episodes, apart from all others."""
        return Session(self.policy, self.encoder, self.spec, episodes)

    def reset(self, episodes: int) -> None:
        """Start ``episodes`` episodes that run in parallel."""
        self._session = self.session(episodes)

    def act(self, obs: RawObservation) -> NDArray[Any]:
        """Actions for the next observations of the episodes, as :meth:`Session.act` gives them."""
        return self._session.act(obs)

    def act_after(self, obs: Mapping[str, NDArray[Any]], action: NDArray[Any], most: int | None = None) -> NDArray[Any]:
        """Actions after all observations "B T ..." and actions "B T-1 A" (discrete: "B T-1") since the episodes began.

        For callers that keep nothing between calls; the agent's own episodes are not touched. Raises ValueError like
        ``act``, for actions of another shape, and for more than ``most`` observations.
        """
        past = observations(obs, self.spec, EPISODES, most)
        episodes, steps = next(iter(past.values())).shape[:2]
        return self.session(episodes).act_after(past, past_actions(action, self.actions, episodes, steps - 1))

    def answer(self, request: object) -> NDArray[Any]:
        """Actions "B A" for a request that stands alone: observations "B ...", or for a policy that keeps a state
        everything since each episode began, by name: observations "B T ..." and ``action`` "B T-1 A".

        Raises ValueError for a malformed request and for more than ``LARGEST_REQUEST`` observations.
        """
        if not self.stateful:
            past = observations(request, self.spec, most=LARGEST_REQUEST)
            return self.session(len(next(iter(past.values())))).step(past)
        if not isinstance(request, Mapping) or "action" not in request:
            raise ValueError(f"the policy keeps a state: send {[*sorted(self.spec.obs_shapes), 'action']} by name")
        obs = {key: value for key, value in request.items() if key != "action"}
        return self.act_after(obs, request["action"], LARGEST_REQUEST)


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
