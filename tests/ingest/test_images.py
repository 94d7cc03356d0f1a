"""Images from the log to the prepared dataset: not a byte changed, never all of them in memory."""

import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dial
import gymnasium
import minari
import numpy as np
import pytest
import torch
from data_examples import of_reading
from gymnasium.spaces import Box, Dict
from matplotlib import rc_context
from minari.data_collector import EpisodeBuffer

from pipeline.data.dataset import PreparedDataset, open_dataset
from pipeline.data.episode import Episode, LoggedData
from pipeline.data.transitions import build_data_spec
from pipeline.envs.registration import make
from pipeline.ingest.sources import SOURCES
from pipeline.ingest.sources.minari import minari_root
from pipeline.ingest.writer import write_dataset
from pipeline.params import choose
from pipeline.reporting.figures.data import FRAMES_SHOWN, frames_figure
from pipeline.reporting.figures.style import RC, newest_frame
from pipeline.reporting.tables import _observation_size

LENGTHS = (4, 1, 6, 3, 5)
PIXELS, MASKED = "pipeline.envs.wrappers:Pixels-v0", "pipeline.envs.wrappers:Masked-v0"
DIAL = {"env_id": "Dial-v0", "size": 32, "state": True}


def image_episode(e: int, steps: int, side: int = 32, channels: int = 3) -> Episode:
    """Frame t of episode e holds 50 e + 7 t + 3 c, plus 1 in its lower half."""
    t, row, _, c = np.ogrid[: steps + 1, :side, :side, :channels]
    frames = np.broadcast_to(50 * e + 7 * t + 3 * c + (row >= side // 2), (steps + 1, side, side, channels))
    ramp = np.linspace(-1, 1, steps)[:, None] if steps > 1 else np.zeros((1, 1))
    return Episode({"pixels": frames.astype(np.uint8)}, ramp, np.arange(float(steps)), False)


def image_log(episodes: Any = None, **facts: Any) -> LoggedData:
    chosen = [image_episode(e, n) for e, n in enumerate(LENGTHS)] if episodes is None else episodes
    return LoggedData("frames", "minari", chosen, action_low=[-1.0], action_high=[1.0], **facts)


def with_obs(e: int, **obs: np.ndarray) -> Episode:
    return replace(image_episode(e, 4), obs=obs)


def frames_of(dtype: Any, *shape: int) -> np.ndarray:
    return np.zeros((5, *shape), dtype)


def ingest(folder: Path, **block: Any) -> PreparedDataset:
    source, config = choose(SOURCES, block, "dataset", key="source")
    return write_dataset(folder, source(config).read(), "log", config.held_out_fraction, config.split_seed)


def collect(folder: Path, **options: Any) -> PreparedDataset:
    return ingest(folder, source="collect", path="data/logs", held_out_path="data/logs", **options)


def test_images_are_stored_as_they_are_and_mapped(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", image_log(), "images", 0.3, seed=0)
    stored = dataset.obs["pixels"]
    assert isinstance(stored, np.memmap)
    assert (stored.dtype, stored.shape) == (np.uint8, (sum(LENGTHS) + len(LENGTHS), 32, 32, 3))
    assert dataset.spec.obs_shapes == {"pixels": [32, 32, 3]}
    for e, steps in enumerate(LENGTHS):
        expected = image_episode(e, steps).obs["pixels"]
        np.testing.assert_array_equal(stored[dataset.offsets[e] : dataset.offsets[e + 1]], expected)


def test_images_alone_leave_flat_observations_empty(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", image_log(), "images", 0.3, seed=0)
    spec = dataset.spec
    assert (spec.image_keys, spec.vector_keys, spec.obs_dim) == (["pixels"], [], 0)
    assert (spec.obs_names, spec.constant_features) == ({}, {})
    batch = dataset.transitions("train")
    steps = len(dataset.steps("train"))
    assert batch["obs"].shape == batch["next_obs"].shape == (steps, 0)
    assert batch["reward"].tolist() == dataset.reward[dataset.steps("train")].tolist()
    facts = build_data_spec(dataset)
    assert facts.obs_shapes == {"pixels": [32, 32, 3]}
    assert (facts.statistics.obs_mean, facts.statistics.active, facts.transitions) == ([], [], steps)
    assert facts.statistics.reward_std == pytest.approx(float(batch["reward"].std(correction=0)))


def test_flat_observations_are_of_the_vectors_beside_images(tmp_path: Path) -> None:
    episodes = [image_episode(e, n) for e, n in enumerate(LENGTHS)]
    both = [
        replace(ep, obs={**ep.obs, "wheel": np.arange(2.0 * n + 2).reshape(-1, 2), "arm": np.full((n + 1, 1), e)})
        for (e, n), ep in zip(enumerate(LENGTHS), episodes, strict=True)
    ]
    dataset = write_dataset(tmp_path / "d", image_log(both), "both", 0.3, seed=0)
    assert (dataset.spec.vector_keys, dataset.spec.obs_dim) == (["arm", "wheel"], 3)
    assert dataset.flat_obs(dataset.offsets[1:] - 1).tolist() == [[e, 2 * n, 2 * n + 1] for e, n in enumerate(LENGTHS)]
    assert dataset.spec.obs_names == {"arm": ["arm[0]"], "wheel": ["wheel[0]", "wheel[1]"]}


def test_image_statistics_are_by_channel_and_of_the_train_split(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", image_log(), "images", 0.3, seed=0)
    rows = np.concatenate([np.arange(*dataset.offsets[e : e + 2]) for e in dataset.episodes("train")])
    frames, spec = dataset.obs["pixels"][rows].astype(np.float64), dataset.spec
    np.testing.assert_allclose(spec.obs_mean["pixels"], frames.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(spec.obs_std["pixels"], frames.std(axis=(0, 1, 2)), rtol=1e-12)
    assert spec.obs_min["pixels"] == frames.min(axis=(0, 1, 2)).tolist()
    assert spec.obs_max["pixels"] == frames.max(axis=(0, 1, 2)).tolist()
    assert (tmp_path / "d" / "spec.json").stat().st_size < 3000


def test_digest_follows_every_pixel(tmp_path: Path) -> None:
    episodes = [image_episode(e, n) for e, n in enumerate(LENGTHS)]
    changed = [image_episode(e, n) for e, n in enumerate(LENGTHS)]
    changed[2].obs["pixels"][3, 5, 7, 1] ^= 1
    digests = [
        write_dataset(tmp_path / str(i), image_log(log), "images", 0.3, seed=0).spec.digest
        for i, log in enumerate([episodes, episodes, changed])
    ]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("episode", "expected"),
    [
        (with_obs(1, pixels=frames_of(np.float32, 32, 32, 3)), "images have dtype float32; store them as uint8"),
        (with_obs(1, pixels=frames_of(np.uint8, 32, 32, 17)), "store [side, side, channels] with 1 to 16 channels"),
        (with_obs(1, pixels=frames_of(np.uint8, 32, 32)), "shape [32, 32] per step is neither a vector nor an image"),
        (with_obs(1, pixels=frames_of(np.uint8, 32, 48, 3)), "32 x 48 pixels; resize them to squares of 32 to 128"),
        (with_obs(1, pixels=frames_of(np.uint8, 129, 129, 3)), "129 x 129 pixels; resize"),
        (with_obs(1, pixels=frames_of(np.uint8, 31, 31, 1)), "31 x 31 pixels; resize"),
        (with_obs(1, pixels=frames_of(np.uint8, 64, 64, 3)), "[64, 64, 3] per step, but episode 0 has [32, 32, 3]"),
        (with_obs(1, pixels=frames_of(np.uint8, 32, 32, 3)[:4]), "4 rows, expected 5"),
    ],
)
def test_images_that_are_refused(episode: Episode, expected: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError) as caught:
        write_dataset(tmp_path / "d", image_log([image_episode(0, 4), episode]), "bad", 0.3, seed=0)
    assert expected in str(caught.value)
    assert str(caught.value).startswith("frames: episode 1, obs pixels")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 16])
@pytest.mark.parametrize("side", [32, 128])
def test_sizes_that_are_taken(side: int, channels: int, tmp_path: Path) -> None:
    log = image_log([image_episode(e, 2, side, channels) for e in range(2)])
    assert write_dataset(tmp_path / "d", log, "images", 0.5, seed=0).obs["pixels"].shape == (6, side, side, channels)


@pytest.mark.parametrize(("channels", "shown"), [(1, [0]), (2, [1]), (3, [0, 1, 2]), (4, [3]), (6, [3, 4, 5])])
def test_pictures_show_the_newest_of_stacked_frames(channels: int, shown: list[int]) -> None:
    image = np.broadcast_to(np.arange(channels, dtype=np.uint8), (32, 32, channels))
    assert newest_frame(image)[5, 7].reshape(-1).tolist() == shown
    assert newest_frame(image).shape in ((32, 32), (32, 32, 3))


def test_a_log_larger_than_memory_streams_through(tmp_path: Path) -> None:
    def episodes() -> Iterator[Episode]:
        for e in range(40):
            yield image_episode(e, 49, side=64)

    write_dataset(tmp_path / "warm", image_log(), "images", 0.3, seed=0)
    tracemalloc.start()
    write_dataset(tmp_path / "d", image_log(episodes()), "images", 0.1, seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    dataset = open_dataset(tmp_path / "d")
    before = tracemalloc.get_traced_memory()[0]
    dataset.transitions("all")
    kept = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert dataset.obs["pixels"].nbytes > 23 << 20
    assert peak < 12 << 20
    assert kept < 1 << 20


def test_collected_images_are_those_that_were_seen(tmp_path: Path) -> None:
    options = {"env_id": PIXELS, "env_kwargs": DIAL, "behaviors": [{"name": "random"}], "episodes": 3}
    dataset = collect(tmp_path / "d", **options)
    spec = dataset.spec
    assert spec.obs_shapes == {"pixels": [32, 32, 3], "state": [3]}
    assert (spec.env_id, spec.env_kwargs, spec.max_episode_steps) == (PIXELS, DIAL, dial.DIAL_STEPS)
    assert (spec.action_low, spec.transitions, of_reading(dataset)) == ([-1.0], 3 * dial.DIAL_STEPS, [])
    with minari_root(tmp_path / "d" / "minari"):
        stored = minari.load_dataset("dial-pixels/mixed-v0")
    assert stored.storage.jpeg_encoding is False
    env = make(PIXELS, DIAL)
    seeds = [facts["seed"] for facts in stored.storage.get_episode_metadata(range(3))]
    for e, episode in enumerate(stored):
        observations = [env.reset(seed=seeds[e])[0]]
        observations += [env.step(action)[0] for action in episode.actions]
        rows = slice(*dataset.offsets[e : e + 2])
        for key in ("pixels", "state"):
            expected = np.stack([obs[key] for obs in observations])
            np.testing.assert_array_equal(episode.observations[key], expected)
            np.testing.assert_array_equal(dataset.obs[key][rows], expected)


def test_collecting_images_is_reproducible_to_the_byte(tmp_path: Path) -> None:
    kwargs = {**DIAL, "state": False, "distractor": "noise_border"}
    for name in ("a", "b"):
        collect(tmp_path / name, env_id=PIXELS, env_kwargs=kwargs, behaviors=[{"name": "random"}], episodes=2)
    files = [p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file()]
    assert Path("obs.pixels.npy") in files
    assert Path("obs.state.npy") not in files
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)


def test_collecting_holds_one_episode_in_memory(tmp_path: Path) -> None:
    options = {"env_id": PIXELS, "env_kwargs": {"env_id": "Dial-v0", "size": 128}, "behaviors": [{"name": "random"}]}
    collect(tmp_path / "warm", episodes=2, **options)
    tracemalloc.start()
    dataset = collect(tmp_path / "d", episodes=60, **options)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert dataset.obs["pixels"].nbytes > 22 << 20
    assert peak < 12 << 20


def test_scripted_behavior_acts_on_what_is_hidden(tmp_path: Path) -> None:
    plain = collect(tmp_path / "plain", episodes=3)
    masked = collect(
        tmp_path / "masked", env_id=MASKED, env_kwargs={"env_id": "Pendulum-v1", "keep": [0, 1]}, episodes=3
    )
    np.testing.assert_array_equal(masked.action, plain.action)
    np.testing.assert_array_equal(masked.reward, plain.reward)
    np.testing.assert_array_equal(masked.obs["state"], plain.obs["state"][:, :2])
    assert (masked.spec.obs_dim, masked.spec.max_episode_steps) == (2, 200)
    assert (tmp_path / "masked/minari/pendulum-masked/mixed-v0").is_dir()


def test_scripted_behavior_acts_on_what_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("pygame")
    plain = collect(tmp_path / "plain", episodes=2)
    drawn = collect(tmp_path / "drawn", env_id=PIXELS, env_kwargs={"env_id": "Pendulum-v1", "size": 32}, episodes=2)
    np.testing.assert_array_equal(drawn.action, plain.action)
    assert drawn.obs["pixels"].shape == (402, 32, 32, 3)
    assert len({frame.tobytes() for frame in drawn.obs["pixels"][:201]}) > 150


def test_behaviors_are_for_the_task_within(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`swing_up` is for Pendulum; env_id Dial-v0 has random"):
        collect(tmp_path / "d", env_id=PIXELS, env_kwargs=DIAL)


def store(root: Path, space: gymnasium.Space, obs: Any, **options: Any) -> dict[str, Any]:
    """Two Minari episodes of four steps; the block of params.yaml that reads them."""
    buffers = [
        EpisodeBuffer(id=e, observations=obs, actions=np.linspace(-1, 1, 4, dtype=np.float32)[:, None],
                      rewards=[1.0, 2.0, 3.0, float(e)], terminations=[False] * 4, truncations=[False] * 3 + [True])
        for e in range(2)
    ]  # fmt: skip
    root.mkdir()
    with minari_root(root):
        minari.create_dataset_from_buffers(
            "test/log-v0", buffers, observation_space=space, action_space=Box(-1, 1, (1,), np.float32), **options
        )
    return {"source": "minari", "path": str(root), "held_out_path": str(root), "dataset_id": "test/log-v0"}


NOISE = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
SPACE = Box(0, 255, (32, 32, 3), np.uint8)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_minari_images_are_read_without_loss(tmp_path: Path) -> None:
    bare = ingest(tmp_path / "a", **store(tmp_path / "m", SPACE, NOISE, jpeg_encoding=False))
    np.testing.assert_array_equal(bare.obs["pixels"][:5], NOISE)
    assert [w for w in bare.spec.warnings if "JPEG" in w] == []
    space = Dict({"camera": SPACE, "arm": Box(-1, 1, (2,), np.float32)})
    obs = {"camera": NOISE, "arm": np.full((5, 2), 0.5, np.float32)}
    named = ingest(tmp_path / "b", **store(tmp_path / "n", space, obs, jpeg_encoding=False))
    np.testing.assert_array_equal(named.obs["camera"][5:], NOISE)
    assert (named.spec.image_keys, named.spec.obs_dim) == (["camera"], 2)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_pixels_that_jpeg_changed_are_told(tmp_path: Path) -> None:
    dataset = ingest(tmp_path / "a", **store(tmp_path / "m", Dict({"camera": SPACE}), {"camera": NOISE}))
    assert (dataset.obs["camera"][:5] != NOISE).any()
    assert any(w.startswith("JPEG compression has changed the pixels of camera") for w in dataset.spec.warnings)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("shape", "dtype", "expected"),
    [
        ((32, 32, 3), np.float32, "observation `pixels`: images have dtype float32; store them"),
        ((40, 32, 3), np.uint8, "observation `pixels`: images of 40 x 32 pixels; resize them"),
        (
            (64, 64),
            np.float32,
            r"observation `state` has 4096 numbers of shape \[64, 64\]; at most 1024 are read as a vector",
        ),
    ],
)
def test_minari_spaces_that_are_no_images_are_refused(
    shape: tuple[int, ...], dtype: Any, expected: str, tmp_path: Path
) -> None:
    block = store(tmp_path / "m", Box(0, 1, shape, dtype), np.zeros((5, *shape), dtype))
    with pytest.raises(ValueError, match=f"test/log-v0: {expected}"):
        ingest(tmp_path / "d", **block)


def test_a_collected_minari_dataset_names_its_environment(tmp_path: Path) -> None:
    collect(tmp_path / "d", env_id=PIXELS, env_kwargs=DIAL, behaviors=[{"name": "random"}], episodes=2)
    root = str(tmp_path / "d" / "minari")
    dataset = ingest(tmp_path / "e", source="minari", path=root, held_out_path=root, dataset_id="dial-pixels/mixed-v0")
    spec = dataset.spec
    assert (spec.env_id, spec.env_kwargs, spec.max_episode_steps) == (PIXELS, DIAL, dial.DIAL_STEPS)


def test_contact_sheet_shows_the_first_episode(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", image_log([image_episode(e, 20) for e in range(2)]), "images", 0.5, seed=0)
    with rc_context(RC):
        figure = frames_figure(SimpleNamespace(dataset=dataset))  # type: ignore[arg-type]
        assert figure is not None
        figure.savefig(tmp_path / "frames.png")
    assert len(figure.axes) == FRAMES_SHOWN
    assert [axes.get_title() for axes in figure.axes][:: FRAMES_SHOWN - 1] == ["pixels 0", "pixels 20"]
    np.testing.assert_array_equal(figure.axes[-1].images[0].get_array(), image_episode(0, 20).obs["pixels"][-1])
    assert _observation_size(dataset.spec) == "pixels 32 × 32 × 3"


def test_vectors_have_no_contact_sheet(tmp_path: Path) -> None:
    episodes = [replace(image_episode(e, 4), obs={"state": np.full((5, 2), e)}) for e in range(2)]
    dataset = write_dataset(tmp_path / "d", image_log(episodes), "vectors", 0.5, seed=0)
    assert frames_figure(SimpleNamespace(dataset=dataset)) is None  # type: ignore[arg-type]
    assert _observation_size(dataset.spec) == "2"
    assert torch.isfinite(dataset.transitions("all")["obs"]).all()
