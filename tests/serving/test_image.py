"""The image of a served policy: what the Dockerfile installs and runs, without Docker."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from toys import saved_cloning

from pipeline.serving.agent import load_agent
from pipeline.serving.mlflow_logging import SERVING_PACKAGES

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# What the project needs elsewhere; the image does without.
ABSENT = ("dvc", "gymnasium", "h5py", "lightning", "matplotlib", "minari", "omegaconf", "pyarrow", "ruamel", "typer")
PREDICT = """
import sys
sys.modules.update(dict.fromkeys({absent!r}))
import numpy, mlflow
model = mlflow.pyfunc.load_model("model")
print(model.predict(numpy.zeros((2, 3))).tolist())
"""


def requirement(name: str) -> str:
    """The requirement of pyproject.toml on a package."""
    return next(text for text in PROJECT["dependencies"] if re.split(r"[<>=!\[]", text)[0] == name)


def test_the_image_installs_what_serving_needs_in_the_versions_of_the_project() -> None:
    installed = set(re.findall(r'"([^"\s]+[<>=][^"\s]+)"', DOCKERFILE))
    assert installed == {requirement(name) for name in ("mlflow", *SERVING_PACKAGES)}


def test_the_image_copies_what_docker_may_see() -> None:
    copied = [source.replace("${BUNDLE}", "data/policy/seed-0") for source in re.findall(r"COPY (\S+)", DOCKERFILE)]
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert all(any(source.startswith(path) for path in allowed) for source in copied)


def test_the_model_of_the_image_acts_as_the_bundle(tmp_path: Path) -> None:
    bundle = saved_cloning(tmp_path / "bundle")
    shutil.copytree(ROOT / "pipeline", tmp_path / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    (build,) = re.findall(r'RUN python -c "(.+)"', DOCKERFILE)
    environment = {"PYTHONPATH": str(tmp_path), "PATH": str(Path(sys.executable).parent), "HOME": str(tmp_path)}
    for code in (build, PREDICT.format(absent=ABSENT)):
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    agent = load_agent(bundle)
    agent.reset(2)
    np.testing.assert_allclose(eval(done.stdout), agent.act(np.zeros((2, 3), np.float32)), atol=1e-5)


@pytest.mark.parametrize("script", PROJECT["scripts"].items())
def test_the_console_script_is_a_function(script: tuple[str, str]) -> None:
    name, target = script
    module, _, function = target.partition(":")
    assert name == PROJECT["name"]
    assert callable(vars(sys.modules.get(module) or __import__(module, fromlist=[function]))[function])
