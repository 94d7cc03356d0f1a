"""Learned policy, baseline, logs and chance side by side; and the world model's promise beside what came of it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.data.dataset import DatasetSpec, PreparedDataset
from pipeline.data.transitions import observations
from pipeline.evaluation import EvaluationConfig
from pipeline.evaluation.episodes import ArrayAgent, EpisodeResults, run_episodes
from pipeline.evaluation.imagined import imagined_returns
from pipeline.evaluation.statistics import summary
from pipeline.imagination import Imagination
from pipeline.protocols import WorldModel, first_state
from pipeline.seeding import generator
from pipeline.serving.agent import PolicyAgent

Array = NDArray[np.float64]
SCHEMA_VERSION = 1


def results_of(
    agents: Sequence[ArrayAgent],
    spec: DatasetSpec,
    config: EvaluationConfig,
    max_steps: int | None = None,
    discount: float = 1.0,
) -> list[EpisodeResults]:
    """Each agent's episodes, cut after ``max_steps`` when given."""
    assert spec.env_id is not None
    limit = config.max_steps if max_steps is None else max_steps
    settings = (spec.env_id, spec.env_kwargs, config.episodes, config.seed, config.env_batch, limit, discount)
    return [run_episodes(agent, *settings) for agent in agents]


def real_of(
    agents: Sequence[ArrayAgent], spec: DatasetSpec, config: EvaluationConfig, max_steps: int | None = None
) -> Array:
    """Raw returns "S E" of each agent's episodes, cut after ``max_steps`` when given."""
    return np.stack([r.returns for r in results_of(agents, spec, config, max_steps)])


def true_values(results: Sequence[EpisodeResults]) -> list[dict[str, float]]:
    """Mean ``return`` and discounted ``value`` of each seed's episodes."""
    return [{"return": float(r.returns.mean()), "value": float(r.discounted.mean())} for r in results]


@torch.no_grad()
def imagined_of(
    agents: Sequence[PolicyAgent], models: Sequence[WorldModel], dataset: PreparedDataset, config: EvaluationConfig
) -> Array:
    """Imagined returns "S N" of each seed's policy in that seed's own model, from the first observations of held-out
    episodes, drawn with replacement."""
    firsts = torch.from_numpy(dataset.offsets[dataset.episodes("held_out")])
    picks = torch.randint(
        len(firsts), (config.imagined_starts,), generator=generator(config.seed, "evaluate", "starts")
    )
    obs, rows = observations(dataset, firsts[picks].numpy()), []
    for i, (agent, model) in enumerate(zip(agents, models, strict=True)):
        starts = first_state(model, obs, model.action_dim)
        draws = generator(config.seed, "evaluate", "imagined", i)
        rows.append(imagined_returns(Imagination(model), agent.policy, starts, config.imagined_horizon, draws))
    return torch.stack(rows).double().numpy()


def scores_of(
    returns: dict[str, Array],
    imagined: Array,
    real_prefix: Array | None,
    spec: DatasetSpec,
    config: EvaluationConfig,
    seeds: list[int],
) -> dict[str, Any]:
    """The contents of ``reports/metrics/evaluate.json``; what could not be measured is null."""

    def score(name: str) -> dict[str, Any] | None:
        if name not in returns:
            return None
        return summary(returns[name], spec.ref_min_score, spec.ref_max_score, config.bootstrap)

    promised, real = float(imagined.mean()), None if real_prefix is None else float(real_prefix.mean())
    note = "no environment: real returns could not be measured" if spec.env_id is None else None
    basis = "undiscounted return of the policy's first steps: imagined from held-out first states, real from resets"
    return {
        "schema_version": SCHEMA_VERSION,
        "environment": spec.env_id,
        "note": note,
        "scores": {name: score(name) for name in ("policy", "logged", "bc", "random")},
        "imagined_return": promised,
        "real_return": real,
        "exploitation_gap": None if real is None else promised - real,
        "imagination": {"horizon": config.imagined_horizon, "starts": config.imagined_starts, "basis": basis},
        "seeds": seeds,
    }


def headline_numbers(result: dict[str, Any]) -> dict[str, float]:
    """The single numbers of ``evaluate.json``, flat, for the tracker."""
    scored = {f"evaluate/{n}_{k}": v for n, score in result["scores"].items() if score for k, v in score.items()}
    gap = {f"evaluate/{k}": result[k] for k in ("imagined_return", "real_return", "exploitation_gap")}
    return {k: v for k, v in (scored | gap).items() if isinstance(v, float)}
