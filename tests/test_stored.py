"""Stored things that are damaged, senseless or hostile are refused in one line that says what to do."""

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data_examples import counting_log
from pydantic import TypeAdapter
from safetensors.torch import save
from toys import linear_world, rewrite, saved_cloning, small_ensemble, world_model

from pipeline.assessment.results import Correlation
from pipeline.data.dataset import open_dataset
from pipeline.ingest.writer import write_dataset
from pipeline.serving.load_bundle import load_bundle
from pipeline.uncertainty.calibration_file import Calibration, PenaltyCalibration
from pipeline.validation.records import load_record, save_record
from pipeline.validation.stored import LARGEST_JSON, sha256
from pipeline.validation.weights import read_weights, write_weights
from pipeline.world_models.checkpoint import load_world_model, save_world_model


@dataclass
class Stored:
    """A folder of one kind, its description and how it is read."""

    folder: Path
    description: str
    read: Callable[[], object]
    fix: str


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stored")
    save_world_model(root / "model", small_ensemble(linear_world(200)), {"rows": []})
    save_world_model(root / "rssm", world_model("rssm", linear_world(200)), {"rows": []})
    saved_cloning(root / "bundle")
    write_dataset(root / "dataset", counting_log(), "log", 0.5, 0)
    quantiles = {"0.5": 0.1, "0.9": 0.2, "0.95": 0.3, "0.99": 0.4}
    ranked = PenaltyCalibration("total", 1.5, quantiles, 0.8, {"1": 0.7, "5": None}, 0.9, 0.6)
    blind = PenaltyCalibration(None, None, {}, None, {"1": None, "5": None}, 0.5, 0.0)
    Calibration(12, 50, "a", {"a": ranked, "b": blind}, {"x": 2.0}).save(root / "calibration/seed-0.json")
    return root


@pytest.fixture
def stored(request: pytest.FixtureRequest, originals: Path, tmp_path: Path) -> Stored:
    kind = request.param
    folder = Path(shutil.copytree(originals / kind, tmp_path / kind))
    description, read, fix = {
        "model": ("model.json", lambda: load_world_model(folder), "run `dvc repro fit_world_model`"),
        "rssm": ("model.json", lambda: load_world_model(folder), "run `dvc repro fit_world_model`"),
        "bundle": ("bundle.json", lambda: load_bundle(folder), "copy the bundle again"),
        "dataset": ("spec.json", lambda: open_dataset(folder), "run `dvc repro ingest`"),
        "calibration": (
            "seed-0.json",
            lambda: Calibration.load(folder / "seed-0.json"),
            "run `dvc repro assess_world_model`",
        ),
    }[kind]
    return Stored(folder, description, read, fix)


EVERY = ["model", "bundle", "dataset", "calibration"]
every_kind = pytest.mark.parametrize("stored", EVERY, indirect=True)


def refused(stored: Stored, reason: str = ".") -> None:
    with pytest.raises(ValueError, match=reason) as error:
        stored.read()
    message = str(error.value)
    assert "\n" not in message
    assert len(message) < 600
    assert str(stored.folder) in message
    assert stored.fix in message or "update the project" in message


def files_read(stored: Stored) -> list[Path]:
    """The files that reading looks at; the others are for the report or for people."""
    unread = ("history.json", "README.md")
    return [file for file in sorted(stored.folder.iterdir()) if file.name not in unread]


@pytest.mark.parametrize("stored", [*EVERY, "rssm"], indirect=True)
def test_a_flipped_bit_is_noticed_wherever_it_is(stored: Stored):
    draws = random.Random(0)
    before = repr(stored.read())
    for file in files_read(stored):
        whole = file.read_bytes()
        for place in [0, len(whole) - 1, *(draws.randrange(len(whole)) for _ in range(40))]:
            flipped = bytearray(whole)
            flipped[place] ^= 1 << draws.randrange(8)
            file.write_bytes(flipped)
            if file.suffix == ".json" and _same(whole, bytes(flipped)):  # white space, or the last digit of a number
                assert repr(stored.read()) == before
            else:
                refused(stored)
        file.write_bytes(whole)
    stored.read()


def _same(one: bytes, other: bytes) -> bool:
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return False


@every_kind
def test_a_file_that_is_cut_short_or_gone_is_noticed(stored: Stored):
    for file in files_read(stored):
        whole = file.read_bytes()
        for length in {0, 1, len(whole) // 2, len(whole) - 3}:
            file.write_bytes(whole[:length])
            refused(stored)
        file.unlink()
        with pytest.raises(ValueError, match=r"not found|missing|no world model|no prepared dataset"):
            stored.read()
        file.write_bytes(whole)


HOSTILE = {
    "deep": "[" * 100_000,
    "deep in a key": '{"schema_version": 2, "config": ' + '{"a":' * 20_000 + "1" + "}" * 20_001,
    "a key twice": '{"schema_version": 2, "schema_version": 2}',
    "a list": "[]",
    "no object": "3",
    "empty": "",
    "no text": "\ud800".encode("utf-16", "surrogatepass").decode("latin1"),
    "no version": "{}",
    "a version that is no number": '{"schema_version": "2"}',
    "an old version": '{"schema_version": 0}',
    "a new version": '{"schema_version": 99}',
    "not a number": '{"schema_version": 2, "x": NaN}',
    "infinite": '{"schema_version": 2, "x": -Infinity}',
    "many digits": '{"schema_version": ' + "9" * 5000 + "}",
}


@every_kind
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_json_is_refused(stored: Stored, text: str):
    (stored.folder / stored.description).write_text(text)
    refused(stored)


@every_kind
def test_more_json_than_the_limit_is_not_read(stored: Stored):
    file = stored.folder / stored.description
    file.write_text(file.read_text() + " " * LARGEST_JSON)
    refused(stored, "larger than 16 MiB")


@every_kind
def test_an_unknown_key_is_named(stored: Stored):
    rewrite(stored.folder / stored.description, surprise=1)
    refused(stored, "`surprise`: is unknown")


@every_kind
def test_files_of_earlier_versions_have_no_digest(stored: Stored):
    file = stored.folder / stored.description
    content = {k: v for k, v in json.loads(file.read_text()).items() if k != "sha256"}
    file.write_text(json.dumps(content))
    stored.read()


NAN, HUGE = float("nan"), 1e38
SENSELESS: list[tuple[str, str, object, str]] = [  # kind, path of keys, value, reason
    *[
        (kind, f"{place}statistics.{key}", value, reason)
        for kind, place in (("model", "data_spec."), ("bundle", ""))
        for key, value, reason in [
            ("obs_mean", [NAN] * 3, "NaN is not a number"),
            ("obs_std", [0.0] * 3, "must be at least 1e-30"),
            ("obs_std", [-1.0] * 3, "must be at least 1e-30"),
            ("obs_std", [1e-60] * 3, "must be at least 1e-30"),
            ("obs_std", [1.0] * 2, "obs_std has 2 entries, expected 3"),
            ("obs_mean", [1.0] * 2, "expected 2|obs_shapes hold|features are numbered"),
            ("obs_mean", [1e300] * 3, "must be at most 3.4"),
            ("delta_std", [], "delta_std has 0 entries"),
            ("active", [0, 99], "features are numbered from 0 to 2"),
            ("reward_std", 0, "must be at least 1e-30"),
        ]
    ],
    ("model", "data_spec.action_dim", 0, "must be at least 1"),
    ("model", "data_spec.action_dim", 3, "do not fit together"),
    ("model", "data_spec.obs_shapes", {"../x": [3]}, "without slashes"),
    ("model", "name", "rssm", "is unknown"),
    ("model", "name", "os.system", "must be one of gaussian_ensemble"),
    ("model", "config.width", 33, "do not fit together"),
    ("model", "config.surprise", 1, "is unknown"),
    ("bundle", "encoder_config", {"history": 2}, "`encoder_config`: `history`: is unknown"),
    ("bundle", "penalty", {"name": "ensemble_std", "weight": 1.0, "x": 1}, "`penalty`: `x`: is unknown"),
    ("bundle", "penalty", {"name": "x"}, "`penalty`: `name`: `x` must be one of"),
    ("bundle", "config.surprise", 1, "`config`: `surprise`: is unknown"),
    ("bundle", "policy", "x", "do not fit together"),
    *[("bundle", "obs_shapes", {name: [3]}, "without slashes") for name in ("../x", "/x", "a\\b", "a\0b", "a\nb", "")],
    ("bundle", "obs_shapes", {"state": [3], "image": [60_000, 60_000, 3]}, "more than 10,000,000 numbers"),
    ("bundle", "weights_sha256", 3, "weights_sha256"),
    ("bundle", "action_low", [2.0], "bounds"),
    ("dataset", "obs_shapes", {"../x": [2]}, "without slashes"),
    ("dataset", "obs_std", {"state": [-1.0, 1.0]}, "must be at least 0"),
    ("dataset", "obs_std", {"state": [1.0]}, "as many entries"),
    ("dataset", "obs_mean", {"state": [NAN, 1.0]}, "NaN is not a number"),
    ("dataset", "obs_names", {"state": ["a"]}, "as many entries"),
    ("dataset", "action_low", [2.0, 2.0], "below action_high|must have"),
    ("dataset", "transitions", 10**8, "rows, expected"),
    ("dataset", "episodes", 0, "must be at least 1"),
    ("dataset", "exogenous", {"state": [7]}, "must be features"),
    ("dataset", "digest", "0" * 32, "digest"),
    ("calibration", "horizon", -1, "must be at least 0"),
    ("calibration", "horizon", 51, "beyond horizon_measured"),
    ("calibration", "penalties.a.scale", -1.5, "must be at least 0"),
    ("calibration", "penalties.a.scale", NAN, "NaN is not a number"),
    ("calibration", "temperature", {"x": 0}, "must be above 0"),
    ("calibration", "best_penalty", "c", "none of a, b"),
]


@pytest.mark.parametrize(("stored", "path", "value", "reason"), SENSELESS, indirect=["stored"])
def test_senseless_values_are_named(stored: Stored, path: str, value: object, reason: str):
    file = stored.folder / stored.description
    content = json.loads(file.read_text())
    block = content
    *place, last = path.split(".")
    for key in place:
        block = block[key]
    assert last in block or last == "surprise"
    block[last] = value
    rewrite(file, **content)
    refused(stored, reason)


def _first(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A change of the first matrix of floats."""

    def changed(weights: dict[str, Any]) -> dict[str, Any]:
        name = next(name for name, tensor in weights.items() if tensor.is_floating_point() and tensor.ndim > 1)
        return {**weights, name: change(weights[name].clone())}

    return changed


WRONG_WEIGHTS: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "NaN": (_first(lambda w: w.fill_(NAN)), "not finite"),
    "infinite": (_first(lambda w: w.fill_(float("inf"))), "not finite"),
    "too large": (_first(lambda w: w.fill_(HUGE)), "beyond 1e\\+15"),
    "integers": (_first(lambda w: w.long()), "is of type torch.int64, expected torch.float32"),
    "halves": (_first(lambda w: w.half()), "is of type torch.float16, expected torch.float32"),
    "doubles": (_first(lambda w: w.double()), "is of type torch.float64, expected torch.float32"),
    "another shape": (_first(lambda w: w[..., :1]), "do not fit together"),
    "one missing": (lambda w: dict(list(w.items())[1:]), "do not fit together"),
    "one more": (lambda w: {**w, "more": torch.zeros(1)}, "do not fit together"),
}


@pytest.mark.parametrize("stored", ["model", "rssm", "bundle"], indirect=True)
@pytest.mark.parametrize(("change", "reason"), WRONG_WEIGHTS.values(), ids=WRONG_WEIGHTS)
def test_senseless_weights_are_refused(stored: Stored, change: Callable[[dict[str, Any]], dict[str, Any]], reason: str):
    file = stored.folder / "weights.safetensors"
    raw = save({name: w.contiguous() for name, w in change(read_weights(file, None, "")).items()})
    file.write_bytes(raw)
    rewrite(stored.folder / stored.description, weights_sha256=sha256(raw))
    refused(stored, reason)


@pytest.mark.parametrize("value", [NAN, HUGE])
def test_weights_that_reading_would_refuse_are_not_written(value: float, tmp_path: Path):
    with pytest.raises(ValueError, match=r"weight `a` holds values .*; the training diverged: lower"):
        write_weights({"a": torch.full((2,), value)}, tmp_path / "weights.safetensors")
    assert not any(tmp_path.iterdir())


def test_a_sealed_record_that_reading_would_refuse_is_not_written(tmp_path: Path):
    huge = PenaltyCalibration("total", 3e15, {}, 0.8, {"1": 0.7}, 0.9, 0.6)
    with pytest.raises(ValueError, match=r"`penalties\.a\.scale`: .* must be at most"):
        Calibration(12, 50, "a", {"a": huge}, {}).save(tmp_path / "calibration.json")
    assert not any(tmp_path.iterdir())


WRONG_ARRAYS: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray], str]] = {
    "episodes that run back": ("offsets", lambda a: a[[0, 2, 1, *range(3, len(a))]], "do not follow"),
    "a start beyond 0": ("offsets", lambda a: np.where(a == 0, 1, a), "do not follow"),
    "an end before the last row": ("offsets", lambda a: np.where(a == a[-1], a[-1] - 1, a), "do not follow"),
    "an episode without a step": ("offsets", lambda a: np.where(a == a[1], 1, a), "do not follow"),
    "offsets as floats": ("offsets", lambda a: a.astype(float), "float64 .*, expected int64"),
    "a wider action": ("action", lambda a: np.repeat(a, 2, 1), "expected float32"),
    "a narrower observation": ("obs.state", lambda a: a[:, :1], "expected float32"),
    "doubles": ("reward", lambda a: a.astype(float), "float64 .*, expected float32"),
    "rewards in two columns": ("reward", lambda a: np.stack([a, a], 1), "expected float32"),
    "no array": ("held_out", lambda a: np.array(True), "0 rows, expected"),
    "NaN": ("obs.state", lambda a: a * np.float32(NAN), "its arrays do not have the digest"),
    "episodes held out that were not": ("held_out", lambda a: ~a, "its arrays do not have the digest"),
    "objects": ("reward", lambda a: a.astype(object), "truncated or corrupt"),
}


@pytest.mark.parametrize("stored", ["dataset"], indirect=True)
@pytest.mark.parametrize(("name", "change", "reason"), WRONG_ARRAYS.values(), ids=WRONG_ARRAYS)
def test_senseless_arrays_are_refused(
    stored: Stored, name: str, change: Callable[[np.ndarray], np.ndarray], reason: str
):
    file = stored.folder / f"{name}.npy"
    np.save(file, change(np.load(file)))
    refused(stored, reason)


def test_results_for_the_report_are_compared_too(tmp_path: Path):
    adapter, file = TypeAdapter(Correlation), tmp_path / "errors.json"
    save_record(Correlation(0.5, None), file, seal=True)
    assert load_record(adapter, file) == Correlation(0.5, None)
    file.write_text(file.read_text().replace("0.5", "0.7"))
    with pytest.raises(ValueError, match=r"damaged or edited, .* run `dvc repro`$"):
        load_record(adapter, file)
    for text in HOSTILE.values():
        file.write_text(text)
        with pytest.raises(ValueError, match="run `dvc repro`"):
            load_record(adapter, file)


def test_equal_things_have_equal_bytes(originals: Path, tmp_path: Path):
    save_world_model(tmp_path / "model", small_ensemble(linear_world(200)), {"rows": []})
    write_dataset(tmp_path / "dataset", counting_log(), "log", 0.5, 0)
    for folder in ("model", "dataset"):
        for file in (originals / folder).iterdir():
            assert (tmp_path / folder / file.name).read_bytes() == file.read_bytes()
