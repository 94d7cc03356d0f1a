"""A GRU and the posterior of its latent along a window, with the gradient written by hand.

Filtering is a loop of small products. Autograd runs some seventy kernels for each step, among them a gradient of every
weight. Here a step takes less than half as many, and a weight gets its gradient from one product for the whole window.

H hidden units · C carry · P units of the posterior's hidden layer · R its outputs. Windows are time-major: "T B ...".
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn.functional import silu

from pipeline.world_models.latents import Latent


class Weights(NamedTuple):
    """What a step multiplies with."""

    latent: Tensor  # "H D", of the layer before the cell
    input_gates: Tensor  # "3C H": reset gate, update gate, candidate
    input_bias: Tensor  # "3C"
    carry_gates: Tensor  # "3C C"
    carry_bias: Tensor  # "3C"
    features: Tensor  # "P C", of the posterior's first layer
    params: Tensor  # "R P", of its last layer
    params_bias: Tensor  # "R"


class Steps(NamedTuple):
    """What the gradient needs of the steps of a window."""

    entered: Tensor  # "T B H": input of the cell before its activation
    gates: Tensor  # "T B 3C": reset gate, update gate, candidate
    memory: Tensor  # "T B 3C": the carry's part of the gates; the reset gate multiplies the last third
    carry: Tensor  # "T B C"
    hidden: Tensor  # "T B P" before its activation
    params: Tensor  # "T B R"
    sample: Tensor  # "T B D"


class Gradients(NamedTuple):
    """Of the loss, with respect to what a step computes before its activations."""

    entered: Tensor  # "T B H"
    gates: Tensor  # "T B 5C": candidate, reset gate, update gate, memory of the candidate, carry before the step
    hidden: Tensor  # "T B P"
    params: Tensor  # "T B R"


class _Context(FunctionCtx):
    latent: Latent
    noise: Tensor | None
    saved_tensors: tuple[Tensor, ...]


class GRUWindow(torch.autograd.Function):
    """Carries "T B C", samples "T B D" and parameters "T B R" of the posterior along a window.

    ``action_part`` "T B H" and ``embedding_part`` "T B P" are the products of the first layers with what does not
    depend on the recurrence. Carry and sample start at zero. ``noise`` is "T B D", or None for modes.
    """

    @staticmethod
    def forward(
        ctx: _Context,
        latent: Latent,
        noise: Tensor | None,
        action_part: Tensor,
        embedding_part: Tensor,
        *weights: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run the window; ``weights`` are the fields of :class:`Weights`."""
        steps = _run(latent, noise, action_part, embedding_part, Weights(*weights))
        ctx.latent, ctx.noise = latent, noise
        ctx.save_for_backward(*steps, *weights)
        return steps.carry, steps.sample, steps.params

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of everything but ``latent`` and ``noise``."""
        saved = ctx.saved_tensors
        steps, weights = Steps(*saved[: len(Steps._fields)]), Weights(*saved[len(Steps._fields) :])
        back = _run_back(ctx.latent, ctx.noise, steps, weights, outputs)
        return None, None, back.entered, back.hidden, *_of_weights(steps, back)


def _run(latent: Latent, noise: Tensor | None, action_part: Tensor, embedding_part: Tensor, w: Weights) -> Steps:
    length, batch, _ = action_part.shape
    params, width = len(w.params), w.features.shape[1]
    sizes = (action_part.shape[-1], 3 * width, 3 * width, width, embedding_part.shape[-1], params, latent.dim)
    steps = Steps(*(action_part.new_empty(length, batch, size) for size in sizes))
    # All views are made here: within the loop each would cost as much as a kernel.
    both = 2 * width  # reset and update gate
    gates, recalled = steps.gates.split(width, dim=2), steps.memory.split([both, width], dim=2)
    inputs = (action_part, embedding_part, steps.gates[..., :both], *gates, *recalled)
    noises = [None] * length if noise is None else noise.unbind()
    views = zip(noises, *(x.unbind() for x in (*inputs, *steps)), strict=True)
    from_latent, from_input, from_carry, from_features, last = (
        x.T for x in (w.latent, w.input_gates, w.carry_gates, w.features, w.params)
    )
    carry, sample = torch.zeros_like(steps.carry[0]), torch.zeros_like(steps.sample[0])
    for noise_t, action_t, embedding_t, reset_update, reset, update, candidate, memory, recall, *outputs in views:
        step = Steps(*outputs)
        torch.addmm(action_t, sample, from_latent, out=step.entered)
        torch.addmm(w.input_bias, silu(step.entered), from_input, out=step.gates)
        torch.addmm(w.carry_bias, carry, from_carry, out=step.memory)
        reset_update.add_(memory).sigmoid_()
        candidate.addcmul_(reset, recall).tanh_()
        carry = torch.lerp(candidate, carry, update, out=step.carry)
        torch.addmm(embedding_t, carry, from_features, out=step.hidden)
        torch.addmm(w.params_bias, silu(step.hidden), last, out=step.params)
        sample = step.sample.copy_(latent.sample(step.params, noise_t))
    return steps


def _run_back(latent: Latent, noise: Tensor | None, steps: Steps, w: Weights, outputs: tuple[Tensor, ...]) -> Gradients:
    width = steps.carry.shape[-1]
    # Derivatives of the activations for all steps at once: the loop only multiplies with them.
    slopes = (_silu_slope(steps.entered), _gate_slopes(steps), _silu_slope(steps.hidden))
    draws = latent.slope(steps.params, noise)
    back = Gradients(*(torch.empty_like(x) for x in (slopes[0], slopes[1].flatten(2), slopes[2], steps.params)))
    of_gates = back.gates
    parts = (of_gates[..., : 3 * width], of_gates[..., width : 4 * width], of_gates[..., 4 * width :])
    inputs = (*outputs, *slopes, draws, of_gates.unflatten(2, (5, width)), *parts, *back)
    from_input = w.input_gates.roll(width, 0)  # in the order of the gradients
    entered, recalled, kept = (torch.zeros_like(x[0]) for x in (back.entered, *parts[1:]))  # of the step after
    for carry_t, sample_t, params_t, enter, gate, hide, draw, gates, of_input, of_memory, of_carry, *results in zip(
        *(reversed(x.unbind()) for x in inputs), strict=True
    ):
        step = Gradients(*results)
        sample = torch.addmm(sample_t, entered, w.latent)
        torch.add(params_t, latent.pull_back(draw, sample), out=step.params)
        torch.mm(step.params, w.params, out=step.hidden).mul_(hide)
        carry = (carry_t + kept).addmm_(recalled, w.carry_gates).addmm_(step.hidden, w.features)
        torch.mul(carry.unsqueeze(1), gate, out=gates)
        entered = torch.mm(of_input, from_input, out=step.entered).mul_(enter)
        recalled, kept = of_memory, of_carry
    return back


def _gate_slopes(steps: Steps) -> Tensor:
    """Derivatives "T B 5 C" of the carry, in the order of :class:`Gradients`."""
    reset, update, candidate = steps.gates.chunk(3, dim=-1)
    memory = steps.memory.chunk(3, dim=-1)[2]
    of_candidate = (1 - update) * (1 - candidate.square())
    of_memory = of_candidate * reset
    of_reset = of_memory * (1 - reset) * memory
    of_update = (_before(steps.carry) - candidate) * update * (1 - update)
    return torch.stack([of_candidate, of_reset, of_update, of_memory, update], dim=2)


def _silu_slope(x: Tensor) -> Tensor:
    sigmoid = torch.sigmoid(x)
    return sigmoid * (1 + x * (1 - sigmoid))


def _before(x: Tensor) -> Tensor:
    """What each step "T B ..." starts from."""
    return torch.cat([torch.zeros_like(x[:1]), x[:-1]])


def _of_weights(steps: Steps, back: Gradients) -> Weights:
    """Gradients of the weights, each from one product for the window."""
    width = steps.carry.shape[-1]
    entered, gates, hidden, params = (x.flatten(0, 1).T for x in back)
    of_input, of_memory = gates[: 3 * width], gates[width : 4 * width]
    return Weights(
        latent=entered @ _before(steps.sample).flatten(0, 1),
        input_gates=(of_input @ silu(steps.entered).flatten(0, 1)).roll(-width, 0),
        input_bias=of_input.sum(1).roll(-width),
        carry_gates=of_memory @ _before(steps.carry).flatten(0, 1),
        carry_bias=of_memory.sum(1),
        features=hidden @ steps.carry.flatten(0, 1),
        params=params @ silu(steps.hidden).flatten(0, 1),
        params_bias=params.sum(1),
    )
