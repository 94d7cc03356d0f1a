"""The ensemble, training loop and rollouts of mbrl-lib 0.2.0 (https://github.com/facebookresearch/mbrl-lib) at our
shapes, run by an interpreter that has it. Imports nothing of this project.

    python mbrl_worker.py '{"threads": 2, "device": "cpu", ...}'

prints its cases as one line of JSON, then does one piece of a case for each line that it reads, and prints how much.
"""

import json
import sys
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import torch
from mbrl.models import GaussianMLP, ModelEnv, ModelTrainer, OneDTransitionRewardModel
from mbrl.types import TransitionBatch
from mbrl.util.replay_buffer import BootstrapIterator

EPOCH = 50  # gradient steps in one piece of work
Run = Callable[[], int]  # does some work and returns how much


def main(c: SimpleNamespace) -> None:
    """Answer until the input ends."""
    torch.set_num_threads(c.threads)
    torch.manual_seed(0)
    mlp = GaussianMLP(
        c.obs + c.action,
        c.obs + 1,
        c.device,
        num_layers=c.depth,
        ensemble_size=c.members,
        hid_size=c.width,
        propagation_method="random_model",
        learn_logvar_bounds=True,
        activation_fn_cfg={"_target_": "torch.nn.SiLU"},
    )
    model = OneDTransitionRewardModel(mlp, target_is_delta=True, normalize=True, learned_rewards=True)
    starts = c.starts // c.members * c.members  # mbrl requires a multiple of the number of members
    cases: dict[tuple[str, str], Run] = {
        ("ensemble", "mbrl"): _train(c, model),
        ("imagination", "mbrl, one member a row, no penalty"): _rollout(c, model, starts),
        ("imagination", "mbrl"): _rollout_all(c, model, mlp, starts),
    }
    print(json.dumps([(case, who.removeprefix("mbrl")) for case, who in cases]), flush=True)
    for line in sys.stdin:
        case, who = json.loads(line)
        done = cases[case, who]()
        if c.device == "cuda":
            torch.cuda.synchronize()
        print(done, flush=True)


def _train(c: SimpleNamespace, model: OneDTransitionRewardModel) -> Run:
    """mbrl's trainer and bootstrap iterator, without evaluation."""
    rng = np.random.default_rng(0)
    rows = EPOCH * c.batch
    obs = rng.normal(size=(rows, c.obs)).astype(np.float32)
    action = rng.uniform(-1, 1, (rows, c.action)).astype(np.float32)
    change = 0.1 * np.tanh(obs + action.mean(1, keepdims=True))
    ends = np.zeros(rows, bool)
    batch = TransitionBatch(obs, action, obs + change, change[:, 0].copy(), ends, ends)
    model.update_normalizer(batch)
    data = BootstrapIterator(batch, c.batch, c.members, shuffle_each_epoch=True, permute_indices=False, rng=rng)
    trainer = ModelTrainer(model, optim_lr=1e-3, weight_decay=5e-5)

    def run() -> int:
        trainer.train(data, num_epochs=1, evaluate=False, silent=True)
        return EPOCH

    return run


def _rollout(c: SimpleNamespace, model: OneDTransitionRewardModel, starts: int) -> Run:
    """mbrl's ModelEnv with random actions; tensors stay on the device."""

    def never_ends(action: torch.Tensor, obs: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(obs), 1, dtype=torch.bool, device=obs.device)

    spaces = SimpleNamespace(observation_space=None, action_space=None)
    env = ModelEnv(spaces, model, never_ends, generator=torch.Generator(c.device).manual_seed(0))
    obs = np.random.default_rng(0).normal(size=(starts, c.obs)).astype(np.float32)

    def run() -> int:
        state = env.reset(obs, return_as_np=False)
        for _ in range(c.horizon):
            action = torch.rand(starts, c.action, device=c.device) * 2 - 1
            _, _, _, state = env.step(action, state, sample=True)
        return starts * c.horizon

    return run


def _rollout_all(c: SimpleNamespace, model: OneDTransitionRewardModel, mlp: GaussianMLP, starts: int) -> Run:
    """Rollouts in which all members predict, one is sampled, and the ensemble standard deviation is computed as a
    penalty, as a user of mbrl would write it. Actions are random."""
    first = torch.randn(starts, c.obs, device=c.device)

    @torch.no_grad()
    def run() -> int:
        obs = first
        rows = torch.arange(starts, device=c.device)
        for _ in range(c.horizon):
            action = torch.rand(starts, c.action, device=c.device) * 2 - 1
            x = model.input_normalizer.normalize(torch.cat([obs, action], 1)).float()
            mean, log_variance = mlp(x, use_propagation=False)
            (log_variance.exp().mean(0) + mean.var(0, correction=0)).mean(-1).sqrt()
            member = torch.randint(c.members, (starts,), device=c.device)
            sample = mean[member, rows] + (0.5 * log_variance[member, rows]).exp() * torch.randn_like(mean[0])
            obs = (obs + sample[:, :-1]).clamp(-10, 10)
        return starts * c.horizon

    return run


if __name__ == "__main__":
    main(SimpleNamespace(**json.loads(sys.argv[1])))
