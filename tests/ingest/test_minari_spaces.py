"""Minari spaces of every kind: what observations and actions become, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, Graph, MultiBinary, MultiDiscrete, Sequence, Space, Text, Tuple
from minari.serialization import serialize_space
from minari_logs import blocks, episode, ingest, pair, ramp, refusal, still, store

LINE = Box(-1e6, 1e6, (1,), np.float32)
SQUARE = Box(-9, 9, (2, 2), np.float32)
UNIT = Box(-1, 1, (1,), np.float32)


@pytest.mark.parametrize(
    ("space", "values", "features"),
    [
        (Discrete(3, start=-1), [-1, 1, 0], [[1, 0, 0], [0, 0, 1], [0, 1, 0]]),
        (MultiDiscrete([2, 3]), [[0, 2], [1, 0], [1, 1]], [[1, 0, 0, 0, 1], [0, 1, 1, 0, 0], [0, 1, 0, 1, 0]]),
        (MultiDiscrete([[2], [2]]), [[[0], [1]], [[1], [1]], [[0], [0]]], [[1, 0, 0, 1], [0, 1, 0, 1], [1, 0, 1, 0]]),
        (MultiBinary(2), [[0, 1], [1, 0], [1, 1]], [[0, 1], [1, 0], [1, 1]]),
        (MultiBinary((2, 1)), [[[0], [1]], [[1], [0]], [[1], [1]]], [[0, 1], [1, 0], [1, 1]]),
        (Box(-9, 9, (), np.float32), [1, 2, 3], [[1], [2], [3]]),
        (
            Box(-9, 9, (2, 2), np.float32),
            [np.eye(2), np.ones((2, 2)), np.eye(2)],
            [[1, 0, 0, 1], [1] * 4, [1, 0, 0, 1]],
        ),
    ],
)
def test_observations_of_any_space_become_features(
    space: Space[Any], values: list[Any], features: list[list[float]], tmp_path: Path
) -> None:
    buffers = pair(blocks(space, *values), still(2), 2)
    dataset = ingest(tmp_path / "d", **store(tmp_path / "m", buffers, observation_space=space, action_space=UNIT))
    np.testing.assert_array_equal(dataset.obs["state"][:3], features)
    converted = any(w.startswith("spaces are converted: `state`") for w in dataset.spec.warnings)
    assert converted == (not isinstance(space, Box) or space.shape == (2, 2))


@pytest.mark.parametrize(
    ("space", "actions", "number", "count"),
    [
        (MultiDiscrete([3, 4]), [[0, 0], [2, 3], [1, 2]], [0, 11, 6], 12),
        (MultiDiscrete([2, 2], start=[5, 1]), [[5, 1], [6, 2], [6, 1]], [0, 3, 2], 4),
        (MultiBinary(3), [[0, 0, 1], [1, 1, 1], [1, 0, 0]], [1, 7, 4], 8),
        (Discrete(3, start=4), [4, 6, 5], [0, 2, 1], 3),
    ],
)
def test_discrete_actions_become_one_choice(
    space: Space[Any], actions: list[Any], number: list[int], count: int, tmp_path: Path
) -> None:
    buffers = pair(ramp(4), blocks(space, *actions), 3)
    dataset = ingest(tmp_path / "d", **store(tmp_path / "m", buffers, observation_space=LINE, action_space=space))
    assert (dataset.spec.action_kind, dataset.spec.action_dim) == ("discrete", count)
    assert dataset.action[:3].argmax(axis=1).tolist() == number


def test_nested_actions_are_one_vector_or_one_choice(tmp_path: Path) -> None:
    boxes = Dict({"arm": Box(-1, 1, (2,), np.float32), "grip": Box(0, 4, (1,), np.float32)})
    actions = {"arm": np.array([[0.5, -1], [0, 1]], np.float32), "grip": np.array([[4], [0]], np.float32)}
    buffers = pair(ramp(3), actions, 2)
    dataset = ingest(tmp_path / "d", **store(tmp_path / "m", buffers, observation_space=LINE, action_space=boxes))
    assert dataset.action[:2].tolist() == [[0.5, -1, 1], [0, 1, -1]]
    assert (dataset.spec.action_low, dataset.spec.action_high) == ([-1, -1, 0], [1, 1, 4])
    choices = Tuple((Discrete(2), MultiBinary(1)))
    buffers = pair(ramp(3), (np.array([1, 0]), np.array([[0], [1]], np.int8)), 2)
    block = store(tmp_path / "n", buffers, observation_space=LINE, action_space=choices)
    assert ingest(tmp_path / "e", **block).action[:2].argmax(axis=1).tolist() == [2, 1]


@pytest.mark.parametrize(
    ("obs_space", "action_space", "expected"),
    [
        (Text(5), UNIT, "observation `state` is Text(1, 5, charset="),
        (Dict({"goal": Text(5)}), UNIT, "observation `goal` is Text("),
        (Discrete(5000), UNIT, "is Discrete(5000) and would be 5000 features; at most 1024 are read"),
        (
            LINE,
            MultiDiscrete([16, 17]),
            "have 272 combinations, at most 256 are read as one choice; set `dataset",
        ),
        (LINE, Tuple((UNIT, Discrete(2))), "mix amounts and choices; set `dataset.action_kind: continuous` to read"),
        (LINE, Text(5), "are not supported; use Box, Discrete, MultiDiscrete or MultiBinary actions"),
    ],
)
def test_spaces_without_a_prepared_form_are_refused(
    obs_space: Space[Any], action_space: Space[Any], expected: str, tmp_path: Path
) -> None:
    block = store(tmp_path / "m", [episode(ramp(3), still(2), 2)], observation_space=LINE, action_space=UNIT)
    file = tmp_path / "m/test/log-v0/data/metadata.json"
    spaces = {"observation_space": serialize_space(obs_space), "action_space": serialize_space(action_space)}
    file.write_text(json.dumps(json.loads(file.read_text()) | spaces))
    message = refusal(tmp_path, **block)
    assert message.startswith("test/log-v0: ")
    assert expected in message


def test_slashes_in_names_become_dots(tmp_path: Path) -> None:
    space = Dict({"arm/speed": LINE, "arm": Dict({"place": LINE})})
    obs = {"arm/speed": ramp(3), "arm": {"place": ramp(3, 5)}}
    dataset = ingest(tmp_path / "d", **stored(tmp_path / "m", space, obs))
    assert dataset.obs["arm.speed"][:3, 0].tolist() == [0, 1, 2]
    twice = Dict({"arm.place": LINE, "arm": Dict({"place": LINE})})
    block = stored(tmp_path / "n", twice, {"arm.place": ramp(3), "arm": {"place": ramp(3)}})
    assert "observation `arm.place` exists twice" in refusal(tmp_path, **block)


def stored(root: Path, space: Space[Any], obs: Any) -> dict[str, Any]:
    options = {"observation_space": space, "action_space": UNIT, "data_format": "arrow"}  # HDF5 nests at a slash
    return store(root, pair(obs, still(2), 2), **options)


def test_observations_are_chosen_by_name(tmp_path: Path) -> None:
    space = Dict({"mission": Text(9), "seen": Dict({"way": Discrete(2), "map": SQUARE})})
    obs = {"mission": ["go"] * 3, "seen": {"way": np.array([0, 1, 1]), "map": np.zeros((3, 2, 2), np.float32)}}
    block = store(tmp_path / "m", pair(obs, still(2), 2), observation_space=space, action_space=UNIT)
    assert "`mission` is Text(1, 9, charset=" in (message := refusal(tmp_path, **block))
    assert message.endswith("; name the others in `dataset.obs_keys`")
    dataset = ingest(tmp_path / "d", **block, obs_keys=["seen.way"])
    assert dataset.spec.obs_shapes == {"seen.way": [2]}
    assert dataset.obs["seen.way"][:3].tolist() == [[1, 0], [0, 1], [0, 1]]
    unknown = refusal(tmp_path, **block, obs_keys=["way"])
    assert "observation `way` does not exist; name some of mission, seen.map, seen.way" in unknown


@pytest.mark.parametrize("kind", [Graph, Sequence])
def test_spaces_that_minari_cannot_store_are_refused(kind: type, tmp_path: Path) -> None:
    block = store(tmp_path / "m", [episode(ramp(3), still(2), 2)], observation_space=LINE, action_space=UNIT)
    file = tmp_path / "m/test/log-v0/data/metadata.json"
    space = json.dumps({"type": kind.__name__})
    file.write_text(json.dumps(json.loads(file.read_text()) | {"observation_space": space}))
    assert "data: has a space of a kind that Minari cannot read" in refusal(tmp_path, **block)


@pytest.mark.parametrize(
    ("space", "values", "expected"),
    [
        (Discrete(3), np.array([0, 3, 1]), "episode 0: observation `state` holds values outside Discrete(3)"),
        (LINE, np.zeros((3, 2), np.float32), "observation `state`: shape [2] per step, but its space has [1]"),
    ],
)
def test_values_that_contradict_their_space_are_refused(
    space: Space[Any], values: np.ndarray, expected: str, tmp_path: Path
) -> None:
    buffers = [episode(values, still(2), 2)] * 2
    block = store(tmp_path / "m", buffers, observation_space=space, action_space=UNIT)
    assert expected in refusal(tmp_path, **block)


@pytest.mark.parametrize(
    ("shape", "stored", "pixel"),  # pixel: the stored entries of row 3, column 5 as places in the space
    [
        ((2, 40, 40), [40, 40, 2], [(0, 3, 5), (1, 3, 5)]),
        ((40, 40, 2), [40, 40, 2], [(3, 5, 0), (3, 5, 1)]),
        ((40, 40), [40, 40, 1], [(3, 5)]),
        ((2, 40, 40, 1), [40, 40, 2], [(0, 3, 5, 0), (1, 3, 5, 0)]),
        ((2, 40, 40, 2), [40, 40, 4], [(0, 3, 5, 0), (0, 3, 5, 1), (1, 3, 5, 0), (1, 3, 5, 1)]),
    ],
)
def test_images_are_stored_with_their_channels_last(
    shape: tuple[int, ...], stored: list[int], pixel: list[tuple[int, ...]], tmp_path: Path
) -> None:
    space = Box(0, 255, shape, np.uint8)
    frames = np.random.default_rng(0).integers(0, 256, (3, *shape)).astype(np.uint8)
    options = {"observation_space": space, "action_space": UNIT, "jpeg_encoding": False}
    dataset = ingest(tmp_path / "d", **store(tmp_path / "m", pair(frames, still(2), 2), **options))
    assert dataset.spec.obs_shapes == {"pixels": stored}
    assert dataset.obs["pixels"][1, 3, 5].tolist() == [frames[1][place] for place in pixel]


def test_small_grids_become_features(tmp_path: Path) -> None:
    space = Box(0, 255, (7, 7, 3), np.uint8)
    grids = np.random.default_rng(0).integers(0, 11, (3, 7, 7, 3)).astype(np.uint8)
    options = {"observation_space": space, "action_space": UNIT}
    dataset = ingest(tmp_path / "d", **store(tmp_path / "m", pair(grids, still(2), 2), **options))
    np.testing.assert_array_equal(dataset.obs["state"][:3], grids.reshape(3, 147))
