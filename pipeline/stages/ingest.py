"""Logs of any source -> data/dataset: validated, split by episode and stored in one prepared form."""

from dataclasses import asdict
from pathlib import Path

from pipeline.ingest.ingest import ingest
from pipeline.ingest.sources import SOURCES
from pipeline.params import choose, section
from pipeline.stages.files import write_json
from pipeline.stages.stage import stage

READS = ["${dataset.path}", "${dataset.held_out_path}", "data/transforms"]
WRITES = ["data/dataset", "reports/metrics/dataset.json"]
COUNTS = ("transitions", "episodes", "held_out_episodes", "dropped", "terminals")


def main() -> None:
    """Run the stage."""
    with stage("ingest") as run:
        source, config = choose(SOURCES, section(run.params, "dataset"), "dataset", key="source")
        run.log_params({"dataset": run.params["dataset"]})

        ingested = ingest(source(config).read(), config, WRITES[0])
        spec, card = ingested.dataset.spec, ingested.card

        write_json(f"{WRITES[0]}/checks.json", [asdict(result) for result in ingested.checks])
        write_json(WRITES[1], card)
        run.log_dataset(spec, Path(WRITES[0]))
        returns = {f"return_{key}": value for key, value in card["returns"].items()}
        run.log_metrics({**{key: float(card[key]) for key in COUNTS}, **returns}, step=0)
        run.log_artifact(WRITES[1])
        run.print(f"{spec.name}: " + ", ".join(f"{card[key]} {key}" for key in COUNTS))
        for warning in spec.warnings:
            run.print(f"warning: {warning}")
        for result in ingested.checks:
            if result.warns:
                run.print(result.line)


if __name__ == "__main__":
    main()
