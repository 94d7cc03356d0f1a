"""Every preset on the real logs it is for, against the numbers published with them."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.preset import preset_names, read_preset
from pipeline.data.dataset import DatasetSpec, PreparedDataset
from pipeline.ingest.sources import SOURCES
from pipeline.ingest.writer import write_dataset
from pipeline.params import choose

TOLERANCE = 0.6  # published means are rounded


def block_of(preset: str, data: Path) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OFFLINE_RL_DATA", str(data))
        return read_preset(preset)["dataset"]


def ingest(block: dict[str, Any], folder: Path) -> PreparedDataset:
    source, config = choose(SOURCES, block, "dataset", key="source")
    return write_dataset(folder, source(config).read(), config.name or "log", config.held_out_fraction, 0)


def train_counts(dataset: PreparedDataset, split: str) -> tuple[int, int]:
    return len(dataset.steps(split)), len(dataset.episodes(split))


@pytest.mark.parametrize("preset", preset_names())
def test_every_preset_is_a_valid_block(preset: str) -> None:
    source, config = choose(SOURCES, block_of(preset, Path("logs")), "dataset", key="source")
    assert source.Config is type(config)


@pytest.mark.parametrize(
    ("preset", "steps", "episodes", "dims", "terminals", "mean_return"),
    [
        ("hopper-medium", 200_151, 461, (11, 3), 415, 1585),
        ("hopper-mixed", 300_789, 2_262, (11, 3), 2_260, 384),
        ("halfcheetah-mixed", 200_000, 200, (17, 6), 0, 1995),
        ("door-human", 6_729, 25, (39, 28), 0, 803),
    ],
)
def test_split_logs(
    preset: str,
    steps: int,
    episodes: int,
    dims: tuple[int, int],
    terminals: int,
    mean_return: float,
    shared_data: Path,
    tmp_path: Path,
) -> None:
    dataset = ingest(block_of(preset, shared_data), tmp_path / "d")
    spec = dataset.spec
    assert train_counts(dataset, "all") == (steps, episodes)
    assert (spec.obs_dim, spec.action_dim) == dims
    assert spec.terminals == terminals == int(dataset.terminal.sum())
    assert spec.dropped == 0
    assert dataset.episode_returns("all").mean() == pytest.approx(mean_return, abs=TOLERANCE)
    assert (spec.action_bounds, spec.action_low) == ("declared", [-1.0] * dims[1])
    assert_references(spec)


def assert_references(spec: DatasetSpec) -> None:
    low, environments = {
        "hopper": (-20.272305, ["Hopper-v5"]),
        "halfcheetah": (-280.178953, ["HalfCheetah-v5"]),
        "door": (-45.80706024169922, [None, "gymnasium_robotics:AdroitHandDoor-v1"]),  # as that package is installed
    }[spec.name.partition("-")[0]]
    assert spec.ref_min_score == low
    assert spec.env_id in environments


@pytest.mark.parametrize(
    ("name", "steps", "episodes", "dims", "terminals", "mean_return", "score"),
    [
        ("DMSD", 100_000, 1_000, (6, 2), 0, 494.5, 56.6),
        ("Simglucose", 100_257, 280, (31, 1), 111, 353.5, 73.9),
        ("SafetyHalfCheetah", 18_000, 18, (18, 6), 0, 1769.3, 73.6),
    ],
)
def test_neorl2_train_file_is_the_train_split(
    name: str,
    steps: int,
    episodes: int,
    dims: tuple[int, int],
    terminals: int,
    mean_return: float,
    score: float,
    shared_data: Path,
    tmp_path: Path,
) -> None:
    dataset = ingest(block_of(f"neorl2-{name}", shared_data), tmp_path / "d")
    spec = dataset.spec
    assert train_counts(dataset, "train") == (steps, episodes)
    assert (spec.obs_dim, spec.action_dim, spec.env_id) == (*dims, None)
    assert int(dataset.terminal[dataset.steps("train")].sum()) == terminals
    mean = dataset.episode_returns("train").mean()
    assert mean == pytest.approx(mean_return, abs=0.06)
    assert spec.ref_min_score is not None
    assert spec.ref_max_score is not None
    assert 100 * (mean - spec.ref_min_score) / (spec.ref_max_score - spec.ref_min_score) == pytest.approx(
        score, abs=0.06
    )


def test_emei_timeouts_are_not_terminals_and_the_cut_tail_is_kept(shared_data: Path, tmp_path: Path) -> None:
    dataset = ingest(block_of("cartpole-swingup", shared_data), tmp_path / "d")
    assert train_counts(dataset, "all") == (75_999, 111)
    assert dataset.spec.terminals == 110 - 59
    assert dataset.episode_lengths("all")[-1] == 985
    assert dataset.episode_returns("all")[:-1].mean() == pytest.approx(327.1, abs=0.06)


@pytest.mark.parametrize(("name", "mean_return"), [("replay", -180.5), ("random", -1223.6)])
def test_d3rlpy_logs_lack_the_final_observation(
    name: str, mean_return: float, shared_data: Path, tmp_path: Path
) -> None:
    file = str(shared_data / "d3rlpy" / f"pendulum-{name}.h5")
    block = {"source": "d3rlpy_hdf5", "path": file, "held_out_path": file}
    dataset = ingest({**block, "env_id": "Pendulum-v1"}, tmp_path / "d")
    assert train_counts(dataset, "all") == (99_500 - 500, 500)
    assert (dataset.spec.dropped, dataset.spec.terminals) == (500, 0)
    assert dataset.spec.action_low == [-2.0]
    # The dropped step's reward is missing from these returns: at most 16.3 each, Pendulum's worst.
    assert mean_return <= dataset.episode_returns("all").mean() <= mean_return + 16.3
