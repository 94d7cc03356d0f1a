"""Options of both trainings, apart from the Lightning modules: params.yaml is checked without Lightning, whose import
takes seconds."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic.dataclasses import dataclass

from pipeline.data.dataset import IN_MEMORY, DatasetSpec
from pipeline.envs.action_space import DISCRETE
from pipeline.validation import OPTIONS, FilePath, Flag, NonNegativeFloat, OneOf, PositiveFloat, PositiveInt, Processes

if TYPE_CHECKING:
    from pipeline.policies.protocols import PolicyLearner

# What Lightning accepts and the modules can use. Other strategies shard parameters, which stages store as a whole; in
# 64-true, 16-true and bf16-true the logs and the weights would differ in type.
ACCELERATORS = ("cpu", "gpu", "cuda", "mps", "tpu", "auto")
STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_true", "single_device")
PRECISIONS = ("32-true", "bf16-mixed", "32", "bf16")


@dataclass(frozen=True, config=OPTIONS)
class TrainerConfig:
    """The block ``trainer`` of params.yaml."""

    accelerator: Annotated[str, OneOf(ACCELERATORS)] = "cpu"  # device; auto: the fastest that is there
    devices: Processes = 1  # processes on each node
    num_nodes: Processes = 1  # machines; for more than one start the stage with torchrun or srun
    # Lightning's strategy; auto: ddp where there are several processes
    strategy: Annotated[str, OneOf(STRATEGIES)] = "auto"
    precision: Annotated[str, OneOf(PRECISIONS)] = "32-true"  # Lightning's precision; mixed: products in bfloat16
    # torch.set_float32_matmul_precision; auto: medium (bfloat16 products) where this machine computes them faster
    matmul_precision: Literal["highest", "high", "medium", "auto"] = "highest"
    # GiB of logged steps that are held in memory as tensors; those of larger logs are read from disk as they are needed
    logs_in_memory: PositiveFloat = IN_MEMORY
    threads: Processes = 1  # torch threads of a process; 2 help from widths of about 200. Results depend on it


@dataclass(frozen=True, config=OPTIONS)
class FitConfig:
    """The block ``fit`` of params.yaml."""

    batch_size: PositiveInt = 256  # logged steps in one gradient step of each member, over all processes together
    window: PositiveInt = 32  # steps of a window, for `rssm` alone: its batch is batch_size / window windows
    max_epochs: PositiveInt = 25  # passes over the training data at most
    patience: PositiveInt = 5  # epochs without `improvement` of any member's held-out error, before training stops
    improvement: NonNegativeFloat = 0.01  # relative decrease of the held-out error that counts
    # true: the learning rate decays to zero along a cosine; null: as the world model prefers
    learning_rate_decay: Flag | None = None
    held_out_rows: PositiveInt = 20_000  # held-out transitions at most, for the held-out error
    # a world model to continue from, or a folder of seed-K, below data/start/world_model; null: from scratch
    start_from: FilePath | None = None

    @property
    def windows(self) -> int:
        """Windows in one gradient step."""
        return max(1, self.batch_size // self.window)


def single(config: TrainerConfig) -> TrainerConfig:
    """The same trainer on one device: policies are small and train faster on one device than on several."""
    return replace(config, devices=1, num_nodes=1, strategy="auto")


def check_baseline(name: str, learner: "type[PolicyLearner]", config: object, spec: DatasetSpec) -> None:
    """Raises ValueError for logs that the baseline cannot learn from: images, unless its options ``config`` say how to
    see them, and discrete actions."""
    place = f"params.yaml: `baselines`: `{name}`"
    if spec.image_keys and "image_depth" not in vars(config):
        raise ValueError(
            f"{place} cannot see the images of these logs: take it out of the list; `bc` and `weighted_bc` can"
        )
    if spec.action_kind == DISCRETE and not learner.discrete:
        raise ValueError(f"{place} needs continuous actions, and these are discrete: take it out of the list")


def check_shares(config: TrainerConfig, batch_size: int, window: int = 1) -> None:
    """Check that a global batch of ``batch_size`` steps, in windows of ``window`` steps, divides evenly.

    Raises ValueError unless every process gets the same number of windows: DDP averages gradients over processes, so
    the rows of a smaller share would get more weight.
    """
    processes = config.devices * config.num_nodes
    windows = max(batch_size // window, 1)
    if windows % processes:
        nearest = max(round(windows / processes), 1) * processes * window
        setting = f"`fit.batch_size: {batch_size}`" + (f" of {windows} windows" if window > 1 else "")
        count = f"{processes} processes (trainer.devices {config.devices} x trainer.num_nodes {config.num_nodes})"
        raise ValueError(f"params.yaml: {setting} does not divide evenly among {count}; set it to {nearest}")
