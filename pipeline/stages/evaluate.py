"""Policies -> data/returns, reports/metrics/evaluate.json: real episodes where there is an environment, and what the
world model promised."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.assessment.penalty_quality import fitted_penalties
from pipeline.data.dataset import open_dataset
from pipeline.data.transitions import encode_transitions
from pipeline.evaluation import EvaluationConfig
from pipeline.evaluation.compare import (
    headline_numbers,
    imagined_of,
    real_of,
    results_of,
    scores_of,
    true_values,
)
from pipeline.evaluation.episodes import ArrayAgent
from pipeline.evaluation.visited import visited_of
from pipeline.ope import OfflineConfig
from pipeline.ope.summary import offline_numbers, offline_result
from pipeline.params import build, section
from pipeline.reporting.text.score_lines import score_lines
from pipeline.serving.agent import RandomAgent, load_agent
from pipeline.serving.bundle import weights_digest
from pipeline.serving.model_card import model_card
from pipeline.stages.stage import stage
from pipeline.training.trainer import TrainerConfig, set_up_torch
from pipeline.world_models.checkpoint import load_world_model

READS = ["data/dataset", "data/world_model", "data/policy", "data/bc", "data/offline"]
WRITES = ["data/returns", "reports/metrics/evaluate.json", "reports/model_card.md", "reports/metrics/offline.json"]


def main() -> None:
    with stage("evaluate") as run:
        set_up_torch(build(TrainerConfig, section(run.params, "trainer"), "trainer"))
        config = build(EvaluationConfig, section(run.params, "evaluation"), "evaluation")
        offline = build(OfflineConfig, section(run.params, "offline"), "offline")
        run.log_params({"evaluation": run.params["evaluation"]})
        dataset, seeds = open_dataset("data/dataset"), run.params["seeds"]
        run.log_dataset(dataset.spec, "data/dataset")
        spec = dataset.spec

        agents = {k: [load_agent(f"data/{k}/seed-{s}") for s in seeds] for k in ("policy", "bc")}
        returns = {"logged": dataset.episode_returns("all")[None]}
        real_prefix, truth = None, {}
        if spec.env_id is None:
            run.print("no environment: real returns are left out; model error and imagined return stand in for them")
        else:
            contenders: dict[str, Sequence[ArrayAgent]] = {
                **agents,
                "random": [RandomAgent(spec, config.seed)],
            }
            results = {k: results_of(group, spec, config, discount=offline.discount) for k, group in contenders.items()}
            returns |= {name: np.stack([r.returns for r in found]) for name, found in results.items()}
            truth = {name: true_values(results[name]) for name in agents}
            real_prefix = real_of(agents["policy"], spec, config, max_steps=config.imagined_horizon)
        models = [load_world_model(Path(f"data/world_model/seed-{s}")) for s in seeds]
        imagined = imagined_of(agents["policy"], models, dataset, config)

        penalties_of = lambda model: fitted_penalties(encode_transitions(dataset, "train", model), config.seed)  # noqa: E731
        result = scores_of(returns, imagined, real_prefix, spec, config, seeds)
        result["privileged_knowledge"] = models[0].privileged_knowledge()
        result["visited"] = visited_of(agents["policy"], models, penalties_of, spec, config)
        extra = {"imagined": imagined} | ({} if real_prefix is None else {"real_prefix": real_prefix})
        Path(WRITES[0]).mkdir(parents=True, exist_ok=True)
        np.savez("data/returns/returns.npz", **returns, **extra)  # type: ignore[arg-type]
        Path("reports/metrics").mkdir(parents=True, exist_ok=True)
        Path(WRITES[1]).write_text(json.dumps(result, indent=2) + "\n")
        Path(WRITES[2]).write_text(model_card(agents["policy"][0].spec, score_lines(result)))
        judged = offline_result([json.loads(Path(f"data/offline/seed-{s}.json").read_text()) for s in seeds], truth)
        Path(WRITES[3]).write_text(json.dumps(judged, indent=2) + "\n")
        run.log_headline(headline_numbers(result) | offline_numbers(judged))
        run.log_params({"policy_sha256": {f"seed-{s}": weights_digest(Path(f"data/policy/seed-{s}")) for s in seeds}})
        for s, found in zip(seeds, truth.get("policy", []), strict=False):
            run.log_metrics({f"evaluate/seed-{s}/{k}": v for k, v in found.items()}, step=0)
        for name, score in result["scores"].items():
            if score is not None:
                low, high = score["return_ci95"]
                normalized = "" if score["mean"] is None else f", score {score['mean']:.1f}"
                run.print(f"{name:>7}: return {score['return_mean']:.1f} [{low:.1f}, {high:.1f}]{normalized}")


if __name__ == "__main__":
    main()
