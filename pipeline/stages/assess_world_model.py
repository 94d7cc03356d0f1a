"""data/world_model/seed-K -> data/calibration/seed-K: where the model errs, and whether its uncertainty knows."""

import argparse
import json
from pathlib import Path

import numpy as np

from pipeline.assessment.assess import assess, context_of, whole_windows
from pipeline.assessment.latents import latent_report
from pipeline.assessment.model_error import Scale
from pipeline.assessment.penalty_quality import fitted_penalties
from pipeline.data.dataset import open_dataset
from pipeline.data.transitions import encode_transitions
from pipeline.params import build, section
from pipeline.stages.stage import stage
from pipeline.training.trainer import TrainerConfig, set_up_torch
from pipeline.world_models.checkpoint import load_world_model
from pipeline.world_models.protocols import is_latent

READS = ["data/dataset", "data/world_model/seed-{seed}"]
WRITES = ["data/calibration/seed-{seed}", "data/calibration/seed-{seed}.json"]


def main(seed: int) -> None:
    with stage("assess_world_model", seed) as run:
        set_up_torch(build(TrainerConfig, section(run.params, "trainer"), "trainer"))
        dataset = open_dataset("data/dataset")
        model = load_world_model(Path(READS[1].format(seed=seed)))
        penalties = fitted_penalties(encode_transitions(dataset, "train", model), seed)
        found = assess(model, dataset, penalties, seed)
        errors, calibration = found.errors, found.calibration

        folder = Path(WRITES[0].format(seed=seed))
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in {"errors": errors, "reliability": found.reliability}.items():
            (folder / f"{name}.json").write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
        np.savez(folder / "samples.npz", **found.samples)  # type: ignore[arg-type]
        calibration.save(Path(WRITES[1].format(seed=seed)))
        if is_latent(model):
            scale, context = Scale(dataset.spec.obs_shapes, model.data_spec.statistics), context_of(dataset)
            latents = latent_report(model, whole_windows(dataset, context, seed), scale, context)
            np.savez_compressed(folder / "latents.npz", **latents)  # type: ignore[arg-type]
            active = float((latents["activity"] > latents["active_above"]).mean())
            run.log_metrics({"assess/active_latents": active}, step=0)
        for h, error in zip(errors["horizons"], errors["model_rmse"], strict=True):
            run.log_metrics({"assess/open_loop_rmse": error}, step=h)
        ranks = {f"assess/spearman_{k}": v["spearman"] for k, v in errors["penalties"].items()}
        run.log_metrics({k: v for k, v in ranks.items() if v is not None}, step=0)
        run.log_metrics({"assess/trusted_horizon": calibration.horizon}, step=0)
        run.print(f"open-loop error at {errors['horizons']}: {[round(e, 3) for e in errors['model_rmse']]}")
        run.print(f"best penalty {calibration.best_penalty}, trusted horizon {calibration.horizon} steps")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, required=True)
    main(parser.parse_args().seed)
