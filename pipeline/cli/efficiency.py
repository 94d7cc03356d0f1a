"""``efficiency``: the pipeline on shares of the training episodes, and what each of them is worth."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.params import read_params, section

Json = dict[str, Any]
AGENTS = ("policy", "bc", "logged")
METRICS = "reports/metrics"


def measure_efficiency(shares: Sequence[float], file: Path) -> Iterator[str]:
    """Run each share of the training episodes as a DVC experiment, the smallest first, and draw returns against logged
    transitions into ``file`` (PNG), with the numbers beside it as JSON; yields lines of progress. Stages that DVC ran
    before are not run again. Raises ValueError for impossible shares, without a git commit, an environment, or DVC, and
    when a run fails."""
    wanted = sorted(set(shares))
    if not wanted or not all(0 < share <= 1 for share in wanted):
        raise ValueError(f"shares {list(shares)}: give one or more above 0 and at most 1, such as 0.1 0.25 0.5 1.0")
    head = _head()
    copied = _untracked_logs()
    results = []
    for number, share in enumerate(wanted, 1):
        yield f"share {share:g} ({number} of {len(wanted)})"
        results.append(_result(share, _run(share, head, copied)))
        yield f"share {share:g}: {_line(results[-1])}"
    write_efficiency(results, file)
    yield f"{file}: written"


def write_efficiency(results: Sequence[Json], file: Path) -> None:
    """``file`` (PNG) and its JSON, from one result for each share as :func:`summarised` gives it."""
    import matplotlib

    from pipeline.reporting.efficiency_figure import efficiency_figure
    from pipeline.reporting.style import RC, save

    file.parent.mkdir(parents=True, exist_ok=True)
    file.with_suffix(".json").write_text(json.dumps({"runs": list(results)}, indent=2) + "\n")
    with matplotlib.rc_context(RC):
        save(efficiency_figure(results), file)


def summarised(share: float, dataset: Json, evaluation: Json) -> Json:
    """What one share came to, from the contents of dataset.json and evaluate.json. Raises ValueError when the policies
    met no environment."""
    scores = {agent: evaluation["scores"][agent] for agent in AGENTS}
    if scores["policy"] is None:
        raise ValueError("there is no environment to measure returns in; set `dataset.env_id` in params.yaml")
    return {
        "share": share,
        "name": dataset["name"],
        "digest": dataset["digest"],
        "seeds": evaluation["seeds"],
        "train_episodes": dataset["episodes"] - dataset["held_out_episodes"],
        "train_transitions": dataset["train_transitions"],
        "scores": scores,
    }


def _head() -> str:
    """The commit that experiments stand on."""
    head = _git("rev-parse", "--verify", "-q", "HEAD^{commit}")
    if not head:
        raise ValueError("DVC experiments stand on a git commit and there is none; run `git init`, then commit")
    if not Path(".dvc").is_dir():
        raise ValueError(".dvc: not found; run from the project's root, or `dvc init` there")
    return head


def _untracked_logs() -> list[str]:
    """The logs that git does not carry into DVC's temporary copy; absolute paths are found from there."""
    block = section(read_params(), "dataset")
    paths = dict.fromkeys(str(block[key]) for key in ("path", "held_out_path") if block.get(key))
    return [path for path in paths if not Path(path).is_absolute() and not _git("ls-files", "--", path)]


def _run(share: float, head: str, copied: Sequence[str]) -> str:
    """The git ref of the finished experiment, which replaces the one of the same share on the same commit."""
    name = f"efficiency-{share:g}"
    ref = f"refs/exps/{head[:2]}/{head[2:]}/{name}"
    _git("update-ref", "-d", ref)  # what it computed stays in DVC's run cache
    # ++ also sets an option that params.yaml leaves to its default.
    command = [sys.executable, "-m", "dvc", "exp", "run", "--temp", "-n", name, "-S", f"++dataset.train_share={share}"]
    for path in copied:
        command += ["--copy-paths", path]
    # Stages call `python`, which without an activated environment is another one.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    if subprocess.run(command, env={**os.environ, "PATH": path}).returncode != 0:
        raise ValueError(f"share {share:g}: `dvc exp run` failed; its message stands above")
    return ref


def _result(share: float, ref: str) -> Json:
    read = {name: json.loads(_git("show", f"{ref}:./{METRICS}/{name}.json")) for name in ("dataset", "evaluate")}
    return summarised(share, read["dataset"], read["evaluate"])


def _git(*arguments: str) -> str:
    """What git prints; empty where it fails or is missing."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _line(result: Json) -> str:
    returns = ", ".join(f"{agent} {score['return_mean']:.4g}" for agent, score in result["scores"].items())
    return f"{result['train_transitions']:,} transitions, return: {returns}"
