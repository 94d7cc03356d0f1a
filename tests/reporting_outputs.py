"""Outputs of the stages before the report, with synthetic but realistic numbers, for the tests of the report."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.episode import Episode, LoggedData
from pipeline.evaluation.statistics import summary
from pipeline.ingest.checks import run_checks
from pipeline.ingest.writer import write_dataset
from pipeline.ope.summary import offline_result

HORIZONS = [1, 2, 5, 10, 20, 50]
PENALTIES = {"max_aleatoric": 0.45, "ensemble_std": 0.75}  # name -> rank correlation with the true error
KINDS = {"max_aleatoric": "aleatoric", "ensemble_std": "total"}
OUTPUTS = {"state[0]": 0.9, "state[1]": 0.6, "reward": 0.95}  # name -> coverage of its 90 % interval
LEVELS = [0.5, 0.8, 0.9, 0.95]
IMAGINED_HORIZON = 50
References = tuple[float, float] | tuple[None, None]


def write_outputs(
    root: Path, seeds: list[int], with_environment: bool = True, references: bool = True, action_dim: int = 1
) -> None:
    """Write the outputs of a finished pipeline below ``root``."""
    rng = np.random.default_rng(7)
    refs: References = (-1200.0, -150.0) if references else (None, None)
    logged = _dataset(root, rng, refs, with_environment, action_dim)
    for seed in seeds:
        _world_model(root / f"data/world_model/seed-{seed}", rng)
        _calibration(root / f"data/calibration/seed-{seed}", rng)
        _policies(root, seed, rng, with_environment)
    _evaluation(root, seeds, rng, logged, refs, with_environment)


def _json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


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
    _json(root / "data/dataset/checks.json", [asdict(result) for result in run_checks(dataset)])
    returns = dataset.episode_returns("all")
    quantiles = {f"q{q:02}": float(np.quantile(returns, q / 100)) for q in (5, 95)}
    card = {"returns": {"median": float(np.median(returns)), **quantiles}, "action_saturation": [0.1] * action_dim}
    _json(root / "reports/metrics/dataset.json", card)
    return returns


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
    termination = {"used": "learned", "precision": 0.91, "recall": 0.84, "positives": 12}
    history = {
        "epochs": epochs,
        "elites": [0, 1, 2, 4, 6],
        "criterion": "mse",
        "best": epochs[-1]["held_out_mse"],
        "termination": termination,
        "stopped": "early",
        "seconds": 31.0,
    }
    _json(folder / "history.json", history)


def _calibration(folder: Path, rng: np.random.Generator) -> None:
    error = np.exp(rng.normal(-3, 0.8, 4000))
    samples = {"true_error": error}
    correlations = {}
    for name, link in PENALTIES.items():
        noise = rng.normal(0, 0.8, len(error))
        penalty = np.exp(link * np.log(error) + (1 - link) * noise)
        samples[f"penalty_{name}"] = penalty
        pearson = float(np.corrcoef(error, penalty)[0, 1])
        rollout = {"spearman": [link, link - 0.3], "pearson": [link, None]}
        row = {"kind": KINDS[name], "spearman": link + 0.1, "pearson": pearson, "auc": 0.5 + link / 2, "score": link}
        correlations[name] = row | {"rollout": {"horizons": [1, 5], "sum": rollout, "max": rollout}}
    h = np.array(HORIZONS, float)
    errors = {
        "horizons": HORIZONS,
        "context": 5,
        "model_rmse": (0.03 * h**0.7 * rng.uniform(0.9, 1.1)).tolist(),
        "persistence_rmse": np.minimum(1.3, 0.2 * h**0.6).tolist(),
        "linear_rmse": (0.1 * h**0.6).tolist(),
        "reward_mae": (0.1 * h**0.5).tolist(),
        "reward_linear_mae": (0.2 * h**0.5).tolist(),
        "reward_baseline_mae": np.full(6, 1.9).tolist(),
        "windows": 500,
        "penalties": correlations,
        "trust": {"horizon": 17, "horizon_measured": 50, "quantile": 0.9, "share": 0.5, "apart": 1.4},
        "features": [_feature(name, i) for i, name in enumerate(OUTPUTS)],
        "termination": {"precision": 0.9, "recall": 0.8, "positives": 12},
    }
    _json(folder / "errors.json", errors)
    _json(folder / "reliability.json", _reliability())
    _json(folder.with_suffix(".json"), {"penalties": {name: {"scale": 1.5} for name in PENALTIES}})
    np.savez(folder / "samples.npz", **samples)


def _feature(name: str, place: int) -> dict[str, Any]:
    rmse = 0.5 - 0.1 * place
    linear = {"linear_rmse": 0.45, "linear_r2": 0.8}
    return {"name": name, "rmse": rmse, "persistence_rmse": 1.0, "r2": 1 - rmse**2, **linear}


def _reliability() -> dict[str, Any]:
    held = list(OUTPUTS.values())
    return {
        "outputs": list(OUTPUTS),
        "levels": LEVELS,
        "temperature": [1.0, 2.5, 0.9],
        "coverage_before": [[level * x / 0.9 for x in held] for level in LEVELS],
        "coverage_after": [[level] * 3 for level in LEVELS],
        **{"nll_before": [-1.0, 2.0, -1.0], "nll_after": [-1.0, 1.0, -1.2], "nll_constant": [1.4] * 3},
        **{"steps_fitted": 2000, "steps_judged": 2100, "basis": "changes and reward as logged"},
    }


def _visited(seeds: list[int]) -> dict[str, Any]:
    ranks = {name: {"spearman": 1 - link, "pearson": 0.5, "kind": KINDS[name]} for name, link in PENALTIES.items()}
    ranks["bellman"] = {"spearman": 0.4, "pearson": 0.3, "kind": "epistemic"}
    row = {"steps": 500, "true_error": 0.2, "penalties": ranks, "coverage": [0.3, 0.5, 0.7, 0.8]}
    return {"episodes": 10, "levels": LEVELS, "left_out": {}, "by_seed": [row for _ in seeds]}


def _policies(root: Path, seed: int, rng: np.random.Generator, with_environment: bool) -> None:
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
    _json(root / f"data/policy/seed-{seed}/history.json", {"rows": rows, "seconds": 90.0})
    cloned = [
        {"update": u, "loss": 0.3 + np.exp(-u / 900), "held_out_loss": 0.35 + np.exp(-u / 900)}
        for u in range(100, 3001, 100)
    ]
    _json(root / f"data/bc/seed-{seed}/history.json", {"rows": cloned, "seconds": 9.0})


def _evaluation(
    root: Path, seeds: list[int], rng: np.random.Generator, logged: np.ndarray, refs: References, with_environment: bool
) -> None:
    shape = (len(seeds), 40)
    returns = {"logged": logged[None], "imagined": rng.normal(-80, 20, (len(seeds), 256))}
    if with_environment:
        returns |= {"policy": rng.normal(-180, 70, shape), "bc": rng.normal(-560, 120, shape)}
        returns |= {"random": rng.normal(-1200, 200, (1, 40)), "real_prefix": rng.normal(-95, 25, shape)}
    (root / "data/returns").mkdir(parents=True)
    np.savez(root / "data/returns/returns.npz", **returns)
    agents = [name for name in ("policy", "bc", "logged", "random") if name in returns]
    imagined = float(returns["imagined"].mean())
    real = float(returns["real_prefix"].mean()) if with_environment else None
    evaluation = {
        "schema_version": 1,
        "environment": "Pendulum-v1" if with_environment else None,
        "note": None if with_environment else "no environment is known for this dataset",
        "scores": {name: summary(returns[name], *refs, resamples=200) for name in agents},
        "imagined_return": imagined,
        "real_return": real,
        "exploitation_gap": None if real is None else imagined - real,
        "imagination": {"horizon": IMAGINED_HORIZON, "starts": 256, "basis": "first 50 steps of an episode"},
        "visited": _visited(seeds) if with_environment else None,
        "privileged_knowledge": ["Action bounds come from the environment."] if with_environment else [],
        "seeds": seeds,
    }
    _json(root / "reports/metrics/evaluate.json", evaluation)
    _offline(root, seeds, returns)


def _offline(root: Path, seeds: list[int], returns: dict[str, np.ndarray]) -> None:
    """The policy is better than behavior cloning by every estimate except importance sampling, which gives none."""

    def estimates(value: float) -> dict[str, Any]:
        estimate = {"value": value, "low": 1.2 * value, "high": 0.8 * value, "per_step": value / 100}
        none = {**dict.fromkeys(estimate), "reason": "1.2 effective episodes of 6, fewer than 5"}
        return {
            "fqe": {**estimate, "drift": -1.5, "clamped": 0.02},
            "model": estimate,
            "model_pessimistic": estimate,
            "importance": none,
        }

    logged = {**estimates(-400.0)["fqe"], "return": -700.0, "episodes": 6}
    agents = {"policy": estimates(-120.0), "bc": estimates(-330.0)}
    truth = {
        name: [{"return": float(r.mean()), "value": 0.8 * float(r.mean())} for r in returns[name]]
        for name in agents
        if name in returns
    }
    by_seed = [{"discount": 0.99, "horizon": 120, "logged": logged, "seed": seed, "agents": agents} for seed in seeds]
    result = offline_result(by_seed, truth)
    _json(root / "reports/metrics/offline.json", result)
