"""``sweep KEY=A,B ...``: run every combination of settings as a DVC experiment, and rank the results."""

import dataclasses
import hashlib
import itertools
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.cli.compare import leaderboard, show
from pipeline.cli.compared_run import ComparedRun, from_files, in_commit
from pipeline.cli.experiment import base_commit, run_experiment
from pipeline.cli.sweep_jobs import Task, run_tasks
from pipeline.cli.sweep_progress import SweepProgress
from pipeline.cli.tracked_run import seconds_of
from pipeline.params import read_params, with_settings
from pipeline.stages.stage import sigterm_raises
from pipeline.tracking.paths import work_dir
from pipeline.tracking.provenance import locked_keys, stage_key

LOGS = "logs/sweep"
MOST_POINTS = 1000  # each is a run of the pipeline
LONGEST_NAME = 150  # of an experiment: git stores it as the name of a file


@dataclass(frozen=True)
class Point:
    """One combination of settings: values by key of params.yaml, as text."""

    settings: dict[str, str]

    @property
    def label(self) -> str:
        """The settings as they were typed: ``penalty.name=ensemble_std, seeds=0,1``."""
        return ", ".join(f"{key}={_typed(key, value)}" for key, value in self.settings.items())

    @property
    def name(self) -> str:
        """The name of the DVC experiment, and so of the MLflow parent run."""
        label = self.label.replace(", ", "_").replace(",", "+")
        name = "sweep-" + re.sub(r"([^\w.=+-]|\.\.+)+", "-", label).strip("-.")
        if len(name) <= LONGEST_NAME:
            return name
        digest = hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()[:8]
        return f"{name[: LONGEST_NAME - 9]}-{digest}"


def run_sweep(axes: Sequence[str], folder: Path, jobs: int = 1) -> Iterator[str]:
    """Run all points and yield the lines of their leaderboard, which is also written to ``folder``. With several
    ``jobs``, so many seeds run at a time.

    All values are checked before the first point runs. A point that fails is left out of the leaderboard. Points of the
    same files are not run again. Raises ValueError for unknown keys and wrong values, without a git commit or a DVC
    project, and if all points fail.
    """
    points, params = grid(axes), read_params()
    check_points(points, params)
    base_commit()
    yield from _hints(points, params)
    labels = _labels(points)
    runs: list[ComparedRun] = []
    failures: list[str] = []
    if jobs > 1:
        with sigterm_raises():
            run_tasks(list(tasks(points, params)), jobs, work_dir() / LOGS, _say)
    with sigterm_raises(), SweepProgress(len(points)) as progress:
        for point in points:
            log = work_dir() / LOGS / f"{point.name}.log"
            try:
                runs.append(_run(point, labels[point.name], progress, log))
            except ValueError as error:
                failures.append(f"failed: {labels[point.name]}: {error}; {log} has its output")
    yield from failures
    if not runs:
        raise ValueError("no point of the sweep finished; see the lines above")
    yield from show(leaderboard(_title(points), runs), folder)
    if failures:
        raise ValueError(
            f"{len(failures)} of {len(points)} points failed; run the same sweep again to repeat them alone"
        )


def tasks(points: Sequence[Point], params: Mapping[str, Any]) -> Iterator[Task]:
    """Every seed of every point, point by point: those that run side by side then seldom fit the same world model."""
    labels = _labels(points)
    for point in points:
        digest = hashlib.md5(point.name.encode(), usedforsecurity=False).hexdigest()[:8]
        for seed in with_settings(params, point.settings)["seeds"]:
            name = f"{point.name[: LONGEST_NAME // 2]}-{digest}-seed-{seed}"
            yield Task(name, labels[point.name], point.settings, seed)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def grid(axes: Sequence[str]) -> list[Point]:
    """All combinations of the ``axes``, the last one varying fastest.

    ``seeds=0,1`` is one value, the list: a configuration is the policy of all its seeds, which the leaderboard pools.
    Raises ValueError for text that is no ``key=value``, and for a key that is there twice.
    """
    values: dict[str, list[str]] = {}
    for axis in axes:
        key, equals, text = axis.partition("=")
        options = list(dict.fromkeys(_split(text)))
        if not key or not equals or not all(options):
            raise ValueError(f"`{axis}`: write key=value or key=value,value, such as penalty.weight=0.5,2")
        if key in values:
            raise ValueError(f"`{key}` is there twice; give all its values in one list, such as {key}=a,b")
        values[key] = [f"[{text}]"] if key == "seeds" and "[" not in text else options
    if not values:
        raise ValueError("nothing to sweep; give keys and values, such as penalty.name=ensemble_std,max_aleatoric")
    if math.prod(map(len, values.values())) > MOST_POINTS:
        raise ValueError(f"more than {MOST_POINTS} combinations; give fewer values, or sweep one key after the other")
    return [Point(dict(zip(values, chosen, strict=True))) for chosen in itertools.product(*values.values())]


def check_points(points: Sequence[Point], params: Mapping[str, Any]) -> None:
    """Raises ValueError for the first point that a stage would refuse, for a key that no point uses, and for two points
    of one name."""
    from pipeline.stages.preflight import check

    unused = set(points[0].settings)
    for point in points:
        try:
            complete = with_settings(params, point.settings)
            check(complete)
        except ValueError as error:
            raise ValueError(f"{point.label}: {str(error).removeprefix('params.yaml: ')}") from None
        unused = {key for key in unused if not _is_used(key, complete)}
    if unused:
        raise ValueError(
            f"`{min(unused)}` changes nothing: the class that its block chooses has no such option, or `baselines` does"
            " not list it"
        )
    names = [point.name for point in points]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"two points would be called `{twice}`; remove one of their values")


def _is_used(key: str, params: Mapping[str, Any]) -> bool:
    """Whether the class that a block chooses has the option, or ``baselines`` lists the block; others stand in the file
    unused."""
    from pipeline.stages.preflight import Family, blocks, without_unlisted

    block, _, option = key.partition(".")
    kind = blocks().get(block)
    if kind is not None and block not in without_unlisted(params):
        return False
    if not isinstance(kind, Family) or option == kind.key:
        return True
    kinds = [kind.registry[params[block][kind.key]].Config, *([] if kind.common is None else [kind.common])]
    return option.partition(".")[0] in {field.name for each in kinds for field in dataclasses.fields(each)}


def _split(text: str) -> list[str]:
    """The values between commas that stand outside of brackets."""
    parts, depth = [""], 0
    for sign in text:
        depth += (sign in "[{") - (sign in "]}")
        if sign == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += sign
    return [part.strip() for part in parts]


def _typed(key: str, value: str) -> str:
    return value.strip("[]").replace(" ", "") if key == "seeds" else value


def _differing(points: Sequence[Point]) -> list[str]:
    return [key for key in points[0].settings if len({point.settings[key] for point in points}) > 1]


def _title(points: Sequence[Point]) -> str:
    """The keys that are swept, then what all points share: ``Sweep of penalty.weight; seeds=0,1``."""
    differing = _differing(points)
    shared = Point({key: value for key, value in points[0].settings.items() if key not in differing})
    return f"Sweep of {'; '.join(filter(None, [', '.join(differing), shared.label]))}"


def _labels(points: Sequence[Point]) -> dict[str, str]:
    """Each point's name -> the settings in which the points differ; all of them if there is one point."""
    keys = _differing(points) or list(points[0].settings)
    return {point.name: Point({key: point.settings[key] for key in keys}).label for point in points}


def _run(point: Point, label: str, progress: SweepProgress, log: Path) -> ComparedRun:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", buffering=1) as file, progress.point(label) as line:
        problems = []

        def note(text: str) -> None:
            file.write(text + "\n")
            line(text)
            if text.lower().startswith("error: "):
                problems.append(text[len("error: ") :])

        try:
            ref, new = run_experiment(point.name, point.settings, note)
        except ValueError as error:
            raise ValueError(problems[0] if problems else error) from None
        if not new:
            file.write(f"run before: {ref}\n")
        progress.reused = not new
    return replace(from_files(point.name, in_commit(ref), seconds_of), name=label)


def _hints(points: Sequence[Point], params: Mapping[str, Any]) -> Iterator[str]:
    """What costs time: DVC keeps the outputs of all stages but ingest, whose last output it leaves standing instead."""
    same_data = not any(key.startswith("dataset.") for point in points for key in point.settings)
    if len(points) > 1 and same_data and locked_keys().get("ingest") != stage_key("ingest", params):
        yield "every point reads the logs again; `dvc repro ingest` before the sweep does it once"
