import base64
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from html import unescape
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter
from reporting_outputs import write_outputs

from pipeline.evaluation.results import EvaluationSummary
from pipeline.ingest.checks.result import CheckResult
from pipeline.ingest.results import Unmeasured
from pipeline.ope.results import AgentEstimates, PooledEstimate
from pipeline.reporting import page as page_module
from pipeline.reporting.decision import decide
from pipeline.reporting.page import SECTIONS, as_yaml, write_figures, write_page
from pipeline.reporting.results import Results, load
from pipeline.reporting.status import BASELINE, DEPLOY, STAY, UNKNOWN, Decision
from pipeline.reporting.tables import (
    checks_table,
    dataset_table,
    error_tables,
    gap_table,
    model_table,
    score_table,
)
from pipeline.reporting.text.formatting import number
from pipeline.reporting.text.glance import BAD, GOOD, OPEN, WARN, glance
from pipeline.reporting.text.limits import limits
from pipeline.reporting.text.ope import fit_doubts, logged_value, offline_tables, offline_verdict
from pipeline.tracking import provenance
from pipeline.tracking.ui import report_runs_url
from pipeline.validation.records import load_record

PARAMS = {"seeds": [0, 1], "policy": {"name": "sac", "hidden": [256, 256]}, "note": "a < b"}
KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("finished")
    write_outputs(root, [0, 1])
    return root


@pytest.fixture(scope="module")
def envless(tmp_path_factory: pytest.TempPathFactory) -> Results:
    root = tmp_path_factory.mktemp("envless")
    write_outputs(root, [0], with_environment=False, references=False, action_dim=5)
    return load(root, [0])


def render(results: Results, folder: Path) -> str:
    write_page(results, PARAMS, KEY, write_figures(results, folder / "figures"), folder / "index.html")
    return (folder / "index.html").read_text()


def render_text(results: Results, folder: Path) -> str:
    """The page without figures, which take two seconds."""
    write_page(results, PARAMS, KEY, {}, folder / "index.html")
    return (folder / "index.html").read_text()


def text_of(page: str) -> str:
    return re.sub(r"base64,[^\"]+", "", page)


def test_stage_writes_one_self_contained_page(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.stages import report

    logged: list[str] = []
    decisions: list[str] = []

    @contextmanager
    def tracked(name: str) -> Iterator[SimpleNamespace]:
        assert name == "report"
        yield SimpleNamespace(
            params={**PARAMS, "baselines": ["bc"]},
            key=KEY,
            print=logged.append,
            output=Path,
            log_artifact=lambda path: logged.append(str(path)),
            log_decision=lambda status, reason: decisions.extend([status, reason]),
            log_dataset=lambda spec, folder: None,
            log_headline=lambda numbers: None,
            log_report=lambda page: None,
        )

    monkeypatch.setattr(report, "stage", tracked)
    monkeypatch.chdir(finished)
    report.main()
    assert {*report.WRITES} <= {*logged}
    assert all(Path(path).exists() for path in report.READS + report.WRITES)
    page = Path("reports/index.html").read_text()
    images = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    figures = sorted(path.read_bytes() for path in Path("reports/figures").iterdir())
    assert sorted(base64.b64decode(image) for image in images) == figures
    assert len(figures) == 11
    runs = report_runs_url(KEY).replace("&", "&amp;")
    assert f'<a href="{runs}">' in page
    assert "http" not in text_of(page).replace(runs, "")
    assert "<script" not in page
    assert "made up: nothing was done" in page
    assert "&lt;are&gt;" in page
    assert "The policy returns" in page
    decision = decide(load(finished, [0, 1]))
    assert decisions == [decision.status, decision.reason]
    assert decision.lines == [line for line in logged if line.startswith((decision.status, "next: "))]
    assert all(step.replace("`", "") in unescape(re.sub("</?code>", "", page)) for step in decision.next_steps)
    card = Path("reports/model_card.md").read_text()
    assert f"**{decision.status}**: {decision.reason}" in card
    assert "| policy |" in card
    assert "dvc repro" in page
    assert "name: sac" in page
    assert f"{KEY}, of the data, code and params" in page
    assert "policy sac, seeds 0, 1, environment Pendulum-v1" in page
    sections, links = re.findall(r'<section id="(\w+)">', page), re.findall(r'href="#(\w+)"', page)
    assert {*links} == {*sections}


def test_sections_stand_in_order(finished: Path, tmp_path: Path) -> None:
    page = text_of(render_text(load(finished, [0, 1]), tmp_path))
    heads = re.findall(r"<h2>(.*?)</h2>", page)
    assert heads == [
        "Scores",
        "Data at a glance",
        "World model",
        "Trust in the world model",
        "Penalty against true error",
        "Policy learning",
        "Exploitation gap",
        "Offline policy evaluation",
        "Privileged knowledge and limits",
        "Provenance",
    ]


def test_equal_results_make_equal_bytes_at_any_commit(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, pages = load(finished, [0, 1]), set()
    for commit in ("f00d", "f00d", "beef"):
        monkeypatch.setattr(provenance, "_git", lambda *arguments, commit=commit: commit)
        pages.add(render(results, tmp_path))
    assert len(pages) == 1


def test_without_environment_the_page_says_so(envless: Results, tmp_path: Path) -> None:
    page = text_of(render(envless, tmp_path))
    assert not (tmp_path / "figures/scores.png").exists()
    for sentence in (
        "There is no environment to check this.",
        "Note: no environment is known for this dataset.",
        "nothing to compare",
        "There are no reference returns",
        "so the gap is unknown",
        "Trained with 1 seed:",
        "There is no environment to check this against.",
    ):
        assert sentence in page
    assert ["policy", "not run", "–", "–"] in score_table(envless).rows
    assert "score, mean [95 %]" not in score_table(envless).header


def test_findings_come_with_their_remedy(finished: Path, tmp_path: Path) -> None:
    results = load(finished, [0, 1])
    evidence = {"widest_in_steps": 9.0, "all_steps": [1.0, 9.0]}
    odd = CheckResult("time_gaps", "serious", evidence, "Time <jumps>.", "split the log")
    changed = replace(results, checks=[odd, *(f for f in results.checks if f.passed)])
    assert checks_table(changed, warned=True).rows == [
        ["time gaps (serious)", "widest in steps 9", "Time <jumps>.", "split the log"]
    ]
    assert "Time <jumps>." in limits(changed)
    names = [row[0] for row in checks_table(changed, warned=False).rows]
    assert {"coverage", "episodes"} <= {*names}
    assert "Checks without a warning" in text_of(render_text(changed, tmp_path / "changed"))
    page = text_of(render_text(replace(changed, checks=[odd]), tmp_path / "odd"))
    assert "Time &lt;jumps&gt;." in page
    assert "Checks without a warning" not in page


def test_tables_hold_the_numbers(finished: Path) -> None:
    results = load(finished, [0, 1])
    policy = next(row for row in score_table(results).rows if row[0] == "policy")
    summary = results.summary("policy")
    assert summary is not None
    for cell, value, bounds in (
        (policy[1], summary.iqm, summary.iqm_ci95),
        (policy[2], summary.mean, summary.mean_ci95),
        (policy[3], summary.return_mean, summary.return_mean_ci95),
    ):
        assert value is not None
        assert bounds is not None
        assert cell == f"{number(value)} [{number(bounds[0])}, {number(bounds[1])}]"
    assert policy[-2:] == ["80", "2"]
    history = results.world_model[1]
    elites = np.mean([history.best[i] for i in history.elites])
    assert model_table(results).rows[1] == [
        *("1", "30", "early", number(elites), "1.2\u00a0%", "0.0\u00a0%", "learned", "0.910", "0.840 of 12"),
    ]
    facts = dict(dataset_table(results).rows)
    assert facts["episodes"].startswith("60, ")
    assert facts["environment"] == "Pendulum-v1"
    gap = dict(gap_table(results).rows)
    assert gap["exploitation gap (imagined − real)"] == number(results.evaluation.exploitation_gap)


def test_the_report_says_whether_the_log_drifts(finished: Path) -> None:
    results = load(finished, [0])
    evidence = {"feature": "velocity", "error_ratio": 2.5}
    drift = CheckResult("drift", "warning", evidence, "The process drifts.", "set `dataset.split: last`")
    drifting = replace(results, checks=[drift])
    measured = "one-step errors on the last fifth are 2.50 times those on parts before (velocity)"
    assert dict(dataset_table(drifting).rows)["drift"] == f"yes: {measured}"
    (sentence,) = [s for s in limits(drifting) if "drifts" in s]
    assert "on its last fifth are 2.50 times those before (velocity). `dataset.split: last` measures" in sentence
    last = replace(drifting, dataset=replace(results.dataset, spec=replace(results.dataset.spec, split="last")))
    assert not any("drifts" in s for s in limits(last))
    assert dict(dataset_table(last).rows)["episodes"].endswith(": the last part of the log")
    steady = replace(results, checks=[replace(drift, severity="info")])
    assert dict(dataset_table(steady).rows)["drift"] == f"no clear sign: {measured}"
    assert not any("drifts" in s for s in limits(steady))


def test_exogenous_inputs_are_in_the_facts_of_the_dataset(finished: Path) -> None:
    results = load(finished, [0])
    key, names = next(iter(results.dataset.spec.obs_names.items()))
    spec = replace(results.dataset.spec, exogenous={key: [1]})
    facts = dict(dataset_table(replace(results, dataset=replace(results.dataset, spec=spec))).rows)
    assert facts["exogenous inputs"] == f"{names[1]}: given, never predicted"
    assert "exogenous inputs" not in dict(dataset_table(results).rows)


def test_columns_that_were_not_measured_are_in_the_facts_of_the_dataset(finished: Path) -> None:
    results = load(finished, [0])
    assert "not measured" not in dict(dataset_table(results).rows)
    card = replace(results.card, unmeasured={"lab": Unmeasured(0.25, [0.0] * 5 + [0.5] * 5)})
    facts = dict(dataset_table(replace(results, card=card)).rows)
    assert facts["not measured"] == "lab 25\u00a0% of rows (0\u00a0% to 50\u00a0% in ten parts of the log)"


def test_open_loop_errors_by_horizon(finished: Path, tmp_path: Path) -> None:
    results = load(finished, [0, 1])
    tables, (first, second) = error_tables(results), results.errors.values()
    assert list(tables) == ["Observation", "Reward"]
    table = tables["Observation"]
    assert table.header == ["steps", "world model", "linear regression", "persistence"]
    assert [row[0] for row in table.rows] == ["1", "2", "5", "10", "20", "50"]
    a, b = first.model_rmse[3], second.model_rmse[3]
    mean, ends = number((a + b) / 2), f"[{number(min(a, b))}, {number(max(a, b))}]"
    assert table.rows[3][1] == f"{mean} {ends}"
    assert error_tables(load(finished, [1]))["Observation"].rows[3][1] == number(b)
    assert tables["Reward"].header == ["steps", "world model", "linear regression", "mean logged reward"]
    page = text_of(render_text(results, tmp_path))
    assert f'<td class="ranged"><span>{mean}</span> <span class="range">{ends}</span></td>' in page
    assert "the model first sees 5 real steps" in page


def test_a_model_of_rewards_without_a_linear_one_has_two_columns(finished: Path) -> None:
    results = load(finished, [0])
    alone = {seed: replace(errors, reward_linear_mae=None) for seed, errors in results.errors.items()}
    table = error_tables(replace(results, errors=alone))["Reward"]
    assert table.header == ["steps", "world model", "mean logged reward"]
    assert all(len(row) == 3 for row in table.rows)


def test_every_picture_says_its_result(finished: Path, envless: Results, tmp_path: Path) -> None:
    for name, results in (("two seeds", load(finished, [0, 1])), ("envless", envless)):
        page = text_of(render(results, tmp_path / name))
        pictures = re.findall(r'<img src="[^"]*" alt="([^"]*)">', page)
        assert len(pictures) == page.count("<img") > 8
        assert all(re.search(r"\d", alt) for alt in pictures)
        assert len({*pictures}) == len(pictures)


def test_the_film_of_the_policy_is_on_the_page(finished: Path, tmp_path: Path) -> None:
    frames = np.zeros((30, 40, 60, 3), np.uint8)
    frames[np.arange(30), :, np.arange(30)] = 255, 0, 0
    film = {"frames": frames, "steps": np.int64(300), "episode_return": np.float64(-12.5)}
    filmed = replace(load(finished, [0]), film=film)
    page = render(filmed, tmp_path)
    (animation,) = re.findall(r'src="data:image/gif;base64,([^"]+)"', page)
    drawn = Image.open(BytesIO(base64.b64decode(animation)))
    assert (drawn.n_frames, drawn.size) == (30, (60, 40))
    drawn.seek(29)
    assert np.asarray(drawn.convert("RGB"))[0, 29].tolist() == [255, 0, 0]
    assert 'alt="30 frames of a real episode that returns −12.5 in 300 steps."' in page
    assert render(filmed, tmp_path / "again") == page
    assert '<img src="data:image/gif' not in render(load(finished, [0]), tmp_path / "none")


def test_first_pictures_are_open_and_others_folded(finished: Path, tmp_path: Path) -> None:
    page = text_of(render(load(finished, [0, 1]), tmp_path))
    assert page.count("<main>") == page.count("</main>") == 1
    folded = re.findall(r'<details class="figure"><summary>(.*?)</summary>\n<figure>', page)
    assert len(folded) == 5
    assert "Rank correlation of a penalty along imagined rollouts" in " ".join(folded)
    assert page.count("<figure>") - len(folded) == 6
    assert all(f'<a href="#{section}">' in page for section in SECTIONS if section != "latents")


@pytest.mark.parametrize(
    ("status", "look", "icon"), [(DEPLOY, GOOD, "✓"), (BASELINE, WARN, "!"), (STAY, BAD, "✕"), (UNKNOWN, OPEN, "?")]
)
def test_the_decision_has_color_icon_and_words(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: str, look: str, icon: str
) -> None:
    decision = Decision(status, "Because a < b.", ["Set `seeds: [0, 1]`.", "Wait."])
    monkeypatch.setattr(page_module, "decide", lambda results: decision)
    page = text_of(render_text(load(finished, [0]), tmp_path))
    assert f'<div class="decision {look}">' in page
    assert f'<span class="icon" aria-hidden="true">{icon}</span><span class="words">{status}</span>' in page
    assert "<p>Because a &lt; b.</p>" in page
    assert "<ol>\n<li>Set <code>seeds: [0, 1]</code>.</li>\n<li>Wait.</li>\n</ol>" in page
    assert page.count('<span class="chip ') == len(glance(load(finished, [0])))


def test_only_the_requested_seeds_are_read(finished: Path) -> None:
    assert list(load(finished, [1]).policy) == [1]
    with pytest.raises(ValueError, match=r"seed-7.history.json: not found; run `dvc repro`"):
        load(finished, [7])


def test_damaged_inputs_are_named(finished: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(finished, tmp_path / "copy")
    archive = tmp_path / "copy/data/returns/returns.npz"
    archive.write_bytes(archive.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"returns\.npz: cannot be read"):
        load(tmp_path / "copy", [0])
    (tmp_path / "copy/data/baselines/seed-0/bc/history.json").write_text("{")
    with pytest.raises(ValueError, match=r"history\.json: not valid JSON"):
        load(tmp_path / "copy", [0])
    evaluation = tmp_path / "copy/reports/metrics/evaluate.json"
    evaluation.write_text(evaluation.read_text().replace("return_mean_ci95", "return_ci95"))
    with pytest.raises(
        ValueError, match=r"evaluate\.json: `scores\.policy\.return_mean_ci95` is missing; .*run `dvc repro`"
    ):
        load_record(TypeAdapter(EvaluationSummary), evaluation)


def test_limits_only_say_what_is_true(finished: Path, envless: Results) -> None:
    assert limits(load(finished, [0, 1])) == [
        "Trained with 2 seeds: the intervals hardly cover the variation between training runs.",
        "Imagined returns run over 50 steps, more than the 17 for which the world model is trusted.",
    ]
    at_bounds = [{"held_out_low_share": 0.82, "held_out_high_share": 0.0}]
    saturated = {0: replace(envless.world_model[0], epochs=at_bounds)}
    assert any("Up to 82\u00a0%" in sentence for sentence in limits(replace(envless, world_model=saturated)))
    assert any("only the world model's prediction" in sentence for sentence in limits(envless))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (-1234.6, "−1,235"),
        (12.345, "12.3"),
        (3.374, "3.37"),
        (0.01234, "0.0123"),
        (0.12, "0.120"),
        (0, "0.00"),
    ],
)
def test_numbers_keep_three_digits(value: float | None, text: str) -> None:
    assert number(value) == text


def test_params_are_plain_yaml_in_their_order() -> None:
    assert as_yaml(PARAMS) == "seeds:\n- 0\n- 1\npolicy:\n  name: sac\n  hidden:\n  - 256\n  - 256\nnote: a < b\n"


def test_offline_estimates_in_table_and_words(finished: Path, envless: Results) -> None:
    results = load(finished, [0, 1])
    values, rewards = (table.rows for table in offline_tables(results).values())
    assert values[0] == ["fitted Q evaluation", "−120.0 [−144.0, −96.0]", "−330.0 [−396.0, −264.0]"]
    assert rewards[0] == ["fitted Q evaluation", "−1.20", "−3.30"]
    assert values[3] == ["importance weighting", *["none: 1.2 effective episodes of 6, fewer than 5"] * 2]
    agents = results.offline.agents
    real = [number(agent.true.value) for agent in agents.values() if agent.true is not None]
    assert values[-1] == ["real episodes", *real]
    assert logged_value(results).startswith("Logged behavior: −400.0 [−480.0, −320.0] over 6 held-out episodes, −4.00")
    verdict = offline_verdict(results)
    assert "above behavior cloning: fitted Q evaluation, world model, world model less penalty." in verdict
    assert "Real episodes returned" in verdict
    assert "policy −1.50 and 2.0 %; behavior cloning −1.50 and 2.0 %" in fit_doubts(results).replace("\u00a0", " ")
    assert "real episodes" not in [row[0] for row in offline_tables(envless)["Discounted value"].rows]
    none = PooledEstimate(None, None, None, None, reason="too few")
    nothing = {name: AgentEstimates(none, none, none, none, None) for name in agents}
    assert "No estimate is available" in offline_verdict(with_agents(results, nothing))
    swapped = {"policy": agents["bc"], "bc": agents["policy"]}
    assert "not above behavior cloning: fitted Q" in offline_verdict(with_agents(results, swapped))


def with_agents(results: Results, agents: dict[str, AgentEstimates]) -> Results:
    return replace(results, offline=replace(results.offline, agents=agents))
