"""data/world_model/seed-K -> data/calibration/seed-K: where the model errs, and whether its uncertainty knows."""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from pipeline.data.store import open_dataset
from pipeline.data.tensors import encoded, windows
from pipeline.evaluation.model_error import HORIZONS, one_step, open_loop, ranking
from pipeline.imagination import Imagination
from pipeline.params import build, section
from pipeline.randomness import generator
from pipeline.tracking.stage import stage
from pipeline.training import TrainerConfig, set_up_torch
from pipeline.uncertainty import PENALTIES, Penalty
from pipeline.world_models.storage import load_world_model

READS = ["data/dataset", "data/world_model/seed-{seed}"]
WRITES = ["data/calibration/seed-{seed}"]
WINDOWS, STEPS = 1000, 20_000  # held-out windows replayed, held-out transitions ranked


def main(seed: int) -> None:
    with stage("assess_world_model", seed) as run:
        set_up_torch(build(TrainerConfig, section(run.params, "trainer"), "trainer"))
        dataset = open_dataset("data/dataset")
        model = load_world_model(Path(READS[1].format(seed=seed)))
        longest = int(dataset.episode_lengths("held_out").max())
        length = max(h for h in HORIZONS if h <= longest)
        rows = windows(dataset, "held_out", length, WINDOWS, generator(seed, "assess", "windows"))
        span = rows[:, None] + torch.arange(length + 1)
        flat = torch.from_numpy(dataset.flat_obs(span.flatten().numpy())).unflatten(0, span.shape)
        action, reward = (torch.from_numpy(np.array(a[span[:, :-1].numpy()])) for a in (dataset.action, dataset.reward))

        penalties = {name: Penalty(name) for name in PENALTIES}
        errors = open_loop(Imagination(model, penalties["ensemble_std"]), model.encoder.encode(flat), action, reward)
        held_out = encoded(dataset, "held_out", model.encoder)
        picks = torch.randperm(len(held_out), generator=generator(seed, "assess", "steps"))[:STEPS]
        samples = one_step(model, held_out[picks], penalties)
        errors["penalties"] = ranking(samples)

        folder = Path(WRITES[0].format(seed=seed))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "errors.json").write_text(json.dumps(errors, indent=2) + "\n")
        np.savez(folder / "samples.npz", **samples)  # type: ignore[arg-type]
        for h, error in zip(errors["horizons"], errors["model_rmse"], strict=True):
            run.log_metrics({"assess/open_loop_rmse": error}, step=h)
        run.log_metrics({f"assess/spearman_{k}": v["spearman"] for k, v in errors["penalties"].items()}, step=0)
        run.print(f"open-loop error at {errors['horizons']}: {[round(e, 3) for e in errors['model_rmse']]}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, required=True)
    main(parser.parse_args().seed)
