"""Everything measured, as figures and one page."""

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
    with stage("report") as run:
        from pipeline.reporting.page import write_figures, write_page
        from pipeline.reporting.results import load
        from pipeline.reporting.text.verdict import headline

        results = load(Path(), run.params["seeds"])
        figures = write_figures(results, Path("reports/figures"))
        write_page(results, run.params, run.key, figures, Path("reports/index.html"))
        for output in WRITES:
            run.log_artifact(output)
        run.print(headline(results))
        run.print("report: reports/index.html")


if __name__ == "__main__":
    main()
