"""Requests to a served policy: many at once, and malformed ones."""

import asyncio
import dataclasses
import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import mlflow
import numpy as np
import pytest
import torch
from mlflow.models import infer_signature
from mlflow.pyfunc import PythonModelContext, scoring_server
from numpy.typing import NDArray
from toys import build_data_spec, linear_world, saved_cloning

from pipeline.encoders import ENCODERS
from pipeline.encoders.frame_stack import FramesConfig
from pipeline.encoders.history import HistoryConfig
from pipeline.encoders.standard import StandardConfig
from pipeline.policies import LEARNERS
from pipeline.policies.learner_spec import LearnerSpec
from pipeline.serving.bundle import BundleSpec, save_bundle
from pipeline.serving.mlflow_logging import SERVED_POLICY, save_model
from pipeline.serving.mlflow_model import ServedPolicy
from pipeline.serving.requests import LARGEST_REQUEST
from pipeline.world_models import WORLD_MODELS
from pipeline.world_models.rssm import RSSMConfig

Request = NDArray[Any] | dict[str, NDArray[Any]]
THREADS, REQUESTS = 100, 1000
SMALL: dict[str, tuple[Any, Any]] = {  # encoder -> its config, and the shape of one image
    "standard": (StandardConfig(), None),
    "history": (HistoryConfig(2), None),
    "frames": (FramesConfig(2), [8, 8, 1]),
    "rssm": (RSSMConfig(deter=12, stoch=4, width=12, members=2), None),
}


def bundle_of(policy: str, encoder: str, folder: Path, action_kind: str = "continuous") -> Path:
    """A bundle with random weights: an observation `state` of 3 numbers (with an image for `frames`), 2 actions."""
    config, image = SMALL[encoder]
    logs = build_data_spec(linear_world(200))
    shapes = logs.obs_shapes | ({"image": image} if image else {})
    data = dataclasses.replace(logs, obs_shapes=shapes)
    torch.manual_seed(0)
    built: Any = (ENCODERS[encoder].from_data if encoder in ENCODERS else WORLD_MODELS[encoder])(config, data)
    options = LEARNERS[policy].Config(hidden=[32])
    images = {"images": built.images} if image else {}
    learner = LEARNERS[policy](options, LearnerSpec(built.state_dim, 2, action_kind=action_kind), **images)
    spec = BundleSpec(
        policy=policy, config=dataclasses.asdict(options), obs_shapes=shapes, statistics=data.statistics,
        action_low=[-2.0, 0.0], action_high=[2.0, 10.0], env_id=None, env_kwargs={},
        dataset={"name": "toy", "transitions": 200}, seed=0, privileged_knowledge=[], encoder=encoder,
        encoder_config=dataclasses.asdict(config), action_kind=action_kind,
    )  # fmt: skip
    save_bundle(folder, learner, built, spec, {"rows": []}, "# card\n")
    return folder


def served(bundle: Path) -> ServedPolicy:
    policy = ServedPolicy()
    policy.load_context(cast(PythonModelContext, SimpleNamespace(artifacts={"bundle": str(bundle)})))
    return policy


def request_of(policy: ServedPolicy, draws: np.random.Generator) -> Request:
    """A request of 1 to 4 episodes, with 1 to 4 steps each if the policy keeps a state."""
    batch, steps = draws.integers(1, 5, 2).tolist()
    lead = (batch, steps) if policy.agent.stateful else (batch,)
    shapes = policy.agent.spec.obs_shapes
    obs = {
        key: draws.integers(0, 256, (*lead, *shape)) if len(shape) == 3 else draws.normal(size=(*lead, *shape))
        for key, shape in shapes.items()
    }
    if not policy.agent.stateful:
        return obs["state"]
    return {**obs, "action": draws.uniform(0, 2, (batch, steps - 1, 2))}


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """Threads that take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("eager_threads")
@pytest.mark.parametrize(
    ("policy", "encoder"),
    [("bc", "standard"), ("sac", "standard"), ("bc", "history"), ("bc", "frames"), ("sac", "rssm")],
)
def test_parallel_requests_get_the_answers_of_serial_ones(policy: str, encoder: str, tmp_path: Path):
    model, draws = served(bundle_of(policy, encoder, tmp_path)), np.random.default_rng(0)
    requests = [request_of(model, draws) for _ in range(REQUESTS)]
    alone = [model.predict(cast(Any, None), cast(Any, request)) for request in requests]
    with ThreadPoolExecutor(THREADS) as pool:
        together = list(pool.map(lambda request: model.predict(cast(Any, None), request), requests))
    wrong = [i for i in range(REQUESTS) if not np.array_equal(alone[i], together[i])]
    assert wrong == []
    assert len({answer.tobytes() for answer in alone}) == REQUESTS  # no two of which are alike by chance


def test_a_session_goes_on_while_requests_are_answered(tmp_path: Path):
    agent, draws = served(bundle_of("bc", "history", tmp_path)).agent, np.random.default_rng(0)
    obs, action = draws.normal(size=(4, 3, 3)), np.zeros((4, 2, 2))
    after = agent.answer({"state": obs, "action": action})
    first, second = agent.session(4), agent.session(4)
    for session in (first, second):
        session.act(obs[:, 0])
    agent.answer({"state": obs[:2, ::-1], "action": action[:2]})
    with pytest.raises(ValueError, match="not finite"):
        first.act(np.full((4, 3), 3e38))
    np.testing.assert_array_equal(first.act(obs[:, 1]), second.act(obs[:, 1]))  # a refused observation left no trace
    assert after.shape == (4, 2)


def post(app: Any, body: bytes) -> tuple[int, dict[str, Any]]:
    return asyncio.run(posted(app, body))


async def posted(app: Any, body: bytes) -> tuple[int, dict[str, Any]]:
    """Status and JSON of the scoring server's answer."""
    answer: dict[str, Any] = {"body": b""}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        answer["status"] = message.get("status", answer.get("status"))
        answer["body"] += message.get("body", b"")

    scope = {
        "type": "http", "method": "POST", "path": "/invocations", "query_string": b"", "http_version": "1.1",
        "headers": [(b"content-type", b"application/json")], "scheme": "http", "root_path": "",
    }  # fmt: skip
    await app(scope, receive, send)
    return answer["status"], json.loads(answer["body"])


def inputs(content: object) -> bytes:
    return json.dumps({"inputs": content}).encode()


@pytest.fixture(scope="module", params=["signature", "no signature"])
def app(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The scoring server of a feed-forward policy, as the tracking store logs it and as the image saves it."""
    folder = tmp_path_factory.mktemp("served")
    bundle = saved_cloning(folder / "bundle")
    if request.param == "signature":
        signature = infer_signature(np.zeros((2, 3), np.float32), np.zeros((2, 1)))
        artifacts = {"bundle": str(bundle)}
        model = folder / "model"
        mlflow.pyfunc.save_model(
            model, python_model=str(SERVED_POLICY), artifacts=artifacts, signature=signature, pip_requirements=[]
        )
    else:
        save_model(bundle, folder / "model")
    return scoring_server.init(mlflow.pyfunc.load_model(str(folder / "model")))


@pytest.mark.parametrize(
    "content",
    [
        [[1, 2]], [1, 2, 3], 3, [], [[]], [[[1, 2, 3]]], [[1, 2, 3], [1]], None, {}, "abc", [["a", 1, 2]],
        [[None, 1, 2]], [[float("nan"), 1, 2]], [[1e39, 1, 2]], [[3e38, 3e38, 3e38]], [[10**400, 1, 2]],
        {"other": [[1, 2, 3]]}, {"state": [[1, 2, 3]], "other": [[1]]}, [[0, 0, 0]] * (LARGEST_REQUEST + 1),
    ],
    ids=lambda content: str(content)[:20],
)  # fmt: skip
def test_malformed_requests_get_status_400_and_a_reason(app: Any, content: object):
    status, answer = post(app, inputs(content))
    assert status == 400
    assert "stack_trace" not in answer or "json" in answer["stack_trace"]
    assert "unexpected error" not in answer["message"]


def test_the_server_keeps_callers_apart(app: Any):
    draws = np.random.default_rng(0)
    bodies = [inputs(draws.normal(size=(int(draws.integers(1, 6)), 3)).tolist()) for _ in range(200)]

    async def together() -> list[tuple[int, dict[str, Any]]]:
        return await asyncio.gather(*(posted(app, body) for body in bodies))

    assert asyncio.run(together()) == [post(app, body) for body in bodies]


def test_well_formed_requests_are_answered(app: Any):
    status, answer = post(app, inputs([[0.1, 0.9, 0.0]] * LARGEST_REQUEST))
    assert status == 200
    assert np.array(answer["predictions"]).shape == (LARGEST_REQUEST, 1)


HISTORY: dict[str, Any] = {"state": [[[1, 2, 3]] * 3] * 2, "action": [[[0, 0]] * 2] * 2}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"action": None}, "numbers alone"),
        ({"action": [[[0, 0]] * 3] * 2}, r"`action` has shape \(2, 3, 2\), expected \(2, 2, 2\)"),
        ({"action": [[[0, float("inf")]] * 2] * 2}, "`action` holds values that are not finite"),
        ({"state": [[1, 2, 3]] * 2}, r"expected \(batch, steps, 3\)"),
        ({"state": [[]] * 2}, r"expected \(batch, steps, 3\)"),
        ({"state": [[[1, 2, 3]] * 101] * 100}, "10100 observations are too many"),
        ({"other": [1]}, "expects observations"),
    ],
)
def test_malformed_histories_name_the_mistake(changes: dict[str, object], reason: str, tmp_path: Path):
    agent = served(bundle_of("bc", "history", tmp_path)).agent
    assert agent.answer(HISTORY).shape == (2, 2)
    with pytest.raises(ValueError, match=reason):
        agent.answer({**HISTORY, **changes})
    for request in (HISTORY["state"], {"state": HISTORY["state"]}):
        with pytest.raises(ValueError, match=r"send \['state', 'action'\] by name"):
            agent.answer(request)


def test_discrete_actions_must_be_among_the_options(tmp_path: Path):
    agent = served(bundle_of("bc", "history", tmp_path, action_kind="discrete")).agent
    assert agent.answer({"state": HISTORY["state"], "action": [[0, 1]] * 2}).shape == (2,)
    for wrong in (2, -1, 0.5):
        with pytest.raises(ValueError, match="whole numbers from 0 to 1"):
            agent.answer({"state": HISTORY["state"], "action": [[0, wrong]] * 2})


def test_pixels_must_be_pixels(tmp_path: Path):
    agent = served(bundle_of("bc", "frames", tmp_path)).agent
    request = {"state": np.zeros((1, 1, 3)), "action": np.zeros((1, 0, 2))}
    assert agent.answer({**request, "image": np.full((1, 1, 8, 8, 1), 255)}).shape == (1, 2)
    for wrong in (256, -1, 0.5, np.nan):
        with pytest.raises(ValueError, match="whole numbers from 0 to 255"):
            agent.answer({**request, "image": np.full((1, 1, 8, 8, 1), wrong)})
