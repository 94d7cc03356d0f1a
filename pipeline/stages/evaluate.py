"""data/policy, data/baselines -> data/returns, reports/metrics: real episodes where there is an environment, and the
returns that the world model predicts."""

from pathlib import Path

from pydantic import TypeAdapter

from pipeline.data.dataset import open_dataset
from pipeline.data.spec import DatasetSpec
from pipeline.evaluation import EvaluationConfig
from pipeline.evaluation.compare import headline_numbers
from pipeline.evaluation.evaluate import evaluate
from pipeline.evaluation.film import film_of
from pipeline.ope import OfflineConfig
from pipeline.ope.results import SeedEstimates
from pipeline.ope.summary import offline_numbers, offline_result, true_values
from pipeline.params import build, section
from pipeline.serving.agent import PolicyAgent, load_agent
from pipeline.serving.bundle import weights_digest
from pipeline.stages.files import write_arrays
from pipeline.stages.stage import stage
from pipeline.training.config import TrainerConfig
from pipeline.training.trainer import set_up_torch
from pipeline.validation.records import DIGITS, load_record, save_record
from pipeline.world_models.checkpoint import load_world_model

READS = ["data/dataset", "data/world_model", "data/policy", "data/baselines", "data/offline"]
WRITES = ["data/returns", "reports/metrics/evaluate.json", "reports/metrics/offline.json"]
FILM = Path("data/returns/film.npz")
ESTIMATES = TypeAdapter(SeedEstimates)
AGAIN = "run `dvc repro evaluate`"


def main() -> None:
    """Run the stage."""
    with stage("evaluate") as run:
        set_up_torch(build(TrainerConfig, section(run.params, "trainer"), "trainer"))
        config = build(EvaluationConfig, section(run.params, "evaluation"), "evaluation")
        discount = build(OfflineConfig, section(run.params, "offline"), "offline").discount
        run.log_params({"evaluation": run.params["evaluation"]})
        seeds, dataset = run.params["seeds"], open_dataset("data/dataset")
        run.log_dataset(dataset.spec, "data/dataset")
        agents = {"policy": [load_agent(f"data/policy/seed-{seed}") for seed in seeds]}
        for name in run.params["baselines"]:
            agents[name] = [load_agent(f"data/baselines/seed-{seed}/{name}") for seed in seeds]
        models = [load_world_model(Path(f"data/world_model/seed-{seed}")) for seed in seeds]
        estimates = [load_record(ESTIMATES, f"data/offline/seed-{seed}.json") for seed in seeds]

        for seed, one in zip(seeds, estimates, strict=True):
            if list(one.agents) != list(agents):
                raise ValueError(
                    f"data/offline/seed-{seed}.json: of {list(one.agents)}, not of {list(agents)}: {AGAIN}"
                )

        evaluation = evaluate(agents, models, dataset, config, seeds, discount)
        truth = true_values(evaluation.episodes)
        summary, offline = evaluation.summary, offline_result(estimates, truth)

        folder = run.output(WRITES[0])
        write_arrays(folder / "returns.npz", evaluation.returns)
        run.log_artifact(folder / "returns.npz", "returns")
        save_record(summary, run.output(WRITES[1]), allow_nan=True, digits=DIGITS)
        save_record(offline, run.output(WRITES[2]), allow_nan=True, digits=DIGITS)
        run.log_headline(headline_numbers(summary) | offline_numbers(offline))
        digests = {f"seed-{seed}": weights_digest(Path(f"data/policy/seed-{seed}")) for seed in seeds}
        run.log_params({"policy_sha256": digests})
        for seed, true in zip(seeds, truth.get("policy", []), strict=False):
            place = f"evaluate/seed-{seed}"
            run.log_metrics({f"{place}/return": true.return_mean, f"{place}/value": true.value}, step=0)
        if config.film and dataset.spec.env_id is not None:
            run.print(_film(agents["policy"][0], dataset.spec, config, folder))
        for line in evaluation.lines():
            run.print(line)


def _film(agent: PolicyAgent, spec: DatasetSpec, config: EvaluationConfig, folder: Path) -> str:
    """Write the film of one episode into ``folder``; a line that says where it is, or why there is none."""
    try:
        film = film_of(agent, spec, config)
    except ValueError as error:
        return f"no film of the policy: {error}"
    write_arrays(folder / FILM.name, film, compressed=True)
    return f"film of the policy: {FILM}"


if __name__ == "__main__":
    main()
