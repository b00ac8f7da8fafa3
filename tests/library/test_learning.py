"""Training on digits with wrong labels: sharpness-aware methods end ahead of SGD."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.datasets import load_digits

from optax_lookbehind import ae_sam, lookbehind_sam, value_and_grad

pytestmark = pytest.mark.slow  # nine trainings

STEPS, BATCH, SEEDS = 1200, 64, 3
K, ALPHA = 2, 0.5
METHODS = {
    "SGD": None,
    "Lookbehind": lookbehind_sam(k=K, rho=0.3, alpha=ALPHA),  # k * alpha = 1: SGD's step length
    "AE-SAM": ae_sam(rho=0.6, total_steps=STEPS),
}


def noisy_digits():
    """800 digits for training, 40% of them with a random label; the other 997 for the test."""
    images, labels = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(labels))
    images, labels = images[order].astype(np.float32) / 16, labels[order]
    wrong = rng.random(800) < 0.4
    noisy = np.where(wrong, rng.integers(0, 10, 800), labels[:800])
    return (images[:800], noisy), (images[800:], labels[800:])


def logits(params, images):
    hidden = jax.nn.relu(images @ params["w1"] + params["b1"])
    return hidden @ params["w2"] + params["b2"]


def loss_fn(params, batch):
    images, labels = batch
    losses = optax.softmax_cross_entropy_with_integer_labels(logits(params, images), labels)
    return losses.mean()


def accuracy_after_training(seed, method, train, test):
    first, second, batches = jax.random.split(jax.random.key(seed), 3)
    params = {
        "w1": jax.random.normal(first, (64, 128)) / 8,
        "b1": jnp.zeros(128),
        "w2": jax.random.normal(second, (128, 10)) / 8,
        "b2": jnp.zeros(10),
    }
    sgd = optax.sgd(0.1, momentum=0.9)
    tx = sgd if method is None else optax.chain(method, sgd)
    tx = optax.with_extra_args_support(tx)

    def step(carry, key):
        params, state = carry
        chosen = jax.random.randint(key, (BATCH,), 0, len(train[1]))
        _, grads, grad_fn = value_and_grad(loss_fn)(params, (train[0][chosen], train[1][chosen]))
        updates, state = tx.update(grads, state, params, grad_fn=grad_fn)
        return (optax.apply_updates(params, updates), state), None

    keys = jax.random.split(batches, STEPS)
    (params, _), _ = jax.lax.scan(step, (params, tx.init(params)), keys)
    return jnp.mean(jnp.argmax(logits(params, test[0]), -1) == test[1])


@pytest.fixture(scope="module")
def accuracies():
    """Accuracy on the test digits by method, one for each seed."""
    train, test = jax.tree.map(jnp.asarray, noisy_digits())
    return {
        name: np.array(
            [
                jax.jit(accuracy_after_training, static_argnums=1)(seed, method, train, test)
                for seed in range(SEEDS)
            ]
        )
        for name, method in METHODS.items()
    }


@pytest.mark.parametrize("name", ["Lookbehind", "AE-SAM"])
def test_a_sharpness_aware_method_ends_ahead_of_sgd_on_noisy_digits(accuracies, name):
    assert accuracies["SGD"].min() > 0.4  # the baseline has trained
    # Measured on three seeds: SGD 60 to 63%, Lookbehind 74 to 81%, AE-SAM 71 to 76%.
    assert accuracies[name].min() > accuracies["SGD"].max() + 0.02
