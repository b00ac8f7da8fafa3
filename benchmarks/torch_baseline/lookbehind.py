"""Lookbehind-SAM in PyTorch, following the authors' implementation: 2k gradients a step."""

from collections.abc import Callable, Sequence

import torch

Tensors = Sequence[torch.Tensor]


@torch.no_grad()
def lookbehind_step(
    params: Tensors,
    gradient: Callable[[], Tensors],
    optimizer: torch.optim.Optimizer,
    k: int,
    rho: float,
) -> None:
    """One training step with adaptive alpha per tensor; the weights are changed in place.

    Args:
      params: the model's weights.
      gradient: returns the gradient at the current weights, and stores it in their ``.grad``.
      optimizer: optimizer of the fast weights; its state is carried from step to step.
      k: number of inner steps.
      rho: length of an ascent step.
    """
    slow, fast, ascent = (_copy(params) for _ in range(3))
    for i in range(k):
        torch._foreach_copy_(params, ascent)
        grads = gradient()
        torch._foreach_add_(ascent, torch._foreach_mul(grads, rho / _norm(grads)))
        torch._foreach_copy_(params, ascent)
        gradient()
        torch._foreach_copy_(params, fast)
        optimizer.step()
        torch._foreach_copy_(fast, params)
        if i == 0:
            first = torch._foreach_sub(fast, slow)
    moved = torch._foreach_sub(fast, slow)
    alphas = [_alpha(a, b) for a, b in zip(first, moved, strict=True)]
    torch._foreach_copy_(params, torch._foreach_add(slow, torch._foreach_mul(moved, alphas)))


def _copy(tensors: Tensors) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in tensors]


def _norm(tensors: Tensors) -> torch.Tensor:
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(tensors)))


def _alpha(first: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
    cosine = torch.nn.functional.cosine_similarity(first.flatten(), moved.flatten(), dim=0)
    return (cosine + 1) / 2
