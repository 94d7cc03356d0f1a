"""Logs of any source, validated, split by episode and stored in one prepared form."""

import json
from pathlib import Path

from pipeline.data.card import card
from pipeline.data.sources import SOURCES
from pipeline.data.writer import write_dataset
from pipeline.params import choose, section
from pipeline.tracking.stage import stage

READS = ["${dataset.path}", "${dataset.held_out_path}"]
WRITES = ["data/dataset", "reports/metrics/dataset.json"]


def main() -> None:
    with stage("ingest") as run:
        block = section(run.params, "dataset")
        source, config = choose(SOURCES, block, "dataset", key="source")
        run.log_params({"dataset": block})
        name = config.name or config.title
        logged = source(config).read()
        split = (config.held_out_fraction, config.split_seed, config.train_share)
        dataset = write_dataset(WRITES[0], logged, name, *split)
        facts = card(dataset)
        metrics = Path(WRITES[1])
        metrics.parent.mkdir(parents=True, exist_ok=True)
        metrics.write_text(json.dumps(facts, indent=2) + "\n")
        run.log_dataset(dataset.spec, Path(WRITES[0]))
        counts = ("transitions", "episodes", "held_out_episodes", "dropped", "terminals")
        returns = {f"return_{key}": value for key, value in facts["returns"].items()}
        run.log_metrics({**{key: float(facts[key]) for key in counts}, **returns}, step=0)
        run.log_artifact(WRITES[1])
        run.print(f"{name}: " + ", ".join(f"{facts[key]} {key}" for key in counts))
        for warning in dataset.spec.warnings:
            run.print(f"warning: {warning}")


if __name__ == "__main__":
    main()
