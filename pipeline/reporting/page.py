"""``reports/index.html``: one self-contained page; equal results give equal bytes."""

import base64
import os
import platform
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import matplotlib
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from matplotlib.figure import Figure
from ruamel.yaml import YAML

from pipeline.reporting import tables, trust
from pipeline.reporting.decision import decide
from pipeline.reporting.figures import checks as checks_figure
from pipeline.reporting.figures import data as data_figures
from pipeline.reporting.figures import latent as latent_figures
from pipeline.reporting.figures import model as model_figures
from pipeline.reporting.figures import plan as plan_figures
from pipeline.reporting.figures import policy as policy_figures
from pipeline.reporting.figures import trust as trust_figures
from pipeline.reporting.figures.alt_texts import ALT_TEXTS
from pipeline.reporting.figures.film import animation, policy_film, save_animation
from pipeline.reporting.figures.style import RC, save
from pipeline.reporting.results import Results
from pipeline.reporting.status import BASELINE, DEPLOY, STAY, UNKNOWN
from pipeline.reporting.text import ope
from pipeline.reporting.text.advice import advice
from pipeline.reporting.text.glance import BAD, GOOD, OPEN, WARN, glance, recipe
from pipeline.reporting.text.limits import limits
from pipeline.tracking.provenance import versions
from pipeline.tracking.ui import report_filter, report_runs_url

FIGURES: dict[str, Callable[[Results], Figure | None]] = {
    "scores": data_figures.scores_figure,
    "dataset": data_figures.dataset_figure,
    "actions": data_figures.actions_figure,
    "checks": checks_figure.checks_figure,
    "frames": data_figures.frames_figure,
    "world_model": model_figures.learning_figure,
    "open_loop": model_figures.open_loop_figure,
    "latent_frames": latent_figures.frames_figure,
    "latent_trajectories": latent_figures.trajectories_figure,
    "latent_steps": latent_figures.steps_figure,
    "latent_states": latent_figures.states_figure,
    "reliability": trust_figures.reliability_figure,
    "penalty": model_figures.penalty_figure,
    "penalty_rollouts": trust_figures.rollout_figure,
    "policy": policy_figures.policy_figure,
    "plans": plan_figures.plans_figure,
    "baselines": policy_figures.baselines_figure,
    "exploitation": policy_figures.exploitation_figure,
}

# What the figure of this run leaves out, or how to have more of it; empty where there is nothing to say.
NOTES: dict[str, Callable[[Results], str]] = {
    "dataset": data_figures.constants,
    "film": ALT_TEXTS["film"],
    "policy": policy_figures.policy_note,
}
# Worth showing first; all others are folded.
FIRST = {"scores", "film", "dataset", "actions", "open_loop", "latent_frames", "reliability", "policy", "exploitation"}
STATES = {DEPLOY: GOOD, BASELINE: WARN, STAY: BAD, UNKNOWN: OPEN}  # the decision looks like these states of a line

# Titles by anchor; "latents" appears only for a model that has them.
SECTIONS = {
    "scores": "Scores",
    "data": "Data at a glance",
    "model": "World model",
    "latents": "Latents",
    "trust": "Trust in the world model",
    "penalty": "Penalty against true error",
    "policy": "Policy learning",
    "gap": "Exploitation gap",
    "offline": "Offline policy evaluation",
    "limits": "Privileged knowledge and limits",
    "provenance": "Provenance",
}


@dataclass(frozen=True)
class Picture:
    """A figure of the page."""

    uri: str
    alt: str  # the result that it shows, in words and numbers
    note: str  # goes below it, after the caption
    folded: bool


def write_figures(results: Results, folder: Path) -> dict[str, Path]:
    """Write every figure that these results have as PNG, and the films of the policy and of imagined images as animated
    GIFs. Returns their paths by name."""
    written = {}
    with matplotlib.rc_context(RC):
        for name, draw in FIGURES.items():
            figure = draw(results)
            if figure is not None:
                written[name] = folder / f"{name}.png"
                save(figure, written[name])
    for name, film in {"film": policy_film(results), "latent_film": animation(results)}.items():
        if film is not None:
            written[name] = folder / f"{name}.gif"
            save_animation(film, written[name])
    return written


def write_page(results: Results, params: Mapping[str, Any], key: str, figures: Mapping[str, Path], path: Path) -> None:
    """Write the page with all figures inlined. It loads nothing from the network and holds no date. ``key`` identifies
    the inputs and code of the report stage."""
    environment = Environment(
        loader=PackageLoader("pipeline.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = code
    page = environment.get_template("page.html.j2").render(
        results=results,
        spec=results.dataset.spec,
        evaluation=results.evaluation,
        sections=SECTIONS,
        figures={name: picture(results, name, file) for name, file in figures.items()},
        decision=decide(results),
        STATES=STATES,
        scores=tables.score_table(results),
        dataset=tables.dataset_table(results),
        warned=tables.checks_table(results, warned=True),
        passed=tables.checks_table(results, warned=False),
        model=tables.model_table(results),
        errors=tables.error_tables(results),
        latents=tables.latent_table(results),
        recipe=recipe(params, results),
        glance=glance(results),
        advice=advice(results, params.get("penalty", {}).get("name")),
        shift=trust.shift_table(results),
        reliability=trust.reliability_table(results),
        features=trust.feature_table(results),
        penalties=trust.penalty_table(results),
        gap=tables.gap_table(results),
        offline=ope.offline_tables(results),
        offline_verdict=ope.offline_verdict(results),
        logged_value=ope.logged_value(results),
        convergence=ope.fit_doubts(results),
        provenance=provenance(results, key),
        runs_url=report_runs_url(key),
        runs_search=report_filter(key),
        params=as_yaml(params),
        limits=limits(results),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def write_report(results: Results, params: Mapping[str, Any], key: str, folder: Path) -> Path:
    """Write the figures and the page into ``folder``, and return the page's path. ``key`` identifies the stage's data,
    code and params."""
    page = folder / "index.html"
    write_page(results, params, key, write_figures(results, folder / "figures"), page)
    return page


def picture(results: Results, name: str, file: Path) -> Picture:
    """The figure of that name, inlined from its file."""
    note = NOTES[name](results) if name in NOTES else ""
    return Picture(data_uri(file), ALT_TEXTS[name](results), note, folded=name not in FIRST)


def code(text: str) -> Markup:
    """HTML of a text: what stands between backticks is code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def data_uri(image: Path) -> str:
    """A PNG or GIF as a data URI."""
    return f"data:image/{image.suffix[1:]};base64,{base64.b64encode(image.read_bytes()).decode()}"


def provenance(results: Results, key: str) -> tables.Table:
    """Data, seeds, code and versions behind the report."""
    spec = results.dataset.spec
    used = {"python": platform.python_version(), **versions()}
    facts = {
        "dataset": f"{spec.name} (source {spec.source}), digest {spec.digest}",
        "seeds": ", ".join(map(str, results.seeds)),
        "stage key": f"{key}, of the data, code and params of this report",
        # The commit itself is not named, because the page would change with every commit.
        "git commit": f"tag mlflow.source.git.commit of the MLflow run whose tag pipeline.key is {key[:8]}…; the commit"
        " that holds this page also holds the dvc.lock of its inputs",
        "command": "dvc repro, with the parameters below",
        "DVC experiment": os.environ.get("DVC_EXP_NAME", "none: the workspace"),
        "versions": ", ".join(f"{name} {version}" for name, version in used.items()),
    }
    return tables.pairs(facts)


def as_yaml(params: Mapping[str, Any]) -> str:
    """Params as YAML, in their own order."""
    text = StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style, yaml.sort_base_mapping_type_on_output = False, False  # type: ignore[assignment]
    yaml.dump(dict(params), text)
    return text.getvalue()
