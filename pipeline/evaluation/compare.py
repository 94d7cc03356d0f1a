"""Compare the learned policy with baselines, the logs and random actions, and imagined with real returns."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.data.dataset import DatasetSpec, PreparedDataset
from pipeline.data.futures import logged_futures
from pipeline.data.transitions import observations
from pipeline.evaluation import EvaluationConfig
from pipeline.evaluation.episodes import ArrayAgent, EpisodeResults, run_episodes
from pipeline.evaluation.imagined import imagined_returns
from pipeline.evaluation.results import (
    LOGGED,
    POLICY,
    RANDOM,
    SCHEMA_VERSION,
    EvaluationSummary,
    ImaginationSettings,
    Learner,
    ScoreSummary,
    Visited,
)
from pipeline.evaluation.statistics import summary
from pipeline.imagination import Imagination
from pipeline.protocols import first_state
from pipeline.seeding import generator
from pipeline.serving.agent import PolicyAgent
from pipeline.world_models.protocols import TrainableWorldModel

Array = NDArray[np.float64]


def results_of(
    agents: Sequence[ArrayAgent],
    spec: DatasetSpec,
    config: EvaluationConfig,
    max_steps: int | None = None,
    discount: float = 1.0,
) -> list[EpisodeResults]:
    """Run the evaluation episodes of each agent, cut after ``max_steps`` when given."""
    assert spec.env_id is not None
    limit = config.max_steps if max_steps is None else max_steps
    settings = (spec.env_id, spec.env_kwargs, config.episodes, config.seed, config.env_batch, limit, discount)
    return [run_episodes(agent, *settings) for agent in agents]


def real_of(
    agents: Sequence[ArrayAgent], spec: DatasetSpec, config: EvaluationConfig, max_steps: int | None = None
) -> Array:
    """Raw returns "S E" of each agent's episodes, cut after ``max_steps`` when given."""
    return np.stack([r.returns for r in results_of(agents, spec, config, max_steps)])


@torch.no_grad()
def imagined_of(
    agents: Sequence[PolicyAgent],
    models: Sequence[TrainableWorldModel],
    dataset: PreparedDataset,
    config: EvaluationConfig,
) -> Array:
    """Imagined returns "S N" of each seed's policy in that seed's own world model.

    Rollouts start at the first observations of held-out episodes, drawn with replacement.
    """
    firsts = torch.from_numpy(dataset.offsets[dataset.episodes("held_out")])
    picks = torch.randint(
        len(firsts), (config.imagined_starts,), generator=generator(config.seed, "evaluate", "starts")
    )
    rows = firsts[picks]
    obs = observations(dataset, rows.numpy())
    returns = []
    for i, (agent, model) in enumerate(zip(agents, models, strict=True)):
        starts = first_state(model, obs, model.action_dim)
        draws = generator(config.seed, "evaluate", "imagined", i)
        imagination = Imagination(model, logs=logged_futures(dataset, model.data_spec.statistics))
        returns.append(imagined_returns(imagination, agent.policy, starts, config.imagined_horizon, draws, rows))
    return torch.stack(returns).double().numpy()


def scores_of(
    returns: Mapping[str, Array],
    imagined: Array,
    real_prefix: Array | None,
    spec: DatasetSpec,
    config: EvaluationConfig,
    seeds: list[int],
    privileged_knowledge: list[str],
    visited: Visited | None,
    learners: dict[str, Learner],
) -> EvaluationSummary:
    """The contents of ``reports/metrics/evaluate.json``; what could not be measured is None.

    ``learners`` are those of the policy and the baselines. ``returns`` holds raw returns "S E" by agent, ``imagined``
    "S N" the imagined ones, and ``real_prefix`` "S E" the real returns over the same number of steps (None without an
    environment).
    """

    def score(name: str) -> ScoreSummary | None:
        if name not in returns:
            return None
        return summary(returns[name], spec.ref_min_score, spec.ref_max_score, config.bootstrap)

    imagined_return = float(imagined.mean())
    real_return = None if real_prefix is None else float(real_prefix.mean())
    agents = [POLICY, LOGGED, *(agent for agent in learners if agent != POLICY), RANDOM]
    basis = "undiscounted return of the policy's first steps: imagined from held-out first states, real from resets"
    return EvaluationSummary(
        schema_version=SCHEMA_VERSION,
        environment=spec.env_id,
        note="no environment: real returns could not be measured" if spec.env_id is None else None,
        scores={name: score(name) for name in agents},
        learners=learners,
        imagined_return=imagined_return,
        real_return=real_return,
        exploitation_gap=None if real_return is None else imagined_return - real_return,
        imagination=ImaginationSettings(config.imagined_horizon, config.imagined_starts, basis),
        seeds=seeds,
        privileged_knowledge=privileged_knowledge,
        visited=visited,
    )


def headline_numbers(evaluation: EvaluationSummary) -> dict[str, float]:
    """The single numbers of ``evaluate.json`` as metrics for MLflow; intervals and None are left out."""
    numbers: dict[str, object] = {
        f"evaluate/{agent}_{key}": value
        for agent, score in evaluation.scores.items()
        if score is not None
        for key, value in asdict(score).items()
    }
    numbers["evaluate/imagined_return"] = evaluation.imagined_return
    numbers["evaluate/real_return"] = evaluation.real_return
    numbers["evaluate/exploitation_gap"] = evaluation.exploitation_gap
    return {name: value for name, value in numbers.items() if isinstance(value, float)}
