"""Three steps of C-MAML against a loop in PyTorch, where that is installed."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.tasks.continual.meta import MetaLearner, divide, meta_loss
from tests.experiments.tasks.continual.problems import loss, mlp, points

torch = pytest.importorskip("torch")

RATE, STEPS, K, SIZES = 0.3, 3, 5, (4, 5, 3)


def torch_loss(params, x, y):
    for w, b in zip(params[:-2:2], params[1:-2:2], strict=True):
        x = torch.tanh(x @ w + b)
    return torch.nn.functional.cross_entropy(x @ params[-2] + params[-1], y)


def torch_cmaml():
    """La-MAML's loop: clamped inner steps, mean of the meta losses, clipped norm, SGD."""
    params = [
        torch.tensor(np.array(layer[name]), requires_grad=True)
        for layer in mlp(sizes=SIZES)
        for name in "wb"
    ]
    optimizer = torch.optim.SGD(params, lr=RATE)
    for step in range(STEPS):
        current, meta_batch = (
            [torch.tensor(np.array(value)) for value in batch] for batch in batches(step)
        )
        fast, losses = params, []
        for rows in torch.arange(10).split(10 // K):
            inner = torch_loss(fast, current[0][rows], current[1][rows])
            grads = torch.autograd.grad(inner, fast, create_graph=True)
            fast = [w - RATE * g.clamp(-0.2, 0.2) for w, g in zip(fast, grads, strict=True)]
            losses.append(torch_loss(fast, *meta_batch))
        optimizer.zero_grad()
        (sum(losses) / K).backward()
        # torch.nn.utils.clip_grad_norm_ without the 1e-6 that it adds to the norm.
        norm = torch.sqrt(sum((w.grad**2).sum() for w in params))
        for w in params:
            w.grad *= 0.3 / norm
        optimizer.step()
    return [w.detach().numpy() for w in params]


def batches(step):
    return points(10 + step, 10), points(20 + step, 20)


def test_three_steps_of_cmaml_equal_pytorch(float64):
    learner = MetaLearner(RATE, k=K, clip=0.2)
    tx = optax.chain(optax.clip_by_global_norm(0.3), optax.sgd(RATE))
    params = mlp(sizes=SIZES)
    state = tx.init(params)
    gradient = jax.jit(jax.grad(meta_loss, argnums=2, has_aux=True), static_argnums=(0, 1))
    for step in range(STEPS):
        current, meta_batch = batches(step)
        grads, _ = gradient(learner, loss, params, divide(current, K), meta_batch)
        assert optax.tree.norm(grads) > 0.3  # the clipping is at work
        updates, state = tx.update(grads, state, params)
        params = optax.apply_updates(params, updates)
    for ours, theirs in zip(
        (jnp.asarray(layer[name]) for layer in params for name in "wb"),
        torch_cmaml(),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9)
