"""Everything measured -> reports: figures and one page."""

from pathlib import Path

from pipeline.stages.stage import stage

READS = [
    "data/dataset",
    "data/world_model",
    "data/calibration",
    "data/policy",
    "data/bc",
    "data/returns",
    "reports/metrics/dataset.json",
    "reports/metrics/evaluate.json",
    "reports/metrics/offline.json",
]
WRITES = ["reports/figures", "reports/index.html"]


def main() -> None:
    """Run the stage."""
    with stage("report") as run:
        from pipeline.reporting.page import write_report
        from pipeline.reporting.results import load
        from pipeline.reporting.text.verdict import headline

        results = load(Path(), run.params["seeds"])

        page = write_report(results, run.params, run.key, Path("reports"))

        for output in WRITES:
            run.log_artifact(output)
        run.print(headline(results))
        run.print(f"report: {page}")


if __name__ == "__main__":
    main()
