"""The world model where the learned policy really goes: the shift that matters, and that held-out logs do not show."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

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
from pipeline.envs.action_space import actions_of
from pipeline.evaluation import EvaluationConfig
from pipeline.evaluation.episodes import run_episodes
from pipeline.evaluation.recording import UNNAMED
from pipeline.imagination import Imagination
from pipeline.policies.protocols import Critic
from pipeline.protocols import Penalty
from pipeline.seeding import generator
from pipeline.serving.agent import PolicyAgent
from pipeline.types import Transitions
from pipeline.uncertainty import Bellman
from pipeline.world_models.protocols import TrainableWorldModel

EPISODES = 10  # recorded of each policy
STEPS = 20_000  # at most so many of their steps are looked at
LEVELS = [0.5, 0.8, 0.9, 0.95]
BELLMAN = "bellman"
NO_CRITICS = "the policy has no critics, whose values it would compare"

Json = dict[str, Any]


def visited_of(
    agents: Sequence[PolicyAgent],
    models: Sequence[TrainableWorldModel],
    penalties_of: Callable[[TrainableWorldModel], dict[str, Penalty]],
    spec: DatasetSpec,
    config: EvaluationConfig,
) -> Json | None:
    """Errors of each seed's model on real steps of that seed's policy; None without an environment.

    ``by_seed`` holds for each its ``steps``, the mean ``true_error`` of one step in the unit of the penalties, their
    correlations with it, and the ``coverage`` of central intervals at ``levels``, mean over outputs and without
    recalibration (null where there are none). ``penalties_of`` gives a model's penalties, fitted; the Bellman penalty,
    which only a policy's own critics know, comes beside them. ``left_out`` says why a penalty is missing.
    """
    if spec.env_id is None:
        return None
    count, rows = min(EPISODES, config.episodes), []
    for i, (agent, model) in enumerate(zip(agents, models, strict=True)):
        limits = (config.seed, config.env_batch, config.max_steps)
        ran = run_episodes(agent, spec.env_id, spec.env_kwargs, count, *limits, record=True)
        draws = generator(config.seed, "evaluate", "visited", i)
        critic_draws = generator(config.seed, "evaluate", "visited", BELLMAN, i)
        logs, critic = as_logs(ran.recorded, spec), agent.policy.critic_for_states()
        rows.append(_measured(model, logs, penalties_of(model), critic, draws, critic_draws))
    left_out = {} if all(BELLMAN in row["penalties"] for row in rows) else {BELLMAN: NO_CRITICS}
    return {"episodes": count, "levels": LEVELS, "left_out": left_out, "by_seed": rows}


def _measured(
    model: TrainableWorldModel,
    logs: PreparedDataset,
    penalties: dict[str, Penalty],
    critic: Critic | None,
    draws: torch.Generator,
    critic_draws: torch.Generator,
) -> Json:
    data = encode_transitions(logs, "all", model)
    data = data[torch.randperm(len(data), generator=draws)[:STEPS]]
    samples, found = one_step(model, data, penalties, draws), beliefs(model, data)
    kinds = {name: penalty.kind for name, penalty in penalties.items()}
    if critic is not None:
        samples[f"penalty_{BELLMAN}"] = bellman(model, data, critic, critic_draws)
        kinds[BELLMAN] = Bellman.kind
    covered = None if isinstance(found, str) else coverage(pit(*found), LEVELS).mean(1).tolist()
    return {
        "steps": len(data),
        "true_error": float(samples["true_error"].mean()),
        "penalties": {name: {**told, "kind": kinds[name]} for name, told in ranking(samples).items()},
        "coverage": covered,
    }


@torch.no_grad()
def bellman(model: TrainableWorldModel, steps: Transitions, critic: Critic, draws: torch.Generator) -> np.ndarray:
    """The Bellman penalty "B" of real steps under the values of ``critic``."""
    imagination, asked = Imagination(model, Bellman()), replace(steps, logged=torch.zeros_like(steps.logged))
    value = lambda state: critic.value(state, draws)  # noqa: E731
    parts = [imagination.recompute_penalties(part, value, draws) for part in asked.split(ROWS)]
    return torch.cat([part.penalty for part in parts]).numpy()


def as_logs(episodes: Sequence[Episode], spec: DatasetSpec) -> PreparedDataset:
    """Recorded episodes in the form of prepared logs, in memory; ``spec`` is that of the logs that were learned from,
    and its counts are of those."""
    actions = actions_of(spec)

    def rows(steps: np.ndarray) -> np.ndarray:
        """The last row of an episode holds its final observation alone."""
        return np.concatenate([steps, np.zeros_like(steps[:1])])

    unit = [np.clip(actions.normalize(e.action), -1, 1).astype(np.float32) for e in episodes]
    ends = [np.arange(len(e.action)) == (len(e.action) - 1 if e.terminated else -1) for e in episodes]
    obs = {
        key: np.concatenate([e.obs.get(key, e.obs.get(UNNAMED)) for e in episodes])  # type: ignore[misc]
        for key in spec.obs_keys
    }
    return PreparedDataset(
        spec=spec,
        obs={k: v if v.dtype == np.uint8 else v.astype(np.float32) for k, v in obs.items()},
        action=np.concatenate([rows(a) for a in unit]),
        reward=np.concatenate([rows(e.reward.astype(np.float32)) for e in episodes]),
        terminal=np.concatenate([rows(x) for x in ends]),
        offsets=np.concatenate([[0], np.cumsum([len(e.action) + 1 for e in episodes])]),
        held_out=np.ones(len(episodes), bool),
    )
