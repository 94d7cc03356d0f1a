"""The ensemble, its imagination and soft actor-critic as JAX compiles them, at our shapes, run by an interpreter that
has JAX. Imports nothing of this project.

    python jax_worker.py '{"threads": 2, "device": "cpu", ...}'

prints its cases as one line of JSON, then does one piece of a case for each line that it reads, and prints how much.
Loops run inside the compiled function (``lax.scan``). Networks of an ensemble are written one after the other, because
XLA's batched products are slower on a CPU.
"""

import json
import math
import os
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

STEPS = 50  # gradient steps in one piece of work
C = SimpleNamespace(**json.loads(sys.argv[1]))
if C.device == "cpu":
    os.environ["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen={str(C.threads > 1).lower()}"
    if hasattr(os, "sched_setaffinity"):  # XLA has no option for the number of threads
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: C.threads])

import jax  # noqa: E402  reads XLA_FLAGS when it is imported
import jax.numpy as jnp  # noqa: E402
from jax import Array, lax, random  # noqa: E402

Layers = list[tuple[Array, Array]]
Tree = Any  # nested lists of arrays
DISCOUNT, TARGET_RATE, LOG_STD_LOW, LOG_STD_HIGH = 0.99, 0.005, -5.0, 2.0


def net(key: Array, sizes: list[int]) -> Layers:
    """New linear layers of ``sizes``."""
    keys = random.split(key, len(sizes) - 1)
    pairs = zip(keys, sizes[:-1], sizes[1:], strict=True)
    return [(random.normal(k, (i, o)) / (2 * math.sqrt(i)), jnp.zeros(o)) for k, i, o in pairs]


def apply(layers: Layers, x: Array, activation: Callable[[Array], Array]) -> Array:
    """The output of the layers."""
    for weight, bias in layers[:-1]:
        x = activation(x @ weight + bias)
    return x @ layers[-1][0] + layers[-1][1]


def adam(params: Tree, gradients: Tree, state: Tree, rate: float, decay: float = 0.0) -> tuple[Tree, Tree]:
    """One step of Adam; the state is the number of steps and both moments."""
    count, first, second = state
    count = count + 1
    gradients = jax.tree.map(lambda g, p: g + decay * p, gradients, params)
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradients)
    second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradients)
    unbias, unbias_square = 1 - 0.9**count, 1 - 0.999**count

    def moved(p: Array, m: Array, v: Array) -> Array:
        return p - rate * (m / unbias) / (jnp.sqrt(v / unbias_square) + 1e-8)

    return jax.tree.map(moved, params, first, second), (count, first, second)


def new_state(params: Tree) -> Tree:
    """Adam's state before the first step."""
    zeros = jax.tree.map(jnp.zeros_like, params)
    return jnp.zeros(()), zeros, zeros


def gaussians(params: Tree, x: list[Array]) -> list[tuple[Array, Array]]:
    """Mean and log-variance of every member, for one input each."""
    members, low, high = params
    out = []
    for m, layers in enumerate(members):
        mean, raw = jnp.split(apply(layers, x[m], jax.nn.silu), 2, axis=-1)
        below = high[m] - jax.nn.softplus(high[m] - raw)
        out.append((mean, low[m] + jax.nn.softplus(below - low[m])))
    return out


def new_ensemble(key: Array) -> Tree:
    """Members, and the bounds of their log-variances."""
    sizes = [C.obs + C.action, *[C.width] * C.depth, 2 * (C.obs + 1)]
    bounds = jnp.full((C.members, C.obs + 1), -10.0), jnp.full((C.members, C.obs + 1), 0.5)
    return [net(k, sizes) for k in random.split(key, C.members)], *bounds


def ensemble_steps() -> Callable[[], int]:
    """Gradient steps of the ensemble, whose batches are drawn from logs in memory."""
    key = random.key(0)
    x = random.normal(key, (C.rows, C.obs + C.action))
    y = jnp.tanh(x @ random.normal(key, (C.obs + C.action, C.obs + 1)) / 5)

    def loss(params: Tree, rows: Array) -> Array:
        parts = gaussians(params, list(x[rows]))
        errors = [((mean - y[rows[m]]) ** 2 * jnp.exp(-lv) + lv).mean() for m, (mean, lv) in enumerate(parts)]
        return sum(errors) + 0.01 * (params[2] - params[1]).sum()

    def step(carry: Tree, rows: Array) -> tuple[Tree, None]:
        params, state = carry
        return adam(params, jax.grad(loss)(params, rows), state, 1e-3, 5e-5), None

    run = jax.jit(lambda carry, rows: lax.scan(step, carry, rows)[0])
    rows = random.randint(key, (STEPS, C.members, C.batch), 0, C.rows)
    params = new_ensemble(key)
    return repeated(run, (params, new_state(params)), rows, STEPS)


def sample(actor: Layers, state: Array, key: Array) -> tuple[Array, Array]:
    """An action squashed by tanh, and its log-density."""
    mean, raw = jnp.split(apply(actor, state, jax.nn.relu), 2, axis=-1)
    log_std = LOG_STD_LOW + 0.5 * (LOG_STD_HIGH - LOG_STD_LOW) * (jnp.tanh(raw) + 1)
    noise = random.normal(key, mean.shape)
    x = mean + jnp.exp(log_std) * noise
    density = -0.5 * noise**2 - log_std - 0.5 * math.log(2 * math.pi)
    return jnp.tanh(x), (density - 2 * (math.log(2) - x - jax.nn.softplus(-2 * x))).sum(-1)


def values(critics: list[Layers], state: Array, action: Array) -> Array:
    """Every critic's value."""
    x = jnp.concatenate([state, action], -1)
    return jnp.stack([apply(critic, x, jax.nn.relu)[:, 0] for critic in critics])


def policy_updates(hidden: list[int]) -> Callable[[], int]:
    """Updates of soft actor-critic: critics, actor, temperature and target critics."""
    keys = random.split(random.key(0), 4)
    actor = net(keys[0], [C.obs, *hidden, 2 * C.action])
    critics = [net(k, [C.obs + C.action, *hidden, 1]) for k in random.split(keys[1], C.critics)]
    shape = (STEPS, C.batch)
    batches = {
        "state": random.normal(keys[2], (*shape, C.obs)),
        "action": random.uniform(keys[2], (*shape, C.action), minval=-1.0),
        "next_state": random.normal(keys[3], (*shape, C.obs)),
        "reward": random.normal(keys[3], shape),
    }

    def critic_loss(critics: Tree, batch: Tree, target: Array) -> Array:
        return ((values(critics, batch["state"], batch["action"]) - target) ** 2).mean(1).sum()

    def actor_loss(actor: Tree, critics: Tree, log_alpha: Array, state: Array, key: Array) -> tuple[Array, Array]:
        action, density = sample(actor, state, key)
        return (jnp.exp(log_alpha) * density - values(critics, state, action).min(0)).mean(), density

    def step(carry: Tree, batch: Tree) -> tuple[Tree, None]:
        actor, critics, targets, log_alpha, (of_actor, of_critics, of_alpha), key = carry
        key, one, two = random.split(key, 3)
        next_action, _ = sample(actor, batch["next_state"], one)
        target = batch["reward"] + DISCOUNT * values(targets, batch["next_state"], next_action).min(0)
        slope = jax.grad(critic_loss)(critics, batch, jnp.clip(target, -1e3, 1e3))
        critics, of_critics = adam(critics, slope, of_critics, 3e-4)
        slope, density = jax.grad(actor_loss, has_aux=True)(actor, critics, log_alpha, batch["state"], two)
        actor, of_actor = adam(actor, slope, of_actor, 3e-4)
        slope = -jnp.exp(log_alpha) * (density - C.action).mean()
        log_alpha, of_alpha = adam(log_alpha, slope, of_alpha, 1e-4)
        targets = jax.tree.map(lambda t, c: t + TARGET_RATE * (c - t), targets, critics)
        return (actor, critics, targets, log_alpha, (of_actor, of_critics, of_alpha), key), None

    run = jax.jit(lambda carry, batches: lax.scan(step, carry, batches)[0])
    states = new_state(actor), new_state(critics), new_state(jnp.zeros(()))
    return repeated(run, (actor, critics, critics, jnp.zeros(()), states, random.key(1)), batches, STEPS)


def imagined_transitions() -> Callable[[], int]:
    """Rollouts: the policy acts, all members predict, one is sampled for each row, and the step is penalized and
    stored."""
    key = random.key(0)
    params = new_ensemble(key)
    actor = net(key, [C.obs, *C.policies[0], 2 * C.action])
    rows = jnp.arange(C.starts)

    def step(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Tree]:
        obs, key = carry
        key, *draws = random.split(key, 4)
        action, _density = sample(actor, obs, draws[0])
        parts = gaussians(params, [jnp.concatenate([obs, action], -1)] * C.members)
        mean, log_variance = (jnp.stack(x) for x in zip(*parts, strict=True))
        penalty = jnp.sqrt((jnp.exp(log_variance).mean(0) + mean.var(0)).mean(-1))
        member = random.randint(draws[1], (C.starts,), 0, C.members)
        noise = random.normal(draws[2], mean.shape[1:])
        change = mean[member, rows] + jnp.exp(0.5 * log_variance[member, rows]) * noise
        following = jnp.clip(obs + change[:, :-1], -10, 10)
        return (following, key), (obs, action, change[:, -1], following, penalty)

    run = jax.jit(lambda carry: lax.scan(step, carry, None, C.horizon))
    carry = random.normal(key, (C.starts, C.obs)), key

    def work() -> int:
        jax.block_until_ready(run(carry))
        return C.starts * C.horizon

    return work


def repeated(run: Callable[[Tree, Tree], Tree], carry: Tree, data: Tree, count: int) -> Callable[[], int]:
    """Work that starts from the same state each time: on a CPU, XLA slows down once moments become subnormal."""

    def work() -> int:
        jax.block_until_ready(run(carry, data))
        return count

    return work


def main() -> None:
    """Answer until the input ends."""
    cases = {"ensemble": ensemble_steps(), "imagination": imagined_transitions()}
    cases |= {f"policy {'x'.join(map(str, hidden))}": policy_updates(hidden) for hidden in C.policies}
    print(json.dumps([(case, "") for case in cases]), flush=True)
    for line in sys.stdin:
        print(cases[json.loads(line)[0]](), flush=True)


if __name__ == "__main__":
    main()
