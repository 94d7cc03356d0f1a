"""Everything measured -> reports: the decision, figures, one page, the model card and a summary of numbers."""

from pathlib import Path

from pipeline.stages.preflight import without_unlisted
from pipeline.stages.stage import stage

READS = [
    "data/dataset",
    "data/world_model",
    "data/calibration",
    "data/policy",
    "data/baselines",
    "data/returns",
    "reports/metrics/dataset.json",
    "reports/metrics/evaluate.json",
    "reports/metrics/offline.json",
]
WRITES = ["reports/figures", "reports/index.html", "reports/model_card.md", "reports/summary.json"]


def main() -> None:
    """Run the stage."""
    with stage("report") as run:
        from pipeline.reporting.decision import decide
        from pipeline.reporting.page import write_report
        from pipeline.reporting.results import load
        from pipeline.reporting.summary import summary_numbers, write_summary
        from pipeline.reporting.text.score_lines import score_lines
        from pipeline.serving.model_card import with_scores

        results = load(Path(), run.params["seeds"])
        figures, page_file, card_file, summary_file = (run.output(path) for path in WRITES)

        decision = decide(results)
        page = write_report(results, without_unlisted(run.params), run.key, page_file.parent)
        card = Path(f"data/policy/seed-{results.seeds[0]}/README.md").read_text()
        scores = f"**{decision.answer}**: {decision.reason}\n\n{score_lines(results.evaluation)}"
        card_file.write_text(with_scores(card, scores))
        write_summary(results, decision, summary_file)

        for output in (figures, page_file, card_file, summary_file):
            run.log_artifact(output)
        run.log_dataset(results.dataset.spec, "data/dataset")
        run.log_headline(summary_numbers(results))
        run.log_report(page)
        run.log_decision(decision.answer, decision.reason)
        for line in decision.lines:
            run.print(line)
        run.print(f"report: {WRITES[1]}")


if __name__ == "__main__":
    main()
