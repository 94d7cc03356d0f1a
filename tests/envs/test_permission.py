"""What a log, a dataset or a bundle names runs no code but that of Gymnasium, this project and packages that the user
names."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from minari_logs import ingest, record

from pipeline.envs import permission
from pipeline.envs.permission import ForbiddenError, allow_named, allow_packages, allowed_packages, check_module
from pipeline.envs.registration import OURS, PREPARED, REBUILT, make
from pipeline.evaluation.episodes import make_environments

ENVIRONMENT = """\
import gymnasium
from gymnasium.envs.classic_control.pendulum import PendulumEnv
class Kind(PendulumEnv): pass
gymnasium.register("Elsewhere-v0", entry_point=f"{__name__}:Kind", max_episode_steps=5)
"""


@pytest.fixture
def elsewhere(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A folder on Python's path that is not the working folder; nothing is allowed, and nothing stays imported."""
    monkeypatch.setattr(permission, "_allowed", set())
    before = set(sys.modules)
    folder = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.syspath_prepend(folder)
    yield folder
    for name in set(sys.modules) - before:
        del sys.modules[name]
    gymnasium.registry.pop("Elsewhere-v0", None)


@pytest.fixture
def working_folder(tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, at the start of Python's path as under ``python -m``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def plant(file: Path) -> Path:
    """A module that writes a file beside it when it runs."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"open({str(file.with_suffix('.ran'))!r}, 'w')\n{ENVIRONMENT}")
    return file


def rebuilt(entry_point: str) -> dict[str, str]:
    return {"spec": json.dumps({"id": "Pendulum-v1", "entry_point": entry_point, "max_episode_steps": 5})}


def inside(env_id: str) -> dict[str, Any]:
    """The arguments of an environment of this project, two levels around ``env_id``."""
    return {"env_id": f"{OURS}:Masked-v0", "env_kwargs": {"env_id": env_id, "keep": [0]}}


@pytest.mark.parametrize(
    ("env_id", "env_kwargs"),
    [
        ("planted:Elsewhere-v0", {}),
        ("below.deeper.planted:Elsewhere-v0", {}),
        (PREPARED, inside("planted:Elsewhere-v0")),
        (REBUILT, rebuilt("planted:Kind")),
        (REBUILT, rebuilt("below.deeper.planted:Kind")),
        (PREPARED, {"env_id": REBUILT, "env_kwargs": rebuilt("planted:Kind")}),
    ],
)
def test_code_of_the_working_folder_never_runs(env_id: str, env_kwargs: dict[str, Any], working_folder: Path) -> None:
    plant(working_folder / "planted.py")
    plant(working_folder / "below/deeper/planted.py")
    allow_packages(["planted", "below"])
    for attempt in (lambda: make(env_id, env_kwargs), lambda: make_environments(env_id, env_kwargs, 1, None)):
        with pytest.raises(ValueError, match=r"`(planted|below)` lies in the working folder") as caught:
            attempt()
        assert "\n" not in str(caught.value)
    assert not list(working_folder.rglob("*.ran"))


def test_mujoco_of_the_working_folder_never_runs(working_folder: Path) -> None:
    """It is imported to keep it quiet, where an entry point sounds like it."""
    for name in ("mujoco", "mujoco_tasks"):
        sys.modules.pop(name, None)
        plant(working_folder / f"{name}.py")
    for entry_point, reason in (
        ("mujoco_tasks:Kind", "not allowed|lies in"),
        ("gymnasium.envs.mujoco.x:Kind", "mujoco"),
    ):
        with pytest.raises(ValueError, match=reason):
            make(REBUILT, rebuilt(entry_point))
    assert not list(working_folder.rglob("*.ran"))


def below(folder: Path, elsewhere: Path, path: pytest.MonkeyPatch) -> None:
    plant(folder / "deep/er/planted.py")
    path.syspath_prepend(folder / "deep/er")


def link_to_elsewhere(folder: Path, elsewhere: Path, path: pytest.MonkeyPatch) -> None:
    (folder / "planted.py").symlink_to(plant(elsewhere / "other.py"))


def link_from_elsewhere(folder: Path, elsewhere: Path, path: pytest.MonkeyPatch) -> None:
    plant(folder / "hidden/planted/__init__.py")
    (elsewhere / "planted").symlink_to(folder / "hidden/planted")


def link_to_the_folder(folder: Path, elsewhere: Path, path: pytest.MonkeyPatch) -> None:
    (elsewhere / "link").symlink_to(folder)
    link_to_elsewhere(folder, elsewhere, path)
    path.syspath_prepend(elsewhere / "link")


def half_a_namespace(folder: Path, elsewhere: Path, path: pytest.MonkeyPatch) -> None:
    plant(folder / "planted/part.py")
    plant(elsewhere / "planted/other.py")


def empty_entry_of_the_path(folder: Path, elsewhere: Path, path: pytest.MonkeyPatch) -> None:
    plant(folder / "planted.py")
    path.setattr(sys, "path", ["", *sys.path])


def editable_install(folder: Path, elsewhere: Path, path: pytest.MonkeyPatch) -> None:
    plant(folder / "src/planted/__init__.py")
    path.setattr(sys, "path", [*sys.path, str(folder / "src")])  # what a .pth file does


HIDING_PLACES = (
    below,
    link_to_elsewhere,
    link_from_elsewhere,
    link_to_the_folder,
    half_a_namespace,
    empty_entry_of_the_path,
    editable_install,
)


@pytest.mark.parametrize("hide", HIDING_PLACES, ids=lambda hide: hide.__name__)
def test_the_working_folder_is_recognized(
    hide: Callable[..., None], working_folder: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow_packages(["planted"])
    hide(working_folder, elsewhere, monkeypatch)
    with pytest.raises(ForbiddenError, match="`planted` lies in the working folder"):
        check_module("planted.part" if hide is half_a_namespace else "planted")


def test_a_package_that_grows_into_the_working_folder_is_refused(working_folder: Path, elsewhere: Path) -> None:
    """``pkgutil.extend_path`` adds folders of the same name only when the package is imported."""
    grows = "import pkgutil\n__path__ = pkgutil.extend_path(__path__, __name__)\n"
    (elsewhere / "planted").mkdir()
    (elsewhere / "planted/__init__.py").write_text(grows)
    allow_packages(["planted"])
    sys.path.remove(str(elsewhere))
    sys.path.insert(0, str(elsewhere))  # so that the installed package comes first
    plant(working_folder / "planted/part.py")
    (working_folder / "planted/__init__.py").write_text("")
    with pytest.raises(ForbiddenError, match=r"`planted\.part` lies in the working folder"):
        check_module("planted.part")
    assert not list(working_folder.rglob("*.ran"))


def test_packages_need_the_users_word(elsewhere: Path) -> None:
    plant(elsewhere / "planted.py")
    cases = [
        ("planted:Elsewhere-v0", {}),
        (PREPARED, inside("planted:Elsewhere-v0")),
        (REBUILT, rebuilt("planted:Kind")),
    ]
    for env_id, env_kwargs in cases:
        with pytest.raises(ForbiddenError, match=r"`dataset.env_packages`.*--allow-package planted"):
            make(env_id, env_kwargs)
    assert not list(elsewhere.rglob("*.ran"))
    allow_named({"dataset": {"env_packages": ["planted"]}})
    assert allowed_packages() == ["planted"]
    for env_id, env_kwargs in (cases[0], cases[2]):
        make(env_id, env_kwargs).close()
    assert (elsewhere / "planted.ran").exists()


def test_so_does_what_gymnasium_registers_for_other_packages(elsewhere: Path) -> None:
    plant(elsewhere / "planted.py")
    gymnasium.register("Elsewhere-v0", entry_point="planted:Kind")
    with pytest.raises(ForbiddenError, match="code of `planted` is not allowed"):
        make("Elsewhere-v0", {})
    assert not list(elsewhere.rglob("*.ran"))


def test_packages_of_a_virtual_environment_in_the_working_folder_are_installed(
    working_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = working_folder / ".venv/lib"
    plant(installed / "planted.py")
    monkeypatch.syspath_prepend(installed)
    monkeypatch.setattr(permission, "_site_folders", lambda: [installed])
    allow_packages(["planted"])
    make("planted:Elsewhere-v0", {}).close()


@pytest.mark.parametrize("module", ["no_such", "subprocess", "no_such.module", "a b", ".relative", "json.no_such"])
def test_modules_that_are_not_installed(module: str) -> None:
    with pytest.raises(ModuleNotFoundError, match="is not installed"):
        check_module(module)


def test_params_and_logs_are_asked_alike(elsewhere: Path, tmp_path: Path) -> None:
    plant(elsewhere / "planted.py")
    block = record(tmp_path / "m", gymnasium.make("Pendulum-v1", max_episode_steps=5))
    with pytest.raises(ValueError) as caught:
        ingest(tmp_path / "d", **block, env_id="planted:Elsewhere-v0")
    assert str(caught.value).startswith("params.yaml: `dataset.env_id: planted:Elsewhere-v0`: code of `planted` is not")
    behaviors = [{"name": "random"}]
    with pytest.raises(
        ValueError, match=r"params\.yaml: `dataset\.env_id: planted:Elsewhere-v0`: code of `planted` is"
    ):
        ingest(tmp_path / "d", source="collect", path="x", behaviors=behaviors, env_id="planted:Elsewhere-v0")
    file = tmp_path / "m/test/log-v0/data/metadata.json"
    file.write_text(file.read_text().replace("gymnasium.envs.classic_control.pendulum:PendulumEnv", "planted:Kind"))
    spec = ingest(tmp_path / "d", **block).spec
    assert spec.env_id is None
    assert any("name it in `dataset.env_packages`" in w and "evaluated without it" in w for w in spec.warnings)
    assert not list(elsewhere.rglob("*.ran"))
    allow_packages(["planted"])
    assert ingest(tmp_path / "d", **block).spec.env_id == "planted:Pendulum-v1"


def test_names_of_packages_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`dataset.env_packages.*`a/b` must be the name of a package"):
        ingest(tmp_path / "d", source="collect", path="x", env_packages=["a/b"])
