"""Outputs of the stages before the report, with synthetic but realistic numbers, for the tests of the report."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.assessment.results import (
    FeatureError,
    HorizonCorrelations,
    ModelErrors,
    PenaltyQuality,
    Reliability,
    RolloutCorrelations,
    Trust,
)
from pipeline.data.episode import Episode, LoggedData
from pipeline.evaluation.results import (
    EvaluationSummary,
    ImaginationSettings,
    Learner,
    Visited,
    VisitedPenalty,
    VisitedSeed,
)
from pipeline.evaluation.statistics import summary
from pipeline.ingest.checks import run_checks
from pipeline.ingest.dataset_card import card
from pipeline.ingest.writer import write_dataset
from pipeline.ope.results import (
    FQEEstimate,
    ImportanceEstimate,
    LoggedValue,
    ModelEstimate,
    PolicyEstimates,
    SeedEstimates,
    TrueValue,
)
from pipeline.ope.summary import offline_result
from pipeline.policies.history import PolicyHistory
from pipeline.serving.model_card import SCORES_ELSEWHERE
from pipeline.uncertainty.calibration_file import Calibration, PenaltyCalibration
from pipeline.validation.records import save_record
from pipeline.world_models.results import TerminationQuality, TerminationRecord, WorldModelHistory

HORIZONS = [1, 2, 5, 10, 20, 50]
PENALTIES = {"max_aleatoric": 0.45, "ensemble_std": 0.75}  # name -> rank correlation with the true error
KINDS = {"max_aleatoric": "aleatoric", "ensemble_std": "total"}
OUTPUTS = {"state[0]": 0.9, "state[1]": 0.6, "reward": 0.95}  # name -> coverage of its 90 % interval
LEVELS = [0.5, 0.8, 0.9, 0.95]
IMAGINED_HORIZON = 50
References = tuple[float, float] | tuple[None, None]


def write_outputs(
    root: Path,
    seeds: list[int],
    with_environment: bool = True,
    references: bool = True,
    action_dim: int = 1,
    baselines: Sequence[str] = ("bc",),
) -> None:
    """Write the outputs of a finished pipeline below ``root``. Each of the ``baselines`` is better than the one before
    it, and none as good as the policy."""
    rng = np.random.default_rng(7)
    refs: References = (-1200.0, -150.0) if references else (None, None)
    logged = _dataset(root, rng, refs, with_environment, action_dim)
    for seed in seeds:
        _world_model(root / f"data/world_model/seed-{seed}", rng)
        _calibration(root / f"data/calibration/seed-{seed}", rng)
        _policies(root, seed, rng, with_environment, baselines)
    _evaluation(root, seeds, rng, logged, refs, with_environment, baselines)


def _dataset(
    root: Path, rng: np.random.Generator, refs: References, with_environment: bool, action_dim: int
) -> np.ndarray:
    def episode(quality: float) -> Episode:
        steps = int(rng.integers(80, 121))
        obs = {"state": np.cumsum(rng.normal(size=(steps + 1, 3)), 0).astype(np.float32)}
        action = np.clip(rng.normal(0, 1.2, size=(steps, action_dim)), -2, 2).astype(np.float32)
        reward = (-9 + 6 * quality + rng.normal(size=steps)).astype(np.float32)
        return Episode(obs, action, reward, terminated=bool(rng.random() < 0.2))

    log = LoggedData(
        place="made-up log",
        source="npz",
        episodes=[episode(q) for q in rng.random(60)],
        action_low=[-2.0] * action_dim,
        action_high=[2.0] * action_dim,
        env_id="Pendulum-v1" if with_environment else None,
        ref_min_score=refs[0],
        ref_max_score=refs[1],
        ref_source="params" if refs[0] else None,
        warnings=["rewards <are> made up: nothing was done"],
    )
    dataset = write_dataset(root / "data/dataset", log, "pendulum-mixed", 0.1, 0)
    save_record(run_checks(dataset), root / "data/dataset/checks.json")
    save_record(card(dataset, run_checks(dataset)), root / "reports/metrics/dataset.json")
    return dataset.episode_returns("all")


def _world_model(folder: Path, rng: np.random.Generator) -> None:
    def epoch(i: int) -> dict[str, Any]:
        mse = 0.02 + 0.5 * np.exp(-i / 6) * rng.uniform(0.8, 1.3, 7)
        nll = -2 + 3 * np.exp(-i / 8)
        row = {
            "epoch": i,
            "train_nll": nll - 0.2,
            "train_mse": float(mse.mean()),
            "held_out_mse": mse.tolist(),
            "held_out_nll": nll + 0.1,
            "held_out_low_share": 0.012,
            "held_out_high_share": 0.0,
        }
        return row | {"updates": 100 * (i + 1), "seconds": 1.0 + i}

    epochs = [epoch(i) for i in range(30)]
    history = WorldModelHistory(
        epochs=epochs,
        criterion="mse",
        best=epochs[-1]["held_out_mse"],
        elites=[0, 1, 2, 4, 6],
        stopped="early",
        termination=TerminationRecord(used="learned", precision=0.91, recall=0.84, positives=12),
    )
    save_record(history, folder / "history.json")


def _calibration(folder: Path, rng: np.random.Generator) -> None:
    error = np.exp(rng.normal(-3, 0.8, 4000))
    samples = {"true_error": error}
    quality = {}
    for name, link in PENALTIES.items():
        noise = rng.normal(0, 0.8, len(error))
        penalty = np.exp(link * np.log(error) + (1 - link) * noise)
        samples[f"penalty_{name}"] = penalty
        pearson = float(np.corrcoef(error, penalty)[0, 1])
        along = HorizonCorrelations(spearman=[link, link - 0.3], pearson=[link, None])
        quality[name] = PenaltyQuality(
            kind=KINDS[name],
            spearman=link + 0.1,
            pearson=pearson,
            auc=0.5 + link / 2,
            rollout=RolloutCorrelations([1, 5], along, along),
            score=link,
        )
    h = np.array(HORIZONS, float)
    errors = ModelErrors(
        horizons=HORIZONS,
        context=5,
        model_rmse=(0.03 * h**0.7 * rng.uniform(0.9, 1.1)).tolist(),
        persistence_rmse=np.minimum(1.3, 0.2 * h**0.6).tolist(),
        linear_rmse=(0.1 * h**0.6).tolist(),
        reward_mae=(0.1 * h**0.5).tolist(),
        reward_linear_mae=(0.2 * h**0.5).tolist(),
        reward_baseline_mae=np.full(6, 1.9).tolist(),
        windows=500,
        penalties=quality,
        trust=Trust(17, 50, quantile=0.9, model_error=[], persistence_error=[], apart=1.4, share=0.5),
        features=[_feature(name, i) for i, name in enumerate(OUTPUTS)],
        termination=TerminationQuality(precision=0.9, recall=0.8, positives=12),
    )
    scaled = PenaltyCalibration(None, 1.5, {}, None, {}, None, 0.0)
    save_record(errors, folder / "errors.json")
    save_record(_reliability(), folder / "reliability.json")
    calibration = Calibration(17, 50, "ensemble_std", dict.fromkeys(PENALTIES, scaled), None)
    calibration.save(folder.with_suffix(".json"))
    np.savez(folder / "samples.npz", **samples)


def _feature(name: str, place: int) -> FeatureError:
    rmse = 0.5 - 0.1 * place
    return FeatureError(name, rmse, persistence_rmse=1.0, linear_rmse=0.45, r2=1 - rmse**2, linear_r2=0.8)


def _reliability() -> Reliability:
    return Reliability(
        outputs=list(OUTPUTS),
        levels=LEVELS,
        temperature=[1.0, 2.5, 0.9],
        coverage_before=[[level * x / 0.9 for x in OUTPUTS.values()] for level in LEVELS],
        coverage_after=[[level] * 3 for level in LEVELS],
        nll_before=[-1.0, 2.0, -1.0],
        nll_after=[-1.0, 1.0, -1.2],
        nll_constant=[1.4] * 3,
        steps_fitted=2000,
        steps_judged=2100,
        basis="changes and reward as logged",
    )


def _visited(seeds: list[int]) -> Visited:
    ranks = {name: VisitedPenalty(1 - link, 0.5, KINDS[name]) for name, link in PENALTIES.items()}
    ranks["bellman"] = VisitedPenalty(0.4, 0.3, "epistemic")
    row = VisitedSeed(500, 0.2, ranks, [0.3, 0.5, 0.7, 0.8])
    return Visited(10, LEVELS, {}, [row for _ in seeds])


def _policies(
    root: Path, seed: int, rng: np.random.Generator, with_environment: bool, baselines: Sequence[str]
) -> None:
    rows = []
    for update in range(500, 20_001, 500):
        done = 1 - np.exp(-update / 5000)
        row: dict[str, Any] = {"update": update, "critic_loss": 20 * (1.1 - done) * rng.uniform(0.7, 1.3)}
        row |= {"actor_loss": 90 * done + rng.normal(), "alpha": 0.3 * (1.05 - done), "q_mean": -90 * done}
        row |= {"imagined_reward": -8 + 6 * done + rng.normal(0, 0.2), "imagined_penalty": 0.2 + 0.1 * rng.random()}
        row |= {"imagined_terminal_rate": 0.002 * rng.random()}
        if with_environment and update % 5000 == 0:
            row["return_mean"] = -1100 + 900 * done + rng.normal(0, 20)
        rows.append(row)
    save_record(PolicyHistory(rows), root / f"data/policy/seed-{seed}/history.json")
    (root / f"data/policy/seed-{seed}/README.md").write_text(f"# policy\n\n{SCORES_ELSEWHERE}\n")
    cloned = [
        {"update": u, "loss": 0.3 + np.exp(-u / 900), "held_out_loss": 0.35 + np.exp(-u / 900)}
        for u in range(100, 3001, 100)
    ]
    for name in baselines:
        save_record(PolicyHistory(cloned), root / f"data/baselines/seed-{seed}/{name}/history.json")


def _evaluation(
    root: Path,
    seeds: list[int],
    rng: np.random.Generator,
    logged: np.ndarray,
    refs: References,
    with_environment: bool,
    baselines: Sequence[str],
) -> None:
    shape = (len(seeds), 40)
    returns = {"logged": logged[None], "imagined": rng.normal(-80, 20, (len(seeds), 256))}
    if with_environment:
        returns["policy"] = rng.normal(-180, 70, shape)
        returns |= {name: rng.normal(-560 + 50 * i, 120, shape) for i, name in enumerate(baselines)}
        returns |= {"random": rng.normal(-1200, 200, (1, 40)), "real_prefix": rng.normal(-95, 25, shape)}
    (root / "data/returns").mkdir(parents=True)
    np.savez(root / "data/returns/returns.npz", **returns)
    agents = [name for name in ("policy", *baselines, "logged", "random") if name in returns]
    learners = {"policy": Learner("sac", 20_000, True), **{name: Learner(name, 3000, False) for name in baselines}}
    imagined = float(returns["imagined"].mean())
    real = float(returns["real_prefix"].mean()) if with_environment else None
    evaluation = EvaluationSummary(
        schema_version=3,
        learners=learners,
        environment="Pendulum-v1" if with_environment else None,
        note=None if with_environment else "no environment is known for this dataset",
        scores={name: summary(returns[name], *refs, resamples=200) for name in agents},
        imagined_return=imagined,
        real_return=real,
        exploitation_gap=None if real is None else imagined - real,
        imagination=ImaginationSettings(IMAGINED_HORIZON, 256, "first 50 steps of an episode"),
        seeds=seeds,
        privileged_knowledge=["Action bounds come from the environment."] if with_environment else [],
        visited=_visited(seeds) if with_environment else None,
    )
    save_record(evaluation, root / "reports/metrics/evaluate.json")
    _offline(root, seeds, returns, baselines)


def estimates(value: float) -> PolicyEstimates:
    """Every estimate of one policy is ``value``, but importance weighting gives none."""
    bounds = {"value": value, "low": 1.2 * value, "high": 0.8 * value, "per_step": value / 100}
    model = ModelEstimate(**bounds, members=[value], return_mean=value, return_low=value, return_high=value, starts=6)
    reason = "1.2 effective episodes of 6, fewer than 5"
    return PolicyEstimates(
        fqe=FQEEstimate(**bounds, critics=[value], drift=-1.5, clamped=0.02, transitions=100),
        model=model,
        model_pessimistic=model,
        importance=ImportanceEstimate(None, None, None, None, unweighted=None, ess=1.2, reason=reason),
    )


def _offline(root: Path, seeds: list[int], returns: dict[str, np.ndarray], baselines: Sequence[str]) -> None:
    """Every estimate but importance weighting is higher for the policy than for the baselines."""
    logged = LoggedValue(value=-400.0, low=-480.0, high=-320.0, per_step=-4.0, return_mean=-700.0, episodes=6)
    agents = {"policy": estimates(-120.0), **{name: estimates(-330.0 + 20 * i) for i, name in enumerate(baselines)}}
    truth = {
        name: [TrueValue(return_mean=float(r.mean()), value=0.8 * float(r.mean())) for r in returns[name]]
        for name in agents
        if name in returns
    }
    by_seed = [SeedEstimates(2, seed, discount=0.99, horizon=120, logged=logged, agents=agents) for seed in seeds]
    save_record(offline_result(by_seed, truth), root / "reports/metrics/offline.json")
