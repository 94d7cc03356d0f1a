"""What the report shows of latents: for models that have them, and only then."""

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import rc_context
from PIL import Image
from reporting_outputs import write_outputs

from pipeline.data.episode import Episode, LoggedData
from pipeline.ingest.writer import write_dataset
from pipeline.reporting.figures import latent as latent_figures
from pipeline.reporting.figures.film import animation, save_animation, strips
from pipeline.reporting.figures.style import RC
from pipeline.reporting.page import write_figures, write_page
from pipeline.reporting.results import Results, load
from pipeline.reporting.tables import latent_table

FRAMES, CONTEXT, HEADING = 56, 5, "Latents"


def made_up(classes: int = 1, **observed: np.ndarray) -> dict[str, Any]:
    """A report on eight latents, two of them above the threshold of 0.1."""
    rng, t = np.random.default_rng(0), np.arange(FRAMES)
    return {
        "context": np.array(CONTEXT),
        "reconstruction_rmse": np.full(FRAMES, 0.05, np.float32),
        "kl": np.where(t > CONTEXT, 2.0, 50.0),
        "posterior_entropy": np.full(FRAMES, 1.5),
        "prior_entropy": np.full(FRAMES, 3.25),
        "activity": np.array([0, 0.01, 0.5, 0, 0.02, 1.5, 0.09, 0]),
        "active_above": np.array(0.1, np.float32),
        "classes": np.array(classes),
        "points": rng.normal(size=(40, 2)),
        "shares": np.array([0.6, 0.25]),
        "reward": rng.normal(size=40),
        **observed,
    }


def vectors() -> dict[str, Any]:
    true = np.arange(3 * FRAMES * 3, dtype=np.float32).reshape(3, FRAMES, 3)
    return made_up(true_state=true, predicted_state=true + 1)


def images(side: int = 32, channels: int = 3) -> dict[str, Any]:
    """In truth frame t of window w has brightness 4 t + w; the prediction is 10 brighter."""
    brightness = 4 * np.arange(FRAMES)[:, None, None, None] + np.arange(3)[:, None, None, None, None]
    true = np.broadcast_to(brightness, (3, FRAMES, side, side, channels)).astype(np.uint8)
    return made_up(16, true_camera=true, predicted_camera=true + np.uint8(10))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("finished")
    write_outputs(root, [0, 1])
    return root


def seen(results: Results, folder: Path) -> Results:
    """The same results on logs of images."""
    frames = np.zeros((9, 32, 32, 3), np.uint8)
    ramp = np.linspace(-1, 1, 8)[:, None]
    episodes = [Episode({"camera": frames}, ramp, np.arange(8.0) + e, False) for e in range(2)]
    log = LoggedData("film", "npz", episodes, action_low=[-1.0], action_high=[1.0])
    dataset = write_dataset(folder / "images", log, "film", 0.5, 0)
    return replace(results, dataset=dataset, latents={0: images(), 1: images()})


def page_of(results: Results, folder: Path) -> tuple[str, dict[str, Path]]:
    figures = write_figures(results, folder / "figures")
    write_page(results, {"seeds": [0, 1]}, "key", figures, folder / "index.html")
    return (folder / "index.html").read_text(), figures


def test_nothing_is_shown_of_a_model_without_latents(finished: Path, tmp_path: Path) -> None:
    page, figures = page_of(load(finished, [0, 1]), tmp_path)
    assert f"<h2>{HEADING}" not in page
    assert not [name for name in figures if name.startswith("latent")]


def test_latents_of_vectors_have_their_section(finished: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        np.savez(finished / f"data/calibration/seed-{seed}/latents.npz", **vectors())
    results = load(finished, [0, 1])
    for seed in (0, 1):
        (finished / f"data/calibration/seed-{seed}/latents.npz").unlink()
    page, figures = page_of(results, tmp_path)
    assert page.index("<h3>Observation</h3>") < page.index(f"<h2>{HEADING}") < page.index("<h2>Penalty against")
    assert {n for n in figures if n.startswith("latent")} == {"latent_trajectories", "latent_steps", "latent_states"}
    assert "exceeds 0.1 of the prior's variance" in page
    row = ["0", "8 continuous", "2 (25\u00a0%)", "2.00", "1.50", "3.25", "0.0500"]
    assert latent_table(results).rows[0] == row
    assert all(f"<td>{cell}</td>" in page for cell in row[1:])


def test_trajectories_are_drawn_by_feature_and_window(finished: Path) -> None:
    results = replace(load(finished, [0, 1]), latents={0: vectors()})
    figure = latent_figures.trajectories_figure(results)
    assert figure is not None
    assert len(figure.axes) == 3 * 3
    true, said = (np.asarray(line.get_ydata()) for line in figure.axes[5].lines)  # second feature, third window
    np.testing.assert_array_equal(true, vectors()["true_state"][2, :, 1])
    np.testing.assert_array_equal(said, true + 1)
    assert [axes.get_ylabel() for axes in figure.axes[::3]] == results.dataset.spec.obs_names["state"]


def test_errors_seen_and_imagined_stand_at_the_same_horizons(finished: Path) -> None:
    results = replace(load(finished, [0]), latents={0: vectors()})
    results.latents[0]["reconstruction_rmse"] = np.arange(FRAMES) / 100
    figure = latent_figures.steps_figure(results)
    assert figure is not None
    imagined, seen_error = (np.asarray(line.get_ydata()) for line in figure.axes[0].lines)
    np.testing.assert_allclose(imagined, results.errors[0].model_rmse)
    np.testing.assert_allclose(seen_error, (CONTEXT + np.array(results.errors[0].horizons)) / 100)
    assert len(figure.axes) == 3
    point = {k: v for k, v in vectors().items() if not k.endswith("entropy")}
    without = latent_figures.steps_figure(replace(results, latents={0: point}))
    assert without is not None
    assert len(without.axes) == 2


def test_active_latents_are_counted(finished: Path) -> None:
    figure = latent_figures.states_figure(replace(load(finished, [0, 1]), latents={0: vectors(), 1: vectors()}))
    assert figure is not None
    labels = [str(line.get_label()) for line in figure.axes[0].lines]
    assert labels == ["seed 0: 2 of 8 active", "seed 1: 2 of 8 active", "active above"]
    assert figure.axes[1].get_xlabel() == "component 1 (60% of variance)"


def test_film_strips_show_truth_prediction_and_difference(finished: Path, tmp_path: Path) -> None:
    results = seen(load(finished, [0, 1]), tmp_path)
    with rc_context(RC):
        figure = latent_figures.frames_figure(results)
        assert figure is not None
        figure.savefig(tmp_path / "strip.png")
    titles = [axes.get_title() for axes in figure.axes[:10]]
    assert titles == ["observed 0", "observed 5", "+1", "+2", "+5", "+10", "+15", "+20", "+30", "+50"]
    rows = np.array([int(axes.images[0].get_array()[0, 0, 0]) for axes in figure.axes]).reshape(9, 10)
    frames = np.array([0, 5, 6, 7, 10, 15, 20, 25, 35, 55])
    for window in range(3):
        true, said, difference = rows[3 * window : 3 * window + 3]
        np.testing.assert_array_equal(true, 4 * frames + window)
        np.testing.assert_array_equal(said, true + 10)
        assert set(difference) == {(255 + 10) // 2}


def test_differences_keep_their_sign_and_range() -> None:
    black, white = np.zeros((1, 1, 2, 2, 1), np.uint8), np.full((1, 1, 2, 2, 1), 255, np.uint8)
    found = {"true_a": black, "predicted_a": white, "true_b": white, "predicted_b": black}
    assert [int(strip["difference"].max()) for strip in strips(found, ["a", "b"])] == [255, 0]
    assert int(strips({"true_a": white, "predicted_a": white}, ["a"])[0]["difference"].min()) == 127


@pytest.mark.parametrize("channels", [1, 3])
def test_animation_plays_every_frame(finished: Path, tmp_path: Path, channels: int) -> None:
    results = replace(seen(load(finished, [0, 1]), tmp_path), latents={0: images(64, channels)})
    frames, path = animation(results), tmp_path / "film.gif"
    assert frames is not None
    save_animation(frames, path)
    film = Image.open(path)
    assert film.n_frames == FRAMES
    assert film.info["loop"] == 0
    film.seek(20)
    frame = np.asarray(film.convert("RGB")).astype(int)
    side = 128  # 64 pixels, twice as large
    centers = [frame[36 + side // 2, 4 + (side + 4) * column + side // 2] for column in range(3)]
    for center, expected in zip(centers, (80, 90, 132), strict=True):
        assert abs(center - expected).max() <= 3  # of 256 colors
    write_page(results, {}, "key", {"latent_film": path, "latent_frames": path}, tmp_path / "index.html")
    page = (tmp_path / "index.html").read_text()
    assert page.count(f'src="data:image/gif;base64,{base64.b64encode(path.read_bytes()).decode()}"') == 2
    assert "posterior's mode) exceeds 0.1 nats" in page


def test_vectors_have_no_film(finished: Path) -> None:
    results = replace(load(finished, [0]), latents={0: vectors()})
    assert animation(results) is None
    assert latent_figures.frames_figure(results) is None
