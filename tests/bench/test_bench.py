"""The plain loop is the same mathematics as ours, and the bench runs on a bare machine."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipeline import bench
from pipeline.bench.latent import LatentWorld, usual_shapes
from pipeline.bench.plain import PlainEnsemble, PlainSAC
from pipeline.bench.reduced import precisions
from pipeline.bench.rival import INSTALL, Rival, rivals
from pipeline.bench.timing import gflop_of
from pipeline.bench.world import BenchConfig, World, make_world
from pipeline.networks.mlp import StackedLinear
from pipeline.policies.actor_critic import ActorCriticConfig
from pipeline.training.replay_buffer import LoggedReplay
from pipeline.types import Transitions
from pipeline.world_models.rssm import RSSMConfig

TINY_RSSM = RSSMConfig(deter=8, stoch=2, width=8, image_depth=2, members=2)
TINY_LATENTS = [replace(shapes, windows=2, steps=3, starts=4, model=TINY_RSSM,
                        learner=ActorCriticConfig(batch_size=4, horizon=2, hidden=[8]))
                for shapes in usual_shapes()]  # fmt: skip
TINY = BenchConfig(threads=1, seconds=0.03, members=3, width=16, depth=2, batch=8, policies=[[16, 16], [8, 8]],
                   starts=20, rows=400, latents=TINY_LATENTS, shell_steps=4, precision_steps=6, ingest_rows=3000,
                   ingest_episodes=[20])  # fmt: skip
NOT_ALLOWED = "mlflow minari gymnasium scipy matplotlib dvc h5py safetensors typer pandas jinja2 ruamel PIL psutil"
BARE = """
import sys
from importlib.machinery import PathFinder

absent = sys.argv[1].split()
class Bare(PathFinder):  # torchmetrics asks for the installed version before it tries an import
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in absent else super().find_spec(name, path, target)

    @staticmethod
    def find_distributions(context):
        return [] if context.name in absent else PathFinder.find_distributions(context)

sys.meta_path = [Bare if finder is PathFinder else finder for finder in sys.meta_path]
from pipeline.bench import measure
from pipeline.bench.latent import usual_shapes
from pipeline.bench.world import BenchConfig

measure(BenchConfig(threads=1, seconds=0.01, members=2, width=8, depth=1, batch=4, policies=[[8, 8]], starts=8,
                    rows=100, shell_steps=2, precision_steps=3, ingest_rows=3000, ingest_kinds=["npz"],
                    latents=usual_shapes()[:1]), {})
"""


@pytest.fixture
def world() -> World:
    return make_world(TINY, torch.device("cpu"))


def test_plain_ensemble_has_the_loss_and_gradients_of_ours(world: World) -> None:
    ours = world.ensemble()
    plain = PlainEnsemble(ours)
    batch = world.train[world.rows(1)[0]]
    loss, plain_loss = ours.loss(batch)[0], plain.loss(batch)
    loss.backward()
    plain_loss.backward()
    torch.testing.assert_close(plain_loss, loss, atol=1e-5, rtol=1e-5)
    stacked = [m for m in ours.net if isinstance(m, StackedLinear)]
    for m, net in enumerate(plain.nets):
        linear = [x for x in net if isinstance(x, torch.nn.Linear)]
        for own, theirs in zip(stacked, linear, strict=True):
            torch.testing.assert_close(theirs.weight.grad, own.weight.grad[m].T, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(theirs.bias.grad, own.bias.grad[m, 0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(plain.low[m].grad, ours.low.grad[m], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(plain.high[m].grad, ours.high.grad[m], atol=1e-5, rtol=1e-5)


def test_plain_ensemble_learns_as_ours_does(world: World) -> None:
    ours = world.ensemble()
    plain = PlainEnsemble(ours)
    optimizer, plain_optimizer = ours.optimizer(), plain.optimizer()
    for rows in world.rows(10):
        loss, plain_loss = ours.loss(world.train[rows])[0], plain.loss(world.train[rows])
        torch.testing.assert_close(plain_loss, loss, atol=1e-4, rtol=1e-4)
        for value, descent in ((loss, optimizer), (plain_loss, plain_optimizer)):
            descent.zero_grad()
            value.backward()
            descent.step()
    state, action = world.held_out.state, world.held_out.action
    torch.testing.assert_close(plain.predict(state, action).mean, ours.predict(state, action).mean, atol=1e-3, rtol=0)


def test_plain_sac_has_the_losses_and_gradients_of_ours(world: World) -> None:
    ours = world.learner().double()
    plain = PlainSAC(ours)
    batch = penalized_batch(world)
    critic_loss = plain.critic_loss(batch, world.generator("a"))
    critic_loss.backward()
    critic_grads = [p.grad.clone() for p in plain.critics.parameters()]
    metrics = ours.update(batch, None, world.generator("a"))
    plain_losses = plain.update(batch, world.generator("a"))
    for value, theirs in zip((metrics["critic_loss"], metrics["actor_loss"]), plain_losses, strict=True):
        torch.testing.assert_close(theirs, value, atol=1e-5, rtol=1e-5)
    for own, theirs in zip(ours.actor.parameters(), plain.actor.parameters(), strict=True):
        torch.testing.assert_close(theirs.grad, own.grad, atol=1e-5, rtol=1e-5)
    stacked = [m for m in ours.critics.net if isinstance(m, StackedLinear)]
    own_grads = [g for n in range(TINY.critics) for m in stacked for g in (m.weight.grad[n].T, m.bias.grad[n, 0])]
    for own, theirs in zip(own_grads, critic_grads, strict=True):
        torch.testing.assert_close(theirs, own, atol=1e-5, rtol=1e-5)


def test_plain_sac_learns_as_ours_does(world: World) -> None:
    ours = world.learner().double()
    plain = PlainSAC(ours)
    batch, draws, plain_draws = penalized_batch(world), world.generator("a"), world.generator("a")
    for _ in range(5):
        ours.update(batch, None, draws)
        plain.update(batch, plain_draws)
    stacked = [m for m in ours.target_critics.net if isinstance(m, StackedLinear)]
    for n, net in enumerate(plain.target_critics):
        linear = [x for x in net if isinstance(x, torch.nn.Linear)]
        for own, theirs in zip(stacked, linear, strict=True):
            torch.testing.assert_close(theirs.weight, own.weight[n].T, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(plain.log_alpha, ours.log_alpha, atol=1e-5, rtol=1e-5)


def penalized_batch(world: World) -> Transitions:
    """Some rows end, and all carry a penalty."""
    batch = LoggedReplay(world.train).batches(1, TINY.batch, world.generator("batch"))[0].map(torch.Tensor.double)
    ends = (torch.arange(TINY.batch) % 3 == 0).double()
    return Transitions(**{**vars(batch), "terminal": ends, "penalty": batch.reward.abs()})


def test_operations_are_counted() -> None:
    def one_product() -> float:
        torch.ones(2, 3) @ torch.ones(3, 5)
        return 1.0

    assert gflop_of(one_product) == 2 * 2 * 3 * 5 / 1e9


def test_reduced_precision_learns_too(world: World) -> None:
    longer = replace(world, config=replace(TINY, precision_steps=150, batch=64))
    fp32, _, bf16 = (x["held_out_mse"] for x in precisions(longer))
    (untrained,) = (x["held_out_mse"] for x in precisions(replace(world, config=replace(TINY, precision_steps=3)))[:1])
    assert fp32 < 0.8 * untrained
    assert bf16 == pytest.approx(fp32, rel=0.1)


def test_bench_measures_every_case(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    report = json.loads(json.dumps(bench.measure(TINY, {})))
    latent = {r["case"] for r in report["results"] if r["case"].endswith(("vectors", "images"))}
    kinds = ("rssm", "rssm imagination", "actor-critic")
    assert latent == {f"{kind}, {name}" for kind in kinds for name in ("vectors", "images")}
    assert all(r["gflops"] > 0 for r in report["results"] if r["case"] in latent)
    found = {(r["case"].split()[0], r["who"]) for r in report["results"] if r["case"] not in latent}
    cases = {(c, w) for c in ("ensemble", "imagination", "policy") for w in ("ours", "plain")}
    assert found == cases | {("bmm", "torch"), ("linear", "torch")}
    assert all(r["rate"] > 0 and len(r["repeats"]) == 3 for r in report["results"])
    assert [x["precision"] for x in report["reduced_precision"]] == ["fp32", "medium", "bf16"]
    assert len(report["outside_tensor_work"]) == 2
    assert report["ingest"]["transitions"] == 3000
    cases = report["ingest"]["cases"]
    assert [case["kind"] for case in cases] == ["npz", "hdf5", "parquet", "csv"]
    assert {case["transitions"] for case in cases} == {3000, 3000 - 150}  # tables drop the last step of 150 episodes
    assert all(case["steps_per_processor_second"] > 0 and case["anonymous_mib"] > 10 for case in cases)
    assert [place["from"] for place in report["reading"]] == ["disk", "memory"]
    assert all(min(place["model_batches"], place["policy_batches"]) > 0 for place in report["reading"])
    ours = next(r for r in report["results"] if r["case"] == "imagination" and r["who"] == "ours")
    assert report["simulated_time"] == [{"device": "cpu", "dt": 0.02, "seconds": pytest.approx(0.02 * ours["rate"])}]
    assert "simulated time" in capsys.readouterr().out


def test_bench_runs_with_torch_and_lightning_alone() -> None:
    ran = subprocess.run([sys.executable, "-c", BARE, NOT_ALLOWED], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "ingest" in ran.stdout


def test_latent_cases_are_the_stated_shapes() -> None:
    """Sixteen windows of 32 steps; the state is 128 numbers of memory and 16 drawn."""
    vectors, images = (LatentWorld(shapes, torch.device("cpu")) for shapes in usual_shapes())
    for world in (vectors, images):
        assert world.segments.action.shape == (16, 32, 3)
        assert world.model.state_dim == world.starts(5).shape[1] == 128 + 16
        assert world.model.config.width == 128
    assert vectors.segments.obs["state"].shape == (16, 33, 11)
    assert images.segments.obs["pixels"].shape == (16, 33, 32, 32, 3)
    assert images.segments.obs["pixels"].dtype == torch.uint8
    assert images.model.encoder.images["pixels"].net[0].out_channels == 16


def test_an_interpreter_without_mbrl_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such interpreter"):
        Rival("mbrl", str(tmp_path / "python"), TINY, "cpu")
    with pytest.raises(ValueError, match=r"^--mbrl .*No module named 'mbrl'; install mbrl"):
        Rival("mbrl", sys.executable, TINY, "cpu")
    with pytest.raises(ValueError, match=r"^--jax .*No module named 'jax'; install"):
        Rival("jax", sys.executable, TINY, "cpu")


def test_a_rival_does_its_work_in_its_own_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker counts its pieces of work, and ends with the block or by an error of one line."""
    worker = """
import json, sys
config = json.loads(sys.argv[1])
print(json.dumps([["ensemble", ""], ["ensemble", ", slower"], ["imagination", ""]]), flush=True)
for line in sys.stdin:
    case, who = json.loads(line)
    if case == "imagination":
        raise SystemExit("no more memory")
    print(config["batch"] * (2 if who == "toy" else 1), flush=True)
"""
    (tmp_path / "toy_worker.py").write_text(worker)
    monkeypatch.setattr("pipeline.bench.rival.WORKERS", tmp_path)
    monkeypatch.setitem(INSTALL, "toy", "install toy")
    with rivals({"toy": sys.executable}, TINY, "cpu") as (rival,):
        works = rival.works("ensemble")
        assert {who: work() for who, work in works.items()} == {"toy": 16.0, "toy, slower": 8.0}
        assert rival.works("policy 16x16") == {}
        with pytest.raises(ValueError, match=r"^--toy .*: no more memory; install toy$"):
            rival.works("imagination")["toy"]()
    assert rival.process.poll() is not None
