"""The sizes of the benchmark, and a synthetic nonlinear world with the shapes of MuJoCo's HalfCheetah."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from pipeline.bench.latent import LatentShapes, large_shapes, usual_shapes
from pipeline.encoders.statistics import DataSpec, Statistics
from pipeline.policies.learner_spec import LearnerSpec
from pipeline.policies.sac import SAC, SACConfig
from pipeline.seeding import generator, seed_of
from pipeline.types import Transitions
from pipeline.world_models.gaussian_ensemble import EnsembleConfig, GaussianEnsemble

NOISE = 0.02


@dataclass(frozen=True)
class BenchConfig:
    """Sizes and time. The defaults take about three minutes a device."""

    threads: int = 2
    seconds: float = 5.0  # of each case and rival
    obs: int = 17
    action: int = 6
    members: int = 7
    width: int = 200
    depth: int = 4
    batch: int = 256
    policies: list[list[int]] = field(default_factory=lambda: [[256, 256], [128, 128]])  # hidden layers of each
    critics: int = 2
    horizon: int = 5
    starts: int = 5000  # imagined rollouts at once
    dt: float = 0.02  # seconds of simulated time in one step
    rows: int = 50_000  # training transitions of the made-up world; a tenth more is held out
    latents: list[LatentShapes] = field(default_factory=usual_shapes)
    large_latents: list[LatentShapes] = field(default_factory=large_shapes)  # where there is a GPU
    shell_steps: int = 200  # gradient steps, with and without the Lightning module
    precision_steps: int = 900  # gradient steps of each precision before the held-out error is taken
    ingest_rows: int = 1_000_000  # of each log
    ingest_kinds: list[str] = field(default_factory=lambda: ["npz", "hdf5", "parquet", "csv"])
    ingest_episodes: list[int] = field(default_factory=lambda: [20, 1000])  # steps of an episode, a log for each

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise ValueError(f"--threads {self.threads} must be at least 1")


@dataclass(frozen=True)
class World:
    """Builds ensembles and learners; holds the transitions they learn from, on one device."""

    config: BenchConfig
    data_spec: DataSpec
    train: Transitions
    held_out: Transitions
    device: torch.device

    def ensemble(self) -> GaussianEnsemble:
        """A new ensemble with the same initial weights at every call."""
        torch.manual_seed(seed_of(0, "bench", "ensemble"))
        c = self.config
        config = EnsembleConfig(members=c.members, elites=min(5, c.members), width=c.width, depth=c.depth)
        return GaussianEnsemble(config, self.data_spec).to(self.device)

    def learner(self, updates: int = 1_000_000, hidden: list[int] | None = None) -> SAC:
        """A new learner with the same initial weights at every call, by default with the first of ``policies``."""
        torch.manual_seed(seed_of(0, "bench", "learner"))
        c = self.config
        config = SACConfig(updates=updates, batch_size=c.batch, hidden=hidden or c.policies[0], critics=c.critics)
        task = LearnerSpec.of(c.obs, c.action, self.data_spec.statistics, penalty_weight=1.0)
        return SAC(config, task).to(self.device)

    def generator(self, *place: str) -> torch.Generator:
        """A generator on the device, seeded by ``place``."""
        return generator(0, "bench", *place, device=self.device)

    def rows(self, steps: int) -> Tensor:
        """Rows of ``steps`` batches for every member, "steps M B"."""
        shape = (steps, self.config.members, self.config.batch)
        return torch.randint(len(self.train), shape, generator=self.generator("rows"), device=self.device)


def make_world(config: BenchConfig, device: torch.device) -> World:
    """Transitions of a random two-layer network with a little noise and without terminals."""
    count = config.rows + config.rows // 10
    draws = generator(0, "bench", "world")
    obs = torch.randn(count, config.obs, generator=draws)
    action = torch.rand(count, config.action, generator=draws) * 2 - 1
    first = torch.randn(config.obs + config.action, 32, generator=draws) / (config.obs + config.action) ** 0.5
    second = torch.randn(32, config.obs + 1, generator=draws) / 32**0.5
    change = torch.tanh(2 * torch.cat([obs, action], 1) @ first) @ second
    change = change + NOISE * torch.randn(change.shape, generator=draws)
    next_obs = obs + 0.3 * change[:, :-1]
    reward = change[:, -1]
    terminal = torch.zeros(count)
    spec = DataSpec(Statistics.of(obs, next_obs, reward, terminal), {"state": [config.obs]}, config.action, count)
    mean, std = torch.tensor(spec.statistics.obs_mean), torch.tensor(spec.statistics.obs_std)
    transitions = Transitions.from_log((obs - mean) / std, action, reward, (next_obs - mean) / std, terminal).to(device)
    return World(config, spec, transitions[: config.rows], transitions[config.rows :], device)
