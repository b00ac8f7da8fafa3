"""Small problems and the methods under test, shared by the test files."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import optax_lookbehind as ol

# Every transformation that can stand in front of an optimizer, at hyperparameters where it matters.
CHAINED = {
    "sam": lambda: ol.sam(0.05),
    "asam": lambda: ol.asam(0.5),
    "multistep_sam": lambda: ol.multistep_sam(3, 0.05),
    "multistep_sam_mean": lambda: ol.multistep_sam(3, 0.05, average=True),
    "multistep_asam": lambda: ol.multistep_asam(2, 0.5),
    "lookbehind_sam": lambda: ol.lookbehind_sam(3, 0.05, 0.5),
    "lookbehind_sam_adaptive": lambda: ol.lookbehind_sam(3, 0.05, "adaptive"),
    "lookbehind_asam": lambda: ol.lookbehind_asam(2, 0.5, "adaptive_per_tensor"),
    "ae_sam": lambda: ol.ae_sam(0.05, total_steps=20),
    "ae_looksam": lambda: ol.ae_looksam(0.05, 0.5, total_steps=20),
    "looksam": lambda: ol.looksam(0.05, 0.5, period=2),
    "ss_sam": lambda: ol.ss_sam(0.05, key=1),
    "esam": lambda: ol.esam(0.05),
    "ae_lookbehind_sam": lambda: ol.ae_lookbehind_sam(2, 0.05, "adaptive", total_steps=20),
    "lookbehind_switch": lambda: ol.lookbehind_sam(2, 0.05, 0.5, switch_minibatch=True),
    "gsam": lambda: ol.gsam(0.05),
    "gnp": lambda: ol.gnp(0.05),
    "wsam": lambda: ol.wsam(0.05),
    "stable_sam": lambda: ol.stable_sam(0.05),
    "saner": lambda: ol.saner(0.05),
    "sam_on": lambda: ol.sam_on(0.05, is_vector),
    "usam": lambda: ol.usam(0.05),
    "friendly_sam": lambda: ol.friendly_sam(0.05),
    "vasso": lambda: ol.vasso(0.05, theta=0.4),
    "late_sam": lambda: ol.late_sam(0.05, total_steps=4, fraction=0.9),
    "le_sam": lambda: ol.le_sam(0.1, rho_max=0.2),
    "xsam": lambda: ol.xsam(0.05, 1.4, k=2),
    "rms_sam": lambda: ol.multistep(ol.rms_perturbation(0.05, decay=0.9)),
}
# Those that carry the optimizer inside.
COMPLETE = {
    "lookbehind_sgd": lambda: ol.lookbehind_sam(
        3, 0.05, "adaptive", fast_optimizer=optax.sgd(0.1, momentum=0.9)
    ),
    "lookbehind_adam": lambda: ol.lookbehind_asam(
        2, 0.5, 0.5, fast_optimizer=optax.adamw(1e-2, weight_decay=1e-3)
    ),
    "momentum_sam": lambda: ol.momentum_sam(optax.sgd(0.1, momentum=0.9), 0.05),
    "wsam_decoupled": lambda: ol.wsam_decoupled(optax.adam(1e-2), 1e-2, 0.05),
}


def is_vector(params):
    """A mask that is True on biases, and wherever weights are a single vector."""
    return jax.tree.map(lambda w: w.ndim == 1, params)


def optimizers(learning_rate=0.1):
    """Name -> a complete optimizer, for every method."""
    chained = {
        name: optax.chain(make(), optax.sgd(learning_rate)) for name, make in CHAINED.items()
    }
    return chained | {name: make() for name, make in COMPLETE.items()}


def network(key=0, dtype=jnp.float32):
    """Weights of a two-layer network, (4, 8) and (8, 3), with biases; and its loss."""
    keys = jax.random.split(jax.random.key(key), 2)
    params = {
        "hidden": {"w": jax.random.normal(keys[0], (4, 8), dtype) / 2, "b": jnp.zeros(8, dtype)},
        "out": {"w": jax.random.normal(keys[1], (8, 3), dtype) / 3, "b": jnp.zeros(3, dtype)},
    }
    return params, classification_loss


def classification_loss(params, batch):
    x, y = batch
    hidden = jnp.tanh(x @ params["hidden"]["w"] + params["hidden"]["b"])
    logits = hidden @ params["out"]["w"] + params["out"]["b"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def batches(number=4, size=16, dtype=jnp.float32):
    """``number`` minibatches of ``size`` examples that the network can learn."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(number, size, 4))
    y = np.argmax(x[..., :3] + 0.3 * rng.normal(size=(number, size, 3)), axis=-1)
    return jnp.asarray(x, dtype), jnp.asarray(y)


def make_step(tx, loss_fn):
    """The training step of the README: ``(params, state, batch) -> (params, state, loss)``."""

    def step(params, state, batch):
        def grad_fn(params, i):
            del i
            return jax.grad(loss_fn)(params, batch)

        loss, grads = jax.value_and_grad(loss_fn)(params, batch)
        updates, state = tx.update(grads, state, params, grad_fn=grad_fn)
        return optax.apply_updates(params, updates), state, loss

    return step


def quadratic(dimension=6, seed=0):
    """A positive definite matrix A and a point w, for the loss ``w A w / 2`` with gradient A w."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(dimension, dimension))
    return root @ root.T / dimension + np.eye(dimension), rng.normal(size=dimension)
