"""Logs of any source, validated, split by episode and stored in one prepared form."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.ingest.checks import run_checks
from pipeline.ingest.dataset_card import card
from pipeline.ingest.sources import SOURCES
from pipeline.ingest.transform import transformed
from pipeline.ingest.writer import write_dataset
from pipeline.params import choose, section
from pipeline.stages.stage import stage

READS = ["${dataset.path}", "${dataset.held_out_path}", "data/transforms"]
WRITES = ["data/dataset", "reports/metrics/dataset.json"]


def main() -> None:
    with stage("ingest") as run:
        block = section(run.params, "dataset")
        source, config = choose(SOURCES, block, "dataset", key="source")
        run.log_params({"dataset": block})
        name = config.name or config.title
        logged = transformed(source(config).read(), config.transform)
        split = (config.held_out_fraction, config.split_seed, config.train_share)
        dataset = write_dataset(WRITES[0], logged, name, *split)
        found = run_checks(dataset)
        facts = card(dataset, found)
        write_json(Path(WRITES[0]) / "findings.json", [asdict(finding) for finding in found])
        write_json(Path(WRITES[1]), facts)
        run.log_dataset(dataset.spec, Path(WRITES[0]))
        counts = ("transitions", "episodes", "held_out_episodes", "dropped", "terminals")
        returns = {f"return_{key}": value for key, value in facts["returns"].items()}
        run.log_metrics({**{key: float(facts[key]) for key in counts}, **returns}, step=0)
        run.log_artifact(WRITES[1])
        run.print(f"{name}: " + ", ".join(f"{facts[key]} {key}" for key in counts))
        for warning in dataset.spec.warnings:
            run.print(f"warning: {warning}")
        for finding in found:
            if finding.warns:
                run.print(finding.line)


def write_json(file: Path, content: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()
