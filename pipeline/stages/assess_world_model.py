"""data/world_model/seed-K -> data/calibration/seed-K: where the model errs, and whether its uncertainty shows it."""

from collections.abc import Callable
from pathlib import Path

from pipeline.assessment import STOP, AssessmentConfig
from pipeline.assessment.assess_world_model import assess_world_model
from pipeline.assessment.gate import failures
from pipeline.data.dataset import open_dataset
from pipeline.params import build, section
from pipeline.stages.files import write_arrays
from pipeline.stages.stage import seed_argument, stage
from pipeline.training.config import TrainerConfig
from pipeline.training.trainer import set_up_torch
from pipeline.validation.records import DIGITS, save_record
from pipeline.world_models.checkpoint import load_world_model

READS = ["data/dataset", "data/world_model/seed-{seed}"]
WRITES = ["data/calibration/seed-{seed}", "data/calibration/seed-{seed}.json"]


def main(seed: int) -> None:
    """Run the stage for one seed."""
    with stage("assess_world_model", seed) as run:
        config = build(AssessmentConfig, section(run.params, "assessment"), "assessment")
        set_up_torch(build(TrainerConfig, section(run.params, "trainer"), "trainer"))
        dataset, model = open_dataset("data/dataset"), load_world_model(Path(READS[1].format(seed=seed)))
        run.log_dataset(dataset.spec, "data/dataset")

        assessment = assess_world_model(model, dataset, seed)
        errors, calibration, latents = assessment.errors, assessment.calibration, assessment.latents

        folder = run.output(WRITES[0].format(seed=seed))
        save_record(errors, f"{folder}/errors.json", digits=DIGITS, seal=True)
        save_record(assessment.reliability, f"{folder}/reliability.json", digits=DIGITS, seal=True)
        write_arrays(f"{folder}/samples.npz", assessment.samples)
        calibration.save(run.output(WRITES[1].format(seed=seed)))
        if latents is not None:
            write_arrays(f"{folder}/latents.npz", latents, compressed=True)
            active = float((latents["activity"] > latents["active_above"]).mean())
            run.log_metrics({"assess/active_latents": active}, step=0)
        for h, error in zip(errors.horizons, errors.model_rmse, strict=True):
            run.log_metrics({"assess/open_loop_rmse": error}, step=h)
        ranks = {f"assess/spearman_{name}": quality.spearman for name, quality in errors.penalties.items()}
        run.log_metrics({name: rank for name, rank in ranks.items() if rank is not None}, step=0)
        run.log_metrics({"assess/trusted_horizon": calibration.horizon}, step=0)
        run.print(f"open-loop error at {errors.horizons}: {[round(e, 3) for e in errors.model_rmse]}")
        run.print(
            f"`penalty.name: auto` would take {calibration.best_penalty}; trusted horizon {calibration.horizon} steps"
        )
        run.publish()  # what the gate refuses can be looked at
        pass_gate(failures(errors), config.gate, run.print)


def pass_gate(faults: list[str], gate: str, say: Callable[[str], None]) -> None:
    """Warn of the faults of a world model. Raises ValueError if ``gate`` is to stop at them."""
    if not faults:
        return
    sentence = ", and ".join(faults)
    if gate == STOP:
        fix = "improve the logs or the model, or set `assessment.gate: warn` to learn a policy in it all the same"
        raise ValueError(f"assessment.gate: {sentence}; {fix}. What stands in reports/ is of the run before")
    say(f"warning: {sentence}: do not trust what a policy learns in this model; `assessment.gate: stop` stops here")


if __name__ == "__main__":
    main(seed_argument())
