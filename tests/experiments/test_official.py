"""Our training step against a PyTorch loop that does what the authors' loop does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments import models
from experiments.data import Dataset, Examples
from experiments.program import make_program

torch = pytest.importorskip("torch")

K, RHO, RATE, STEPS = 2, 0.05, 0.05, 10


class Net(nnx.Module):
    """A convolution with a bias, ReLU, mean, linear classifier, in float64."""

    def __init__(self, num_classes, channels, *, dtype, rngs):
        del dtype
        double = {"dtype": jnp.float64, "param_dtype": jnp.float64, "rngs": rngs}
        self.conv = nnx.Conv(channels, 6, (3, 3), padding=1, **double)
        self.classifier = nnx.Linear(6, num_classes, **double)

    def __call__(self, x):
        return self.classifier(nnx.relu(self.conv(x)).mean((1, 2)))


@pytest.fixture
def config(config, monkeypatch, float64):
    monkeypatch.setitem(models.MODELS, "net", Net)
    config.update(
        model="net",
        method="lookbehind_sam",
        k=K,
        alpha="adaptive_per_tensor",
        rho=RHO,
        learning_rate=RATE,
        schedule="step",
        momentum=0.9,
        weight_decay=5e-4,
        epochs=8,
        batch_size=8,
        augment=False,
    )
    return config


@pytest.fixture
def dataset():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 4, (32, 6, 6, 2), dtype=np.uint8)
    examples = Examples(images, rng.integers(0, 3, 32, dtype=np.int32))
    return Dataset(examples, examples, 3, mean=np.float32([1, 2]), std=np.float32([1, 1]))


def torch_net(params):
    """The same network with the same weights."""
    net = torch.nn.Sequential(
        torch.nn.Conv2d(2, 6, 3, padding=1), torch.nn.ReLU(), torch.nn.Linear(6, 3)
    ).double()
    with torch.no_grad():
        for ours, theirs in zip(as_torch(params), net.parameters(), strict=True):
            theirs.copy_(ours)
    return net


def as_torch(params):
    """Our weights in PyTorch's order and layout."""
    conv, classifier = params["conv"], params["classifier"]
    arrays = (
        conv["kernel"][...].transpose(3, 2, 0, 1),
        conv["bias"][...],
        classifier["kernel"][...].T,
        classifier["bias"][...],
    )
    return [torch.tensor(np.array(x)) for x in arrays]


def official_loop(net, batches):
    """Each step k times up and down, then alpha per tensor: 2k gradients."""
    params = list(net.parameters())
    optimizer = torch.optim.SGD(params, lr=RATE, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [8, 16, 24], gamma=0.1)

    def gradients(images, labels):
        features = net[1](net[0](images)).mean((2, 3))
        loss = torch.nn.functional.cross_entropy(net[2](features), labels)
        return torch.autograd.grad(loss, params)

    def put(values):
        with torch.no_grad():
            for param, value in zip(params, values, strict=True):
                param.copy_(value)

    for images, labels in batches:
        slow = [p.detach().clone() for p in params]
        behind, fast, first = slow, slow, None
        for _ in range(K):
            put(behind)
            grads = gradients(images, labels)
            length = torch.cat([g.flatten() for g in grads]).norm()
            behind = [w + RHO * g / length for w, g in zip(behind, grads, strict=True)]
            put(behind)
            grads = gradients(images, labels)
            put(fast)
            for param, grad in zip(params, grads, strict=True):
                param.grad = grad
            optimizer.step()
            fast = [p.detach().clone() for p in params]
            first = first or fast
        put(
            [
                w
                + (torch.cosine_similarity((a - w).flatten(), (b - w).flatten(), 0) + 1)
                / 2
                * (b - w)
                for w, a, b in zip(slow, first, fast, strict=True)
            ]
        )
        schedule.step()
    return [p.detach().numpy() for p in params]


def test_steps_are_those_of_the_official_loop(config, dataset):
    program = make_program(config, dataset)
    state = program.init(jax.random.key(0))
    net = torch_net(state.params)
    rows = jnp.concatenate([program.order(jax.random.key(1), epoch) for epoch in range(3)])[:STEPS]

    step = jax.jit(program.step)
    for batch in rows:
        state, _ = step(state, dataset.train, batch)

    images = (dataset.train.images.astype(float) - dataset.mean).transpose(0, 3, 1, 2)
    images, labels = torch.tensor(images), torch.tensor(dataset.train.labels.astype(int))
    batches = [(images[np.array(batch)], labels[np.array(batch)]) for batch in rows]
    expected = official_loop(net, batches)
    for ours, theirs in zip(as_torch(state.params), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-10)
