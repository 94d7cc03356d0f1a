"""All estimates of a policy from one dataset and one world model, as written to ``data/offline/seed-K.json``."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.data.dataset import PreparedDataset
from pipeline.data.futures import logged_futures
from pipeline.data.rows import in_memory, logged_rows
from pipeline.data.transitions import IntArray, iter_states, observations
from pipeline.networks.actor import ActorNetwork
from pipeline.ope import OfflineConfig, fqe, importance
from pipeline.ope.density import fit_behavior
from pipeline.ope.estimates import discounted, discounts, per_step, replicate_interval
from pipeline.ope.evaluated_policy import EvaluatedPolicy
from pipeline.ope.model_value import imagined_rewards
from pipeline.ope.results import FQEEstimate, ImportanceEstimate, LoggedValue, ModelEstimate, PolicyEstimates
from pipeline.protocols import StateEncoder, first_state
from pipeline.seeding import generator
from pipeline.serving.agent import PolicyAgent
from pipeline.uncertainty import Penalty
from pipeline.world_models.protocols import TrainableWorldModel

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PaddedRewards:
    """Rewards of held-out episodes, zero beyond their steps."""

    reward: Array  # "E T"
    observed: Array  # "E T", see :mod:`pipeline.ope.importance`


class PolicyEvaluator:
    """Encodes the logs once for all policies that it evaluates.

    All random draws are the same for every policy, so that two estimates differ by the policies alone. ``model`` need
    not be the one that a policy was learned in.
    """

    def __init__(self, dataset: PreparedDataset, model: TrainableWorldModel, config: OfflineConfig, seed: int) -> None:
        self.dataset, self.model, self.config, self.seed = dataset, model, config, seed
        held_out, order = dataset.episodes("held_out"), self._generator("starts")
        picks = torch.randperm(len(held_out), generator=order)[: config.starts].sort().values
        self.episodes = held_out[picks.numpy()]
        self.horizon = config.horizon or int(dataset.episode_lengths("held_out").max())
        self.train = logged_rows(dataset, "train", model)

    def logged(self) -> LoggedValue:
        """The value of the held-out episodes themselves, discounted up to their last logged step."""
        rewards = self._padded_rewards()
        returns = discounted(rewards.reward, self.config.discount)
        low, high = replicate_interval(returns[None], self.config.bootstrap)
        return LoggedValue(
            value=float(returns.mean()),
            low=low,
            high=high,
            per_step=per_step(rewards.reward, rewards.observed, self.config.discount),
            return_mean=float(rewards.reward.sum(1).mean()),
            episodes=len(returns),
        )

    def __call__(self, agent: PolicyAgent) -> PolicyEstimates:
        """All estimates of the policy of ``agent``."""
        evaluated = EvaluatedPolicy(agent, self.model)
        fitted = self.fqe(evaluated)
        model, pessimistic = self.model_value(evaluated)
        return PolicyEstimates(fitted, model, pessimistic, self.importance(evaluated))

    def fqe(self, evaluated: EvaluatedPolicy) -> FQEEstimate:
        """Fitted Q evaluation on training transitions, at the first observations of held-out episodes."""
        config = self.config
        limit = config.planned_rows if evaluated.policy.plans else config.rows
        kept = torch.randperm(len(self.train), generator=self._generator("rows"))[:limit].sort().values
        steps = self.train[kept]
        kept_rows = steps.row.numpy()
        if evaluated.shares_state:
            next_action = evaluated.act(steps.next_state)
        else:
            next_action = evaluated.actions_along(self.dataset, "train", kept_rows + 1)
        data = fqe.Experience(
            state=steps.state,
            action=steps.action,
            reward=steps.reward,
            next_state=steps.next_state,
            next_action=next_action,
            terminal=steps.terminal,
            episode=self._episode_numbers(kept_rows),
        )
        start, start_action = self._starts(evaluated, self.episodes)
        fitted = fqe.fit(config, data, start, start_action, self._generator("fqe"))
        values = fitted.per_step.double().numpy() / (1 - config.discount)
        low, high = replicate_interval(values, config.bootstrap)
        mean = float(values.mean())
        return FQEEstimate(
            value=mean,
            low=low,
            high=high,
            per_step=mean * (1 - config.discount),
            critics=values.mean(1).tolist(),
            drift=fitted.drift / (1 - config.discount),
            clamped=fitted.clamped,
            transitions=len(data),
        )

    def model_value(self, evaluated: EvaluatedPolicy) -> tuple[ModelEstimate, ModelEstimate]:
        """The return imagined by the world model, without and with the penalty subtracted."""
        config = self.config
        episodes = self.episodes[: config.planned_starts] if evaluated.policy.plans else self.episodes
        first = self.dataset.offsets[episodes]
        penalty, draws = Penalty(config.penalty), self._generator("imagined")
        logs = logged_futures(self.dataset, self.model.data_spec.statistics)
        future = None if logs is None else logs.after(torch.from_numpy(first), self.horizon)
        obs, weight = observations(self.dataset, first), config.penalty_weight
        plain, pessimistic = imagined_rewards(evaluated, obs, self.horizon, penalty, weight, draws, future)
        return self._model_estimate(plain.numpy()), self._model_estimate(pessimistic.numpy())

    def _model_estimate(self, reward: Array) -> ModelEstimate:
        """The estimate from imagined rewards "M N T"."""
        values = discounted(reward, self.config.discount).mean(1)
        returns = reward.sum(-1).mean(1)
        return ModelEstimate(
            value=float(values.mean()),
            low=float(values.min()),
            high=float(values.max()),
            per_step=per_step(reward.mean(0), np.ones(reward.shape[1:]), self.config.discount),
            members=values.tolist(),
            return_mean=float(returns.mean()),
            return_low=float(returns.min()),
            return_high=float(returns.max()),
            starts=reward.shape[1],
        )

    def importance(self, evaluated: EvaluatedPolicy) -> ImportanceEstimate:
        """Per-decision weighted importance sampling over held-out episodes."""
        # This estimates the value of the policy with its own noise, not of its mode.
        density = evaluated.policy.action_density()
        if isinstance(density, str):
            return _no_importance(None, density)
        config = self.config
        padded, ratio = self._padded_rewards(), self._log_ratios(evaluated, density)
        reward, observed = padded.reward, padded.observed
        weights = discounts(reward.shape[1], config.discount)
        ess = importance.effective_episodes(ratio, observed, weights)
        if ess < config.least_ess:
            reason = f"{ess:.2g} effective episodes of {len(reward)}, fewer than {config.least_ess:g}"
            return _no_importance(ess, reason)
        value = float((weights * importance.weighted_rewards(ratio, reward, observed)).sum())
        low, high = self._importance_interval(ratio, reward, observed)
        return ImportanceEstimate(
            value=value,
            low=low,
            high=high,
            per_step=value / float(weights.sum()),
            unweighted=float((weights * importance.unweighted_rewards(ratio, reward, observed)).sum()),
            ess=ess,
            reason=None,
        )

    def _importance_interval(self, ratio: Array, reward: Array, observed: Array) -> tuple[float, float]:
        rng, weights = np.random.default_rng(0), discounts(reward.shape[1], self.config.discount)
        picks = rng.integers(len(reward), size=(self.config.bootstrap, len(reward)))
        values = [(weights * importance.weighted_rewards(ratio[p], reward[p], observed[p])).sum() for p in picks]
        low, high = np.quantile(values, [0.025, 0.975])
        return float(low), float(high)

    def _log_ratios(self, evaluated: EvaluatedPolicy, density: ActorNetwork) -> Array:
        """log pi - log mu "E T" of the logged actions, zero where there is no step."""
        ratio = np.zeros(len(self.dataset.action))
        log_policy = _log_densities(self.dataset, evaluated.encoder, density)
        log_behavior = _log_densities(self.dataset, self.model, self.behavior)
        rows = self.dataset.steps("held_out")
        ratio[rows] = (log_policy - log_behavior)[rows]
        return self._padded(ratio)

    @cached_property
    def behavior(self) -> ActorNetwork:
        """The density of the logged actions, fitted on training transitions."""
        draws = self._generator("behaviour")  # the old spelling: another string would change the draws
        kind = self.dataset.spec.action_kind
        return fit_behavior(in_memory(self.train), self.config.density_updates, draws, kind)

    def _starts(self, evaluated: EvaluatedPolicy, episodes: IntArray) -> tuple[torch.Tensor, torch.Tensor]:
        """The world model's first states "E Z" of ``episodes``, and the policy's actions there "E A"."""
        obs = observations(self.dataset, self.dataset.offsets[episodes])
        return first_state(self.model, obs, self.model.action_dim), evaluated.first_actions(obs)

    def _episode_numbers(self, rows: IntArray) -> torch.Tensor:
        """Episode numbers "B" of training rows, from 0 on, without gaps."""
        episode = np.searchsorted(self.dataset.offsets, rows, side="right") - 1
        return torch.from_numpy(np.unique(episode, return_inverse=True)[1])

    def _padded_rewards(self) -> PaddedRewards:
        reward = self._padded(np.asarray(self.dataset.reward, np.float64))
        ended = self._padded(self.dataset.terminal.astype(np.float64)).sum(1) > 0
        lengths = (np.diff(self.dataset.offsets) - 1)[self.episodes]
        logged = np.arange(reward.shape[1]) < lengths[:, None]
        return PaddedRewards(reward, (logged | ended[:, None]).astype(np.float64))

    def _padded(self, values: Array) -> Array:
        """Values of all rows "R" as those of the evaluated episodes "E T", zero beyond their steps."""
        first, last = self.dataset.offsets[self.episodes], self.dataset.offsets[self.episodes + 1] - 1
        at = first[:, None] + np.arange(int((last - first).max()))
        return np.where(at < last[:, None], values[np.minimum(at, last[:, None])], 0.0)

    def _generator(self, place: str) -> torch.Generator:
        return generator(self.seed, "offline", place)


def _no_importance(ess: float | None, reason: str) -> ImportanceEstimate:
    return ImportanceEstimate(None, None, None, None, unweighted=None, ess=ess, reason=reason)


@torch.no_grad()
def _log_densities(dataset: PreparedDataset, encoder: StateEncoder, density: ActorNetwork) -> Array:
    """Log-density of the logged action at every held-out row "R", zero elsewhere."""
    log_density = np.zeros(len(dataset.action))
    for rows, state in iter_states(dataset, "held_out", encoder):
        raw = density.unsquash(torch.from_numpy(dataset.action[rows]))
        log_density[rows] = density.log_prob(state, raw).double().numpy()
    return log_density
