"""Evaluate policies in real episodes if there is an environment, and by the return that the world model predicts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.assessment.penalty_quality import fitted_penalties
from pipeline.data.dataset import PreparedDataset
from pipeline.data.transitions import encode_transitions
from pipeline.evaluation import EvaluationConfig
from pipeline.evaluation.compare import Array, imagined_of, real_of, results_of, scores_of
from pipeline.evaluation.episodes import ArrayAgent, EpisodeResults
from pipeline.evaluation.results import LOGGED, POLICY, RANDOM, EvaluationSummary, Learner, score_line
from pipeline.evaluation.visited import visited_of
from pipeline.policies import BASELINES
from pipeline.protocols import Penalty
from pipeline.serving.agent import PolicyAgent, RandomAgent
from pipeline.world_models.protocols import TrainableWorldModel


@dataclass(frozen=True)
class Evaluation:
    """Measurements of all seeds."""

    summary: EvaluationSummary  # the content of reports/metrics/evaluate.json
    returns: dict[str, Array]  # raw returns "S E", and imagined ones "S N"
    episodes: dict[str, list[EpisodeResults]]  # real ones by agent and seed; empty without an environment

    def lines(self) -> list[str]:
        """The scores as lines of text, each number with its own 95 % interval."""
        lines = [score_line(name, score) for name, score in self.summary.scores.items() if score is not None]
        if self.summary.environment is None:
            lines.append("no environment: no real returns, only the world model's prediction and errors")
        return lines


def evaluate(
    agents: Mapping[str, Sequence[PolicyAgent]],
    models: Sequence[TrainableWorldModel],
    dataset: PreparedDataset,
    config: EvaluationConfig,
    seeds: list[int],
    discount: float,
) -> Evaluation:
    """Evaluate ``agents["policy"]`` and any other agents, one of each for every seed, beside the logs and random
    actions; ``models`` are the world models of the same seeds. Without an environment, real returns are left out.

    Raises ValueError when the environment cannot be made or does not fit the agents.
    """
    spec = dataset.spec
    policies = agents[POLICY]
    returns: dict[str, Array] = {LOGGED: dataset.episode_returns("all")[None]}
    episodes: dict[str, list[EpisodeResults]] = {}
    real_prefix = None
    if spec.env_id is not None:
        contenders: dict[str, Sequence[ArrayAgent]] = {**agents, RANDOM: [RandomAgent(spec, config.seed)]}
        results = {name: results_of(group, spec, config, discount=discount) for name, group in contenders.items()}
        returns |= {name: np.stack([r.returns for r in group]) for name, group in results.items()}
        episodes = {name: results[name] for name in agents}
        real_prefix = real_of(policies, spec, config, max_steps=config.imagined_horizon)
    imagined = imagined_of(policies, models, dataset, config)

    def penalties_of(model: TrainableWorldModel) -> dict[str, Penalty]:
        return fitted_penalties(encode_transitions(dataset, "train", model), config.seed)

    visited = visited_of(policies, models, penalties_of, spec, config)
    privileged = models[0].privileged_knowledge()
    learners = {name: learner_of(group[0]) for name, group in agents.items()}
    summary = scores_of(returns, imagined, real_prefix, spec, config, seeds, privileged, visited, learners)
    imagined_and_real = {"imagined": imagined} | ({} if real_prefix is None else {"real_prefix": real_prefix})
    return Evaluation(summary, returns | imagined_and_real, episodes)


def learner_of(agent: PolicyAgent) -> Learner:
    """How the agent was learned, as its bundle says."""
    return Learner(agent.spec.policy, agent.spec.config.get("updates"), agent.spec.policy not in BASELINES)
