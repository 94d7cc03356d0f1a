"""All estimates of a policy from one dataset and one world model, as they stand in ``data/offline/seed-K.json``."""

import dataclasses
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.data.dataset import PreparedDataset
from pipeline.data.transitions import IntArray, encode_transitions, iter_states, observations
from pipeline.networks.actor import ActorNetwork
from pipeline.ope import OfflineConfig, fqe, importance
from pipeline.ope.density import fit_behavior
from pipeline.ope.estimates import (
    Estimate,
    discounted,
    discounts,
    per_step,
    replicate_interval,
)
from pipeline.ope.evaluated_policy import EvaluatedPolicy
from pipeline.ope.model_value import imagined_rewards
from pipeline.protocols import StateEncoder, first_state
from pipeline.seeding import generator
from pipeline.serving.agent import PolicyAgent
from pipeline.uncertainty import Penalty
from pipeline.world_models.protocols import TrainableWorldModel

Json = dict[str, Any]
Array = NDArray[np.float64]


class PolicyEvaluator:
    """Filters the logs once for all the policies it judges. Everything is drawn alike for each of them, so that what
    sets two estimates apart is the policies. ``model`` may know nothing of how they were learned."""

    def __init__(self, dataset: PreparedDataset, model: TrainableWorldModel, config: OfflineConfig, seed: int) -> None:
        self.dataset, self.model, self.config, self.seed = dataset, model, config, seed
        held_out, order = dataset.episodes("held_out"), self._generator("starts")
        picks = torch.randperm(len(held_out), generator=order)[: config.starts].sort().values
        self.episodes = held_out[picks.numpy()]
        self.horizon = config.horizon or int(dataset.episode_lengths("held_out").max())
        self.train = encode_transitions(dataset, "train", model)

    def logged(self) -> Json:
        """The held-out episodes themselves: discounted as far as they go."""
        reward, observed = self._padded_rewards()
        returns = discounted(reward, self.config.discount)
        low, high = replicate_interval(returns[None], self.config.bootstrap)
        value = Estimate(float(returns.mean()), low, high, per_step(reward, observed, self.config.discount))
        return {**dataclasses.asdict(value), "return": float(reward.sum(1).mean()), "episodes": len(returns)}

    def __call__(self, agent: PolicyAgent) -> Json:
        """Estimates by name; one that cannot be given is null in ``value`` and says why in ``reason``."""
        judged = EvaluatedPolicy(agent, self.model)
        return {
            "fqe": self.fqe(judged),
            **self.model_value(judged),
            "importance": self.importance(judged),
        }

    def fqe(self, judged: EvaluatedPolicy) -> Json:
        config, rows = self.config, self.dataset.steps("train")
        most = config.planned_rows if judged.policy.plans else config.rows
        kept = torch.randperm(len(rows), generator=self._generator("rows"))[:most].sort().values
        steps, at = self.train[kept], rows[kept.numpy()]
        if judged.shares_state:
            next_action = judged.act(steps.next_state)
        else:
            next_action = judged.actions_along(self.dataset, "train", at + 1)
        data = fqe.Experience(
            *(steps.state, steps.action, steps.reward, steps.next_state, next_action, steps.terminal),
            episode=self._episode_numbers(at),
        )
        start, start_action = self._starts(judged, self.episodes)
        found = fqe.fit(config, data, start, start_action, self._generator("fqe"))
        values = found.per_step.double().numpy() / (1 - config.discount)
        low, high = replicate_interval(values, config.bootstrap)
        mean = float(values.mean())
        return {
            **dataclasses.asdict(Estimate(mean, low, high, mean * (1 - config.discount))),
            "critics": values.mean(1).tolist(),
            "drift": found.drift / (1 - config.discount),
            "clamped": found.clamped,
            "transitions": len(data),
        }

    def model_value(self, judged: EvaluatedPolicy) -> Json:
        """``model`` and ``model_pessimistic``, whose intervals run from the least to the largest member."""
        config = self.config
        some = self.episodes[: config.planned_starts] if judged.policy.plans else self.episodes
        obs = observations(self.dataset, self.dataset.offsets[some])
        penalty, draws = Penalty(config.penalty), self._generator("imagined")
        plain, pessimistic = imagined_rewards(judged, obs, self.horizon, penalty, config.penalty_weight, draws)
        return {"model": self._promised(plain.numpy()), "model_pessimistic": self._promised(pessimistic.numpy())}

    def _promised(self, reward: Array) -> Json:
        """From rewards "M N T"."""
        values = discounted(reward, self.config.discount).mean(1)
        returns = reward.sum(-1).mean(1)
        each_step = per_step(reward.mean(0), np.ones(reward.shape[1:]), self.config.discount)
        value = Estimate(float(values.mean()), float(values.min()), float(values.max()), each_step)
        return {
            **dataclasses.asdict(value),
            "members": values.tolist(),
            "return": float(returns.mean()),
            "return_low": float(returns.min()),
            "return_high": float(returns.max()),
            "starts": reward.shape[1],
        }

    def importance(self, judged: EvaluatedPolicy) -> Json:
        """Per-decision weighted importance sampling over held-out episodes."""
        # The policy with its own noise: the value that importance weighting estimates is of that, not of the mode.
        density = judged.policy.action_density()
        nothing = {"value": None, "low": None, "high": None, "per_step": None}
        if isinstance(density, str):
            return {**nothing, "ess": None, "reason": density}
        config = self.config
        (reward, observed), ratio = self._padded_rewards(), self._log_ratios(judged, density)
        weights = discounts(reward.shape[1], config.discount)
        ess = importance.effective_episodes(ratio, observed, weights)
        if ess < config.least_ess:
            reason = f"{ess:.2g} effective episodes of {len(reward)}, fewer than {config.least_ess:g}"
            return {**nothing, "ess": ess, "reason": reason}
        rewards = importance.weighted_rewards(ratio, reward, observed)
        value, low, high = float((weights * rewards).sum()), *self._importance_interval(ratio, reward, observed)
        unweighted = float((weights * importance.unweighted_rewards(ratio, reward, observed)).sum())
        estimate = Estimate(value, low, high, value / float(weights.sum()))
        return {**dataclasses.asdict(estimate), "unweighted": unweighted, "ess": ess, "reason": None}

    def _importance_interval(self, ratio: Array, reward: Array, observed: Array) -> tuple[float, float]:
        rng, weights = np.random.default_rng(0), discounts(reward.shape[1], self.config.discount)
        picks = rng.integers(len(reward), size=(self.config.bootstrap, len(reward)))
        found = [(weights * importance.weighted_rewards(ratio[p], reward[p], observed[p])).sum() for p in picks]
        low, high = np.quantile(found, [0.025, 0.975])
        return float(low), float(high)

    def _log_ratios(self, judged: EvaluatedPolicy, density: ActorNetwork) -> Array:
        """log pi - log mu "E T" of the logged actions, zero where there is no step."""
        ratio = np.zeros(len(self.dataset.action))
        policy = _log_densities(self.dataset, judged.encoder, density)
        behavior = _log_densities(self.dataset, self.model, self.behavior)
        rows = self.dataset.steps("held_out")
        ratio[rows] = (policy - behavior)[rows]
        return self._padded(ratio)

    @cached_property
    def behavior(self) -> ActorNetwork:
        draws, kind = self._generator("behaviour"), self.dataset.spec.action_kind
        return fit_behavior(self.train, self.config.density_updates, draws, kind)

    def _starts(self, judged: EvaluatedPolicy, episodes: IntArray) -> tuple[torch.Tensor, torch.Tensor]:
        obs = observations(self.dataset, self.dataset.offsets[episodes])
        return first_state(self.model, obs, self.model.action_dim), judged.first_actions(obs)

    def _episode_numbers(self, rows: IntArray) -> torch.Tensor:
        """Those of training rows, from 0 on, without gaps."""
        which = np.searchsorted(self.dataset.offsets, rows, side="right") - 1
        return torch.from_numpy(np.unique(which, return_inverse=True)[1])

    def _padded_rewards(self) -> tuple[Array, Array]:
        """Rewards of the judged episodes "E T", and which of them are observed (see ``importance``)."""
        reward = self._padded(np.asarray(self.dataset.reward, np.float64))
        ended = self._padded(self.dataset.terminal.astype(np.float64)).sum(1) > 0
        lengths = (np.diff(self.dataset.offsets) - 1)[self.episodes]
        logged = np.arange(reward.shape[1]) < lengths[:, None]
        return reward, (logged | ended[:, None]).astype(np.float64)

    def _padded(self, values: Array) -> Array:
        """Values of all rows "R" as those of the judged episodes "E T", zero beyond their steps."""
        first, last = self.dataset.offsets[self.episodes], self.dataset.offsets[self.episodes + 1] - 1
        at = first[:, None] + np.arange(int((last - first).max()))
        return np.where(at < last[:, None], values[np.minimum(at, last[:, None])], 0.0)

    def _generator(self, place: str) -> torch.Generator:
        return generator(self.seed, "offline", place)


@torch.no_grad()
def _log_densities(dataset: PreparedDataset, encoder: StateEncoder, density: ActorNetwork) -> Array:
    """Of the logged action at every held-out row "R"."""
    found = np.zeros(len(dataset.action))
    for rows, state in iter_states(dataset, "held_out", encoder):
        raw = density.unsquash(torch.from_numpy(dataset.action[rows]))
        found[rows] = density.log_prob(state, raw).double().numpy()
    return found
