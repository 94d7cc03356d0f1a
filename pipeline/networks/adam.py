"""Adam for small networks, where torch's bookkeeping takes as long as its arithmetic."""

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor


class LeanAdam(torch.optim.Adam):
    """torch's fused Adam (Kingma & Ba 2015, arXiv:1412.6980) with the same numbers and the same ``state_dict``, but
    without grouping parameters by device and dtype at each step: those of a group must share both.

    ``params`` are parameters, or groups as torch's optimizers take them.
    """

    def __init__(
        self, params: Iterable[Tensor] | Iterable[dict[str, Any]], lr: float, eps: float = 1e-8, weight_decay: float = 0
    ) -> None:
        super().__init__(params, lr=lr, eps=eps, weight_decay=weight_decay, fused=True)

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step for the parameters that have a gradient. With a ``closure``, the step of ``torch.optim.Adam``."""
        if closure is not None:
            return super().step(closure)
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if not params:
                continue
            states = [self.state[p] or self._new_state(p) for p in params]
            steps = [state["step"] for state in states]
            torch._foreach_add_(steps, 1)
            torch._fused_adam_(
                params,
                [p.grad for p in params],
                [state["exp_avg"] for state in states],
                [state["exp_avg_sq"] for state in states],
                [],
                steps,
                amsgrad=False,
                lr=group["lr"],
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                maximize=False,
            )
        return None

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients; they are not set to zero, whatever ``set_to_none`` is."""
        for group in self.param_groups:
            for param in group["params"]:
                param.grad = None

    def _new_state(self, param: Tensor) -> dict[str, Tensor]:
        """What ``torch.optim.Adam`` keeps for a parameter."""
        self.state[param] = state = {
            "step": torch.zeros((), dtype=torch.float32, device=param.device),
            "exp_avg": torch.zeros_like(param, memory_format=torch.preserve_format),
            "exp_avg_sq": torch.zeros_like(param, memory_format=torch.preserve_format),
        }
        return state
