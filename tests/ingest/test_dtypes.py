"""Numbers of any type in flat logs: cast, with a warning where float32 loses what matters, or refused with the fix."""

from pathlib import Path
from typing import Any

import gymnasium
import h5py
import numpy as np
import pytest
from data_examples import LENGTHS, counting_columns, npz_block

from pipeline.cli.inspect import inspect_log
from pipeline.data.dataset import PreparedDataset
from pipeline.ingest.sources import SOURCES
from pipeline.ingest.writer import write_dataset
from pipeline.params import choose

WIDE = ("obs", "next_obs", "action", "reward")
BOUNDS = {"action_low": [0.0], "action_high": [1000.0]}
HDF5_KEYS = {"obs_key": "obs", "action_key": "action", "reward_key": "reward", "terminal_key": "done",
             "timeout_key": "truncated", "next_obs_key": "next_obs"}  # fmt: skip


def ingest(tmp_path: Path, columns: dict[str, np.ndarray], **options: Any) -> PreparedDataset:
    block = {**npz_block(tmp_path / "log.npz", columns), **options}
    if block["source"] == "d4rl_hdf5":
        with h5py.File(tmp_path / "log.npz", "w") as file:
            for name, column in columns.items():
                file[name] = column
    source, config = choose(SOURCES, block, "dataset", key="source")
    return write_dataset(tmp_path / "d", source(config).read(), "log", 0.3, 0)


def whole() -> dict[str, np.ndarray]:
    """The counting log, whose actions are integers too."""
    columns = counting_columns()
    return {**columns, "action": np.round(1000 * columns["action"])}


@pytest.mark.parametrize("source", ["npz", "d4rl_hdf5"])
@pytest.mark.parametrize("dtype", ["f8", ">f4", "i2", "u2", "i4", "u4", "i8"])
def test_numbers_of_any_type_are_cast(dtype: str, source: str, tmp_path: Path) -> None:
    expected = ingest(tmp_path, whole(), **BOUNDS)
    cast = {name: column.astype(dtype) if name in WIDE else column.astype(bool) for name, column in whole().items()}
    options = {**BOUNDS, "action_kind": "continuous", "source": source, **(HDF5_KEYS if source == "d4rl_hdf5" else {})}
    dataset = ingest(tmp_path, cast, **options)
    assert dataset.spec.digest == expected.spec.digest
    assert dataset.spec.warnings == expected.spec.warnings == []


@pytest.mark.parametrize("shape", [(-1,), (-1, 1), (-1, 2)])
def test_integers_may_be_choices_or_amounts(shape: tuple[int, ...], tmp_path: Path) -> None:
    action = np.arange(2 * sum(LENGTHS)).astype(np.int32)[: sum(LENGTHS) * abs(shape[-1])].reshape(shape)
    with pytest.raises(ValueError, match="to `discrete` if they are choices, or `continuous` if they are amounts"):
        ingest(tmp_path, {**counting_columns(), "action": action}, action_low=None, action_high=None)


def test_a_box_says_that_integers_are_amounts(tmp_path: Path) -> None:
    columns = counting_columns()
    columns |= {key: np.repeat(columns[key], 2, axis=1)[:, :3] for key in ("obs", "next_obs")}  # Pendulum has three
    columns["action"] = (np.arange(sum(LENGTHS)) % 3 - 1)[:, None]
    dataset = ingest(tmp_path, columns, action_low=None, action_high=None, env_id="Pendulum-v1")
    assert isinstance(gymnasium.make("Pendulum-v1").action_space, gymnasium.spaces.Box)
    np.testing.assert_array_equal(dataset.action[dataset.steps("all")], columns["action"] / 2)  # of 2 N m


@pytest.mark.parametrize("dtype", ["f8", "i8"])
def test_an_offset_that_float32_cannot_hold_is_told(dtype: str, tmp_path: Path) -> None:
    columns = counting_columns()
    obs, following = (columns[key].astype(dtype) for key in ("obs", "next_obs"))
    obs[:, 0], following[:, 0] = obs[:, 0] + 1_700_000_000, following[:, 0] + 1_700_000_000  # seconds since 1970
    (warning,) = ingest(tmp_path, {**columns, "obs": obs, "next_obs": following}).spec.warnings
    clock = np.concatenate([obs[:, 0], following[:, 0]])
    error = abs(clock.astype(np.float32).astype(np.float64) - clock).max()
    loss = f"float32 rounds it by up to {error:.2g} of a range of {np.ptp(clock):.2g}"
    assert error > 10
    assert warning == f"obs state[0]: {loss}; subtract its offset in `dataset.transform`"


def test_rounding_that_does_not_matter_is_not_told(tmp_path: Path) -> None:
    rng, columns = np.random.default_rng(0), counting_columns()
    constant = np.full_like(columns["reward"], 0.1, np.float64)
    columns["reward"] = constant + 1e-16 * rng.normal(size=constant.shape)  # but for the log's own rounding
    columns["action"] = rng.uniform(-1, 1, columns["action"].shape)
    assert ingest(tmp_path, columns).spec.warnings == []


def test_inspect_proposes_amounts_where_a_step_has_many(tmp_path: Path) -> None:
    action = np.random.default_rng(0).integers(-9, 9, (sum(LENGTHS), 2))
    np.savez(tmp_path / "log.npz", **{**counting_columns(), "action": action})  # type: ignore[arg-type]
    text = "\n".join(inspect_log(tmp_path / "log.npz"))
    assert "action_kind: continuous  # unsure: actions are integers" in text
    assert "action_low: [-9" in text
