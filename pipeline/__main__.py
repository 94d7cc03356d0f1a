"""``python -m pipeline``: preset, doctor, inspect, evaluate, select, export, push-to-hub, export-dataset, plot,
compare, sweep, efficiency, true-error, clean, ui, sync-tracking, bench."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli import upkeep

LARGEST_SEED = 2**32 - 1  # as in params.yaml
MOST = 1_000_000  # episodes, policies or lines
app = typer.Typer(
    help="Offline model-based RL on logged datasets. `dvc repro` runs the pipeline.", no_args_is_help=True
)
AllowPackage = Annotated[
    list[str] | None, typer.Option(help="An installed package whose code the environment may run; repeat for several")
]


@app.command()
def preset(
    name: Annotated[str | None, typer.Argument(help="A preset; without a name, they are listed")] = None,
) -> None:
    """Rewrite params.yaml from a preset, its dataset too. Comments stay; params.yaml.bak keeps the old file."""
    from pipeline.cli.log_files import missing_files
    from pipeline.cli.preset import apply_preset, backup_of, described
    from pipeline.params import read_params, section

    if name is None:
        for line in described():
            typer.echo(line)
        return
    params_file = Path("params.yaml")
    for line in apply_preset(name, params_file):
        typer.echo(line)
    if backup_of(params_file).exists():
        typer.echo(f"{backup_of(params_file)}: the file before the last change by a preset")
    for line in missing_files(section(read_params(params_file), "dataset"), Path()):
        typer.echo(f"warning: {line}")


@app.command()
def doctor() -> None:
    """Check versions, devices, params.yaml, stores and disk space."""
    from pipeline.cli.doctor import examine

    findings = []
    for finding in examine():
        typer.echo(finding.line())
        findings.append(finding)
    if not all(finding.good for finding in findings):
        raise typer.Exit(1)


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="A log: HDF5, npz, CSV, Parquet, or a folder of them or of Minari")],
    write: Annotated[
        bool, typer.Option("--write", help="Put the block into params.yaml, and keep the old file")
    ] = False,
    delimiter: Annotated[str | None, typer.Option(help="Sign between the columns of a CSV file")] = None,
    decimal: Annotated[str | None, typer.Option(help="Decimal sign of a CSV file: . or ,")] = None,
    header: Annotated[int | None, typer.Option(min=0, max=MOST, help="Header lines of a CSV file; 0: none")] = None,
    time_format: Annotated[
        str | None, typer.Option(help="Format of the times, such as %d.%m.%Y %H:%M, or s, ms")
    ] = None,
) -> None:
    """Print the `dataset:` block that reads a log, and what stands in the log."""
    from pipeline.cli.inspect import examine_log
    from pipeline.cli.write_block import write_block

    given = {"delimiter": delimiter, "decimal": decimal, "header": header, "time_format": time_format}
    comments, block = examine_log(file, {key: value for key, value in given.items() if value is not None})
    for line in [*comments, *block]:
        typer.echo(line)
    if write:
        typer.echo(write_block(block, Path("params.yaml")))


@app.command()
def evaluate(
    bundle: Annotated[Path, typer.Argument(help="A policy bundle, such as data/policy/seed-0")],
    episodes: Annotated[int, typer.Option(min=1, max=MOST)] = 10,
    env_id: Annotated[str | None, typer.Option(help="Use this environment instead of the one of the logs")] = None,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED)] = 0,
    allow_package: AllowPackage = None,
) -> None:
    """Run a policy bundle in its environment and print its raw returns."""
    from pipeline.cli.evaluate import evaluate_bundle
    from pipeline.envs.permission import allow_packages

    allow_packages(allow_package or [])
    for line in evaluate_bundle(bundle, episodes, env_id, seed):
        typer.echo(line)


@app.command()
def select(
    bundles: Annotated[
        list[Path] | None, typer.Argument(help="Policy bundles; without any: all policies of the MLflow experiment")
    ] = None,
    by: Annotated[str, typer.Option(help="fqe_low, fqe, model, model_low, model_pessimistic, importance")] = "fqe_low",
    k: Annotated[int, typer.Option(min=1, max=MOST, help="Print the regret of the best of the first k policies")] = 1,
    dataset: Annotated[Path, typer.Option(help="For bundles: the dataset to evaluate on")] = Path("data/dataset"),
    world_model: Annotated[Path, typer.Option(help="For bundles: the world model to evaluate with")] = Path(
        "data/world_model/seed-0"
    ),
    episodes: Annotated[int, typer.Option(min=0, max=MOST, help="For bundles: number of real episodes")] = 0,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="For bundles: seed of the estimates")] = 0,
    out: Annotated[Path | None, typer.Option(help="Write the numbers to this file as JSON")] = None,
) -> None:
    """Rank policies by offline estimates alone. If true returns are available, report how well the ranking agrees."""
    from pipeline.cli.select import candidates_of_bundles, candidates_of_experiment, check_rule, select_policy

    check_rule(by)
    if bundles:
        candidates = candidates_of_bundles(bundles, dataset, world_model, episodes, seed)
    else:
        candidates = candidates_of_experiment()
    for line in select_policy(candidates, by, k, out):
        typer.echo(line)


@app.command()
def export(
    bundle: Annotated[Path, typer.Argument(help="A policy bundle, such as data/policy/seed-0")],
    file: Annotated[Path, typer.Argument(help="Output file, such as policy.onnx")],
) -> None:
    """Export a feed-forward policy to ONNX, from raw observations to raw actions."""
    from pipeline.cli.export import export_onnx

    for line in export_onnx(bundle, file):
        typer.echo(line)


@app.command()
def push_to_hub(
    bundle: Annotated[Path, typer.Argument(help="A policy bundle, such as data/policy/seed-0")],
    repo_id: Annotated[str, typer.Argument(help="Repository of the Hugging Face Hub, such as me/my-policy")],
    public: Annotated[bool, typer.Option("--public", help="Make a new repository public")] = False,
) -> None:
    """Upload a policy bundle to the Hugging Face Hub, with the account that `hf auth login` keeps."""
    from pipeline.cli.push_to_hub import push_bundle

    for line in push_bundle(bundle, repo_id, public):
        typer.echo(line)


@app.command()
def export_dataset(
    dataset_id: Annotated[str, typer.Argument(help="The new dataset's Minari id, such as mine/logs-v0")],
    folder: Annotated[Path, typer.Option(help="A prepared dataset")] = Path("data/dataset"),
    root: Annotated[Path, typer.Option(help="The Minari root to write to")] = Path("data/minari"),
    allow_package: AllowPackage = None,
) -> None:
    """Export a prepared dataset as a Minari dataset, with actions in their original units."""
    from pipeline.cli.export_dataset import export_minari
    from pipeline.envs.permission import allow_packages

    allow_packages(allow_package or [])
    for line in export_minari(folder, dataset_id, root):
        typer.echo(line)


@app.command()
def plot(
    metric: Annotated[
        str | None,
        typer.Argument(help="A tracked metric, such as policy/imagined_terminal_rate; without one: list the metrics"),
    ] = None,
    file: Annotated[Path | None, typer.Argument(help="Output file (PNG); default: .work/plots/METRIC.png")] = None,
) -> None:
    """Plot one metric of all runs that logged it; curves are labeled by the params in which runs differ."""
    from pipeline.cli.plot import list_metrics, plot_metric

    default = Path(".work/plots") / f"{(metric or '').replace('/', '-')}.png"
    for line in plot_metric(metric, file or default) if metric else list_metrics():
        typer.echo(line)


@app.command()
def compare(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            help="Folders of finished pipelines, DVC experiments, MLflow parent runs or git revisions, the reference "
            "first; without any: all parent runs of the MLflow experiment, the oldest first"
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the page, the figure and the numbers")] = Path(".work/compare"),
) -> None:
    """Rank finished runs: returns with intervals, interquartile mean, probability of improvement, offline estimates."""
    from pipeline.cli.compare import compare_runs

    for line in compare_runs(runs or [], out):
        typer.echo(line)


@app.command()
def sweep(
    axes: Annotated[
        list[str],
        typer.Argument(
            help="Keys of params.yaml with values, such as penalty.name=ensemble_std,max_aleatoric penalty.weight=0.5,2"
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the page, the figure and the numbers")] = Path(".work/sweep"),
    jobs: Annotated[int, typer.Option(min=1, max=1024, help="Seeds that run at a time, such as one a core")] = 1,
) -> None:
    """Run every combination of settings as a DVC experiment, and rank the results.

    Every combination is one configuration. `seeds=0,1` runs both seeds in each of them: DVC keeps each seed by itself,
    and the leaderboard pools them. The same command continues a sweep that was interrupted."""
    from pipeline.cli.sweep import run_sweep

    for line in run_sweep(axes, out, jobs):
        typer.echo(line)


@app.command()
def efficiency(
    shares: Annotated[
        list[float] | None, typer.Argument(help="Shares of the training episodes; default 0.1 0.25 0.5 1.0")
    ] = None,
    out: Annotated[Path, typer.Option(help="Output file (PNG)")] = Path("reports/sample-efficiency.png"),
) -> None:
    """Run the pipeline on shares of the training episodes, and plot return against dataset size."""
    from pipeline.cli.efficiency import measure_efficiency

    for line in measure_efficiency(shares or [0.1, 0.25, 0.5, 1.0], out):
        typer.echo(line)


@app.command()
def true_error(
    world_model: Annotated[Path, typer.Option(help="A fitted world model")] = Path("data/world_model/seed-0"),
    dataset: Annotated[Path, typer.Option(help="The prepared dataset of preset cartpole-swingup")] = Path(
        "data/dataset"
    ),
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED)] = 0,
    out: Annotated[Path, typer.Option(help="Output file (PNG)")] = Path("reports/cartpole-penalty.png"),
) -> None:
    """Compare penalties with the world model's true error, from the equations of cart-pole, in and outside the logs."""
    from pipeline.cli.true_error import true_error as compare

    for line in compare(world_model, dataset, seed, out):
        typer.echo(line)


@app.command()
def bench(
    threads: Annotated[int, typer.Option(min=1, max=1024, help="torch threads")] = 2,
    mbrl: Annotated[str | None, typer.Option(help="Python interpreter with mbrl-lib 0.2.0, for comparison")] = None,
    jax: Annotated[str | None, typer.Option(help="Python interpreter with JAX, for comparison")] = None,
) -> None:
    """Measure the speed of models, learners and ingest."""
    from pipeline.bench import main as run_bench

    run_bench(threads, mbrl, jax)


for command in (upkeep.clean, upkeep.ui, upkeep.sync_tracking):
    app.command()(command)


def main() -> None:
    """Run the CLI. An error that the user can fix is one line on stderr, with exit code 1."""
    try:
        app()
    except (ValueError, OSError) as error:
        from pipeline.validation import one_line

        if isinstance(error, OSError) and error.filename is None:
            raise  # names nothing that the user could mend
        text = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
        print(f"error: {one_line(text, 1000)}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
