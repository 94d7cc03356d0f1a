"""The results as text tables."""

from typing import Any

from pipeline.bench.timing import Result


def table(header: list[str], rows: list[list[str]]) -> str:
    """A table whose first two columns are aligned to the left and the others to the right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = [header, ["-" * w for w in widths], *rows]
    return "\n".join(
        "  ".join(_cell(text, width, i) for i, (text, width) in enumerate(zip(line, widths, strict=True)))
        for line in lines
    )


def _cell(text: str, width: int, column: int) -> str:
    return text.ljust(width) if column < 2 else text.rjust(width)


def rate_table(results: list[Result]) -> str:
    """One row for each result; the last column compares with the plain loop of the same case and device."""
    plain = {(r.case.split(",")[0], r.device): r.rate for r in results if r.who == "plain"}
    rows = [_rate_row(r, plain.get((r.case.split(",")[0], r.device))) for r in results]
    return table(
        ["case", "who", "device", "dtype", "a second", "unit", "min-max", "GFLOP/s", "of matmul", "x plain"], rows
    )


def _rate_row(r: Result, plain: float | None) -> list[str]:
    gflops = "" if r.gflops is None else f"{r.gflops:.1f}"
    share = "" if r.share_of_ceiling is None else f"{r.share_of_ceiling:.0%}"
    times = "" if plain is None else f"{r.rate / plain:.2f}"
    spread = f"{_figure(min(r.repeats))}-{_figure(max(r.repeats))}"
    return [r.case, r.who, r.device, r.precision, _figure(r.rate), r.unit, spread, gflops, share, times]


def _figure(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}"


def overhead_table(overheads: list[dict[str, Any]]) -> str:
    """One row for each Lightning module."""
    rows = [
        [
            x["shell"],
            x["device"],
            str(x["steps"]),
            f"{x['shell_seconds']:.2f}",
            f"{x['bare_seconds']:.2f}",
            f"{x['share']:.1%}",
            f"{x['start_up_seconds']:.2f}",
        ]
        for x in overheads
    ]
    return table(["outside tensor work", "device", "steps", "shell s", "bare s", "share", "start-up s"], rows)


def precision_table(precisions: list[dict[str, Any]]) -> str:
    """One row for each precision."""
    rows = [
        [
            x["precision"],
            x["device"],
            str(x["steps"]),
            f"{x['steps_per_second']:.0f}",
            f"{x['held_out_mse']:.5f}",
            f"{x['held_out_nll']:.3f}",
        ]
        for x in precisions
    ]
    return table(["precision", "device", "steps", "steps/s", "held-out MSE", "held-out NLL"], rows)


def ingest_table(cases: list[dict[str, Any]]) -> str:
    """One row for each kind of file and length of episodes."""
    rows = [
        [
            x["kind"],
            f"{x['episode']} steps",
            f"{x['transitions']:,}",
            f"{x['seconds']:.1f}",
            f"{x['processor_seconds']:.1f}",
            f"{x['steps_per_processor_second']:,.0f}",
            f"{x['anonymous_mib']}",
        ]
        for x in cases
    ]
    return table(["ingest", "episodes", "steps", "s", "processor s", "steps a processor s", "peak MiB"], rows)


def reading_table(places: list[dict[str, Any]]) -> str:
    """One row for each place of the data."""
    rows = [
        [
            "batches from",
            x["from"],
            f"{x['transitions']:,}",
            f"{x['prepare_seconds']:.1f}",
            f"{x['model_batches']:,.0f}",
            f"{x['policy_batches']:,.0f}",
            f"{x['anonymous_mib']}",
        ]
        for x in places
    ]
    return table(["reading", "", "steps", "prepare s", "model batches/s", "policy batches/s", "added MiB"], rows)
