"""What ``reports/metrics/evaluate.json`` holds."""

from dataclasses import dataclass

SCHEMA_VERSION = 3  # 3: `learners`, and any number of baselines; 2 knew `bc` alone
POLICY, LOGGED, RANDOM = "policy", "logged", "random"  # agents; all others are baselines, called by their learners

Interval = tuple[float, float]  # lower and upper bound


@dataclass(frozen=True)
class ScoreSummary:
    """Returns of one agent over all episodes of all its seeds. ``X_ci95`` is the 95 % interval of ``X``.

    A score is a normalized return (:mod:`pipeline.evaluation.scores`); scores are None for a dataset without reference
    returns.
    """

    mean: float | None  # of the scores
    mean_ci95: Interval | None
    iqm: float | None  # interquartile mean of the scores
    iqm_ci95: Interval | None
    return_mean: float  # of the raw returns
    return_mean_ci95: Interval
    episodes: int  # of all seeds together
    seeds: int


@dataclass(frozen=True)
class ImaginationSettings:
    """How the imagined return was measured. ``basis`` says in words what is compared with what."""

    horizon: int  # steps
    starts: int  # first states of held-out episodes, drawn with replacement
    basis: str


@dataclass(frozen=True)
class VisitedPenalty:
    """Correlations of one penalty with the true one-step error on the policy's own steps; None where undefined."""

    spearman: float | None
    pearson: float | None
    kind: str  # aleatoric, epistemic or total


@dataclass(frozen=True)
class VisitedSeed:
    """The world model of one seed on real steps of that seed's policy."""

    steps: int
    true_error: float  # mean over steps, in units of reward
    penalties: dict[str, VisitedPenalty]
    coverage: list[float] | None  # share of targets inside each central interval; None where there are no intervals
    action_spread: float | None = None  # how much the actions vary; 0: the same action in every state


@dataclass(frozen=True)
class Visited:
    """Errors of the world models where the policies really go."""

    episodes: int  # recorded for each seed
    levels: list[float]  # of the central intervals
    left_out: dict[str, str]  # penalties that could not be computed, and why
    by_seed: list[VisitedSeed]


@dataclass(frozen=True)
class Learner:
    """How the policy or a baseline was learned."""

    name: str  # in the registry LEARNERS
    updates: int | None  # gradient updates; None for a planner, which only searches
    world_model: bool  # whether it used one


@dataclass(frozen=True)
class EvaluationSummary:
    """The contents of ``evaluate.json``: real and imagined returns of the learned policy, the baselines and the logs;
    None where not measured."""

    schema_version: int
    environment: str | None
    note: str | None
    scores: dict[str, ScoreSummary | None]  # by agent: policy, logged, the baselines, random
    learners: dict[str, Learner]  # by agent: policy, the baselines
    imagined_return: float
    real_return: float | None  # over the same number of steps as the imagined return
    exploitation_gap: float | None  # imagined less real
    imagination: ImaginationSettings
    seeds: list[int]
    privileged_knowledge: list[str]
    visited: Visited | None

    @property
    def baselines(self) -> list[str]:
        """The baselines, in the order of params.yaml."""
        return [agent for agent in self.learners if agent != POLICY]

    @property
    def agents(self) -> list[str]:
        """All agents in the order of tables and figures."""
        return [POLICY, *self.baselines, LOGGED, RANDOM]

    def summary(self, agent: str) -> ScoreSummary | None:
        """The scores of one agent; None where it was not run."""
        return self.scores.get(agent)


def score_line(agent: str, score: ScoreSummary) -> str:
    """One agent's mean return and mean score, each with its own 95 % interval, for the terminal."""
    line = f"{agent:>7}: return {plain_interval(score.return_mean, score.return_mean_ci95)}"
    return line if score.mean is None else f"{line}, score {plain_interval(score.mean, score.mean_ci95)}"


def plain_interval(value: float | None, bounds: Interval | None) -> str:
    """A number and its own interval with one decimal: "12.3 [11.0, 13.5]"; a dash for None."""
    if value is None or bounds is None:
        return "–"
    return f"{value:.1f} [{bounds[0]:.1f}, {bounds[1]:.1f}]"
