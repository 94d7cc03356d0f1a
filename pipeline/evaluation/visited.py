"""The world model on the states that the learned policy really visits: a shift that held-out logs do not show."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from pipeline.assessment.calibration import coverage, pit
from pipeline.assessment.model_error import ROWS, one_step
from pipeline.assessment.penalty_quality import ranking
from pipeline.assessment.reliability import beliefs
from pipeline.data.dataset import PreparedDataset
from pipeline.data.episode import Episode
from pipeline.data.spec import DatasetSpec
from pipeline.data.transitions import encode_transitions
from pipeline.envs.action_space import DISCRETE, actions_of
from pipeline.evaluation import EvaluationConfig
from pipeline.evaluation.episodes import run_episodes
from pipeline.evaluation.recording import UNNAMED
from pipeline.evaluation.results import Visited, VisitedPenalty, VisitedSeed
from pipeline.imagination import Imagination
from pipeline.policies.protocols import Critic
from pipeline.protocols import Penalty
from pipeline.seeding import generator
from pipeline.serving.agent import PolicyAgent
from pipeline.types import Transitions
from pipeline.uncertainty import Bellman
from pipeline.world_models.protocols import TrainableWorldModel

EPISODES = 10  # recorded of each policy
STEPS = 20_000  # more steps than this are subsampled
LEVELS = [0.5, 0.8, 0.9, 0.95]
BELLMAN = "bellman"
NO_CRITICS = "the policy has no critics, whose values it would compare"


def visited_of(
    agents: Sequence[PolicyAgent],
    models: Sequence[TrainableWorldModel],
    penalties_of: Callable[[TrainableWorldModel], dict[str, Penalty]],
    spec: DatasetSpec,
    config: EvaluationConfig,
) -> Visited | None:
    """Errors of each seed's world model on real steps of that seed's policy; None without an environment.

    ``penalties_of`` returns the fitted penalties of a model. The Bellman penalty is added where the policy has critics.
    Coverage is the mean over outputs, without recalibration.
    """
    if spec.env_id is None:
        return None
    episodes = min(EPISODES, config.episodes)
    by_seed = []
    for i, (agent, model) in enumerate(zip(agents, models, strict=True)):
        limits = (config.seed, config.env_batch, config.max_steps)
        results = run_episodes(agent, spec.env_id, spec.env_kwargs, episodes, *limits, record=True)
        draws = generator(config.seed, "evaluate", "visited", i)
        critic_draws = generator(config.seed, "evaluate", "visited", BELLMAN, i)
        logs, critic = as_logs(results.recorded, spec), agent.policy.critic_for_states()
        by_seed.append(_measure(model, logs, penalties_of(model), critic, draws, critic_draws))
    left_out = {} if all(BELLMAN in row.penalties for row in by_seed) else {BELLMAN: NO_CRITICS}
    return Visited(episodes, LEVELS, left_out, by_seed)


def _measure(
    model: TrainableWorldModel,
    logs: PreparedDataset,
    penalties: dict[str, Penalty],
    critic: Critic | None,
    draws: torch.Generator,
    critic_draws: torch.Generator,
) -> VisitedSeed:
    data = encode_transitions(logs, "all", model)
    data = data[torch.randperm(len(data), generator=draws)[:STEPS]]
    samples = one_step(model, data, penalties, draws)
    predicted = beliefs(model, data)
    kinds = {name: penalty.kind for name, penalty in penalties.items()}
    if critic is not None:
        samples[f"penalty_{BELLMAN}"] = bellman(model, data, critic, critic_draws)
        kinds[BELLMAN] = Bellman.kind
    return VisitedSeed(
        steps=len(data),
        true_error=float(samples["true_error"].mean()),
        penalties={
            name: VisitedPenalty(rank.spearman, rank.pearson, kinds[name]) for name, rank in ranking(samples).items()
        },
        coverage=None if isinstance(predicted, str) else coverage(pit(*predicted), LEVELS).mean(1).tolist(),
        action_spread=action_spread(logs.action[logs.steps("all")], logs.spec.action_kind),
    )


def action_spread(action: np.ndarray, kind: str) -> float:
    """How much actions "B A" vary over states: the largest standard deviation of a dimension, where the range is -1 to
    1. For discrete actions (one-hot), the share of steps with another action than the most frequent one."""
    if kind == DISCRETE:
        return float(1 - action.mean(axis=0).max())
    return float(action.std(axis=0).max())


@torch.no_grad()
def bellman(model: TrainableWorldModel, steps: Transitions, critic: Critic, draws: torch.Generator) -> np.ndarray:
    """The Bellman penalty "B" of real steps under the values of ``critic``."""
    imagination = Imagination(model, Bellman())
    # The penalty of logged steps is zero, so these are declared imagined.
    imagined = replace(steps, logged=torch.zeros_like(steps.logged))

    def value(state: torch.Tensor) -> torch.Tensor:
        return critic.value(state, draws)

    parts = [imagination.recompute_penalties(part, value, draws) for part in imagined.split(ROWS)]
    return torch.cat([part.penalty for part in parts]).numpy()


def as_logs(episodes: Sequence[Episode], spec: DatasetSpec) -> PreparedDataset:
    """Recorded episodes as a prepared dataset in memory.

    ``spec`` is copied from the dataset that the policy was learned from, so its counts do not describe these episodes.
    """
    actions = actions_of(spec)

    def padded(steps: np.ndarray) -> np.ndarray:
        """One row more: the last row of an episode holds its final observation alone."""
        return np.concatenate([steps, np.zeros_like(steps[:1])])

    unit = [np.clip(actions.normalize(e.action), -1, 1).astype(np.float32) for e in episodes]
    ends = [np.arange(len(e.action)) == (len(e.action) - 1 if e.terminated else -1) for e in episodes]
    obs = {key: np.concatenate([_observed(e, key) for e in episodes]) for key in spec.obs_keys}
    return PreparedDataset(
        spec=spec,
        obs={k: v if v.dtype == np.uint8 else v.astype(np.float32) for k, v in obs.items()},
        action=np.concatenate([padded(a) for a in unit]),
        reward=np.concatenate([padded(e.reward.astype(np.float32)) for e in episodes]),
        terminal=np.concatenate([padded(x) for x in ends]),
        offsets=np.concatenate([[0], np.cumsum([len(e.action) + 1 for e in episodes])]),
        held_out=np.ones(len(episodes), bool),
    )


def _observed(episode: Episode, key: str) -> np.ndarray:
    return episode.obs[key] if key in episode.obs else episode.obs[UNNAMED]
