"""The pipeline as a few function calls, for notebooks and scripts. Nothing here needs DVC, MLflow or params.yaml::

    from pipeline import api

    dataset = api.ingest("data/mine", source="npz", path="logs.npz")
    model, history = api.fit_world_model(dataset, members=3)
    assessment = api.assess_world_model(model, dataset)
    agent = api.learn_policy(model, dataset, assessment)
    baselines = [api.learn_baseline(dataset, "bc")]
    evaluation = api.evaluate(agent, dataset, model, baselines)
    print("\\n".join(evaluation.lines()))

Options have the defaults of their config classes, which are also those of params.yaml. The stages of ``dvc.yaml`` call
the same functions of the rooms below, so equal options and seeds give equal results. ``progress=False`` switches
progress bars and messages off.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.assessment.assess import Assessment
from pipeline.assessment.assess_world_model import assess_world_model as _assess_world_model
from pipeline.data.dataset import PreparedDataset, open_dataset
from pipeline.data.episode import Episode
from pipeline.envs.permission import allow_packages
from pipeline.evaluation import EvaluationConfig
from pipeline.evaluation.evaluate import Evaluation
from pipeline.evaluation.evaluate import evaluate as _evaluate
from pipeline.evaluation.results import POLICY
from pipeline.imagination import RolloutConfig
from pipeline.ingest.checks import run_checks
from pipeline.ingest.dataset_card import card
from pipeline.ingest.ingest import ingest as _ingest
from pipeline.ingest.sources import SOURCES
from pipeline.ingest.sources.base import LogSpec, SourceConfig, combine
from pipeline.ope import OfflineConfig
from pipeline.ope.evaluate_offline import evaluate_offline as _evaluate_offline
from pipeline.ope.results import SeedEstimates
from pipeline.ope.summary import offline_result, true_values
from pipeline.params import build, choose
from pipeline.policies import BASELINES, LEARNERS
from pipeline.serving.agent import PolicyAgent, agent_of, load_agent
from pipeline.serving.bundle import save_bundle
from pipeline.serving.model_card import model_card
from pipeline.serving.policy_start import load_policy_start
from pipeline.tracking.console import quiet_libraries
from pipeline.training.baseline import learn_baseline as _learn_baseline
from pipeline.training.config import FitConfig, TrainerConfig
from pipeline.training.fit_world_model import fit_world_model as _fit_world_model
from pipeline.training.learn_policy import learn_policy as _learn_policy
from pipeline.training.session import Session
from pipeline.training.trainer import set_up_torch
from pipeline.uncertainty import PenaltyConfig
from pipeline.uncertainty.auto import resolve_auto
from pipeline.world_models import WORLD_MODELS
from pipeline.world_models.checkpoint import load_world_model, name_of, save_world_model
from pipeline.world_models.protocols import TrainableWorldModel
from pipeline.world_models.results import WorldModelHistory

Json = dict[str, Any]


def ingest(folder: Path | str, source: str, **options: Any) -> PreparedDataset:
    """Read a log, check it, and store it as a prepared dataset in ``folder``.

    ``source`` is a name in :data:`pipeline.ingest.sources.SOURCES`, and ``options`` are those of its config, such as
    ``path``; without ``held_out_path``, the log is split by episode. Raises ValueError for a log that cannot be used.
    """
    if "path" in options:
        options.setdefault("held_out_path", options["path"])
    source_class, config = choose(SOURCES, {"source": source, **options}, "dataset", key="source")
    allow_packages(config.env_packages)
    return _ingest(source_class(config).read(), config, folder).dataset


def ingest_episodes(
    folder: Path | str, episodes: Iterable[Episode], name: str = "episodes", **options: Any
) -> PreparedDataset:
    """Store episodes that are in memory as a prepared dataset in ``folder``.

    ``options`` are those of :class:`pipeline.ingest.sources.base.SourceConfig`, such as ``action_low``,
    ``action_high`` or ``env_id``. Raises ValueError for episodes that cannot be used.
    """
    block = {"path": name, "held_out_path": name, "name": name, **options}
    config = build(SourceConfig, block, "dataset")
    allow_packages(config.env_packages)
    logged = combine(config, "episodes", LogSpec(), episodes, dropped=0, warnings=[], size=0)
    return _ingest(logged, config, folder).dataset


def fit_world_model(
    dataset: PreparedDataset,
    name: str = "gaussian_ensemble",
    *,
    fit: FitConfig | None = None,
    trainer: TrainerConfig | None = None,
    seed: int = 0,
    progress: bool = True,
    **options: Any,
) -> tuple[TrainableWorldModel, WorldModelHistory]:
    """The world model ``name``, fitted to the training split, and its training history.

    ``name`` is one of :data:`pipeline.world_models.WORLD_MODELS`, and ``options`` are those of its config, such as
    ``members=3``. Raises ValueError when a loss is not finite.
    """
    model_class, config = choose(WORLD_MODELS, {"name": name, **options}, "world_model")
    trainer = _set_up(trainer)
    session = _session(progress)
    model, history = _fit_world_model(model_class, config, dataset, fit or FitConfig(), trainer, seed, session)
    return model.eval().requires_grad_(False), history


def assess_world_model(model: TrainableWorldModel, dataset: PreparedDataset, *, seed: int = 0) -> Assessment:
    """Errors on held-out episodes, calibration, the quality of every penalty, and the trusted horizon in steps
    (``assessment.calibration.horizon``)."""
    return _assess_world_model(model, dataset, seed)


def learn_baseline(
    dataset: PreparedDataset,
    name: str = "bc",
    *,
    trainer: TrainerConfig | None = None,
    seed: int = 0,
    progress: bool = True,
    **options: Any,
) -> PolicyAgent:
    """An agent that learned from the training split alone. ``name`` is one of :data:`pipeline.policies.BASELINES`, and
    ``options`` are those of its config, such as ``updates``. Raises ValueError for logs that it cannot learn from."""
    _, config = choose(BASELINES, {"name": name, **options}, "baseline")
    trainer = _set_up(trainer)
    learned = _learn_baseline(name, config, dataset, trainer, seed, _session(progress))
    return agent_of(learned, dataset)


def learn_policy(
    model: TrainableWorldModel,
    dataset: PreparedDataset,
    assessment: Assessment,
    name: str = "sac",
    *,
    penalty: PenaltyConfig | None = None,
    rollout: RolloutConfig | None = None,
    trainer: TrainerConfig | None = None,
    seed: int = 0,
    progress: bool = True,
    start_from: Path | str | None = None,
    **options: Any,
) -> PolicyAgent:
    """An agent whose policy was learned in the model's pessimistic imagination, from the weights of the policy bundle
    ``start_from`` if there is one.

    ``name`` is one of :data:`pipeline.policies.LEARNERS`, and ``options`` are those of its config, such as
    ``updates``. What ``penalty`` and ``rollout`` leave to ``auto`` is taken from the assessment. Raises ValueError
    when a loss is not finite, for a planner with discrete actions, and for a start that does not fit.
    """
    _, config = choose(LEARNERS, {"name": name, **options}, "policy")
    resolved, rollouts = resolve_auto(
        penalty or PenaltyConfig(), rollout or RolloutConfig(), assessment.calibration, model.reward_scale
    )
    trainer = _set_up(trainer)
    session = _session(progress)
    start = None if start_from is None else load_policy_start(Path(start_from))
    learned = _learn_policy(name, config, model, dataset, resolved, rollouts, trainer, seed, session, start=start)
    return agent_of(learned, dataset)


def evaluate_offline(
    agent: PolicyAgent,
    dataset: PreparedDataset,
    model: TrainableWorldModel,
    baselines: Sequence[PolicyAgent] = (),
    *,
    config: OfflineConfig | None = None,
    seed: int = 0,
) -> SeedEstimates:
    """Estimates of values from the logs and the model alone; ``agents["policy"]`` holds those of the agent by name,
    ``agents["bc"]`` those of a baseline, ``logged`` the value of the logged behavior."""
    return _evaluate_offline(_agents(agent, baselines), model, dataset, config or OfflineConfig(), seed)


def evaluate(
    agent: PolicyAgent,
    dataset: PreparedDataset,
    model: TrainableWorldModel,
    baselines: Sequence[PolicyAgent] = (),
    *,
    config: EvaluationConfig | None = None,
    discount: float = OfflineConfig.discount,
) -> Evaluation:
    """Real returns of the agent, the baselines, the logs and random actions, beside the return that the model predicts.
    Without an environment, real returns are left out."""
    agents = {name: [one] for name, one in _agents(agent, baselines).items()}
    return _evaluate(agents, [model], dataset, config or EvaluationConfig(), [agent.spec.seed], discount)


def save_policy(folder: Path | str, agent: PolicyAgent) -> None:
    """Write the agent as a policy bundle, which :func:`load_agent` reads."""
    save_bundle(Path(folder), agent.policy, agent.encoder, agent.spec, asdict(agent.history), model_card(agent.spec))


def write_report(
    folder: Path | str,
    dataset: PreparedDataset,
    model: TrainableWorldModel,
    history: WorldModelHistory,
    assessment: Assessment,
    agent: PolicyAgent,
    baselines: Sequence[PolicyAgent],
    evaluation: Evaluation,
    offline: SeedEstimates,
) -> Path:
    """Write the report as ``index.html`` with its figures, and return the page's path.

    ``history`` is that of the model; ``evaluation`` and ``offline`` must include the baselines.
    """
    from pipeline.reporting.page import write_report as _write_report
    from pipeline.reporting.results import Results

    seed, checks = agent.spec.seed, run_checks(dataset)
    results = Results(
        seeds=[seed],
        dataset=dataset,
        card=card(dataset, checks),
        checks=checks,
        world_model={seed: history},
        errors={seed: assessment.errors},
        reliability={seed: assessment.reliability},
        calibration={seed: assessment.calibration},
        samples={seed: assessment.samples},
        latents={} if assessment.latents is None else {seed: assessment.latents},
        policy={seed: agent.history},
        baselines={name: {seed: one.history} for name, one in _agents(agent, baselines).items() if name != POLICY},
        returns=dict(evaluation.returns),
        evaluation=evaluation.summary,
        offline=offline_result([offline], true_values(evaluation.episodes)),
    )
    return _write_report(results, _options(model, agent, baselines), "none: run without DVC", Path(folder))


def _options(model: TrainableWorldModel, agent: PolicyAgent, baselines: Sequence[PolicyAgent]) -> Json:
    """What was run, as blocks of params.yaml."""
    blocks = {
        "world_model": {"name": name_of(model), **asdict(model.config)},
        "policy": {"name": agent.spec.policy, **agent.spec.config},
        "penalty": agent.spec.penalty,
        **{one.spec.policy: one.spec.config for one in baselines},
    }
    return dict(json.loads(json.dumps(blocks)))  # as a JSON file would give them back


def _set_up(trainer: TrainerConfig | None) -> TrainerConfig:
    quiet_libraries()
    trainer = trainer or TrainerConfig()
    set_up_torch(trainer)
    return trainer


def _session(progress: bool) -> Session:
    return Session(say=print if progress else lambda line: None, progress=progress)


def _agents(agent: PolicyAgent, baselines: Sequence[PolicyAgent]) -> dict[str, PolicyAgent]:
    """The agents by the names that results give them. Raises ValueError for two baselines of one learner."""
    names = [one.spec.policy for one in baselines]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"two baselines learned by `{twice}`: give one of each learner")
    return {POLICY: agent, **dict(zip(names, baselines, strict=True))}


__all__ = [
    "Assessment",
    "Episode",
    "Evaluation",
    "EvaluationConfig",
    "FitConfig",
    "OfflineConfig",
    "PenaltyConfig",
    "RolloutConfig",
    "TrainerConfig",
    "allow_packages",
    "assess_world_model",
    "evaluate",
    "evaluate_offline",
    "fit_world_model",
    "ingest",
    "ingest_episodes",
    "learn_baseline",
    "learn_policy",
    "load_agent",
    "load_world_model",
    "open_dataset",
    "save_policy",
    "save_world_model",
    "write_report",
]
