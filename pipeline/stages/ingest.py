"""Logs of any source -> data/dataset: validated, split by episode and stored in one prepared form."""

from pipeline.ingest.ingest import ingest
from pipeline.ingest.sources import SOURCES
from pipeline.params import choose, section
from pipeline.stages.stage import is_main_process, stage
from pipeline.validation.records import DIGITS, save_record

READS = ["${dataset.path}", "${dataset.held_out_path}", "data/transforms"]
WRITES = ["data/dataset", "reports/metrics/dataset.json"]
COUNTS = ("transitions", "episodes", "held_out_episodes", "dropped", "terminals")


def main() -> None:
    """Run the stage."""
    with stage("ingest", start=False) as run:
        source, config = choose(SOURCES, section(run.params, "dataset"), "dataset", key="source")
        logged = source(config).read()
        if is_main_process():
            run.start()
        run.log_params({"dataset": run.params["dataset"]})

        folder = run.output(WRITES[0])
        ingested = ingest(logged, config, folder)
        spec, card = ingested.dataset.spec, ingested.card

        save_record(ingested.checks, folder / "checks.json")
        save_record(card, run.output(WRITES[1]), digits=DIGITS)
        run.publish()
        run.log_dataset(spec, WRITES[0])
        counts = {key: vars(card)[key] for key in COUNTS}
        returns = {f"return_{key}": value for key, value in vars(card.returns).items()}
        run.log_metrics({**{key: float(count) for key, count in counts.items()}, **returns}, step=0)
        run.log_artifact(WRITES[1])
        run.print(f"{spec.name}: " + ", ".join(f"{count} {key.replace('_', ' ')}" for key, count in counts.items()))
        for warning in spec.warnings:
            run.print(f"warning: {warning}")
        for result in ingested.checks:
            if not result.passed:
                run.print(result.line)


if __name__ == "__main__":
    main()
