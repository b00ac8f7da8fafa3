"""Changes of coordinates that a method must not notice, and those that it must."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lookbehind as ol

pytestmark = pytest.mark.usefixtures("float64")
SIZE, ETA, RHO, STEPS = 12, 0.05, 0.1, 5
RANDOM = np.random.default_rng(0)
MIXING, W = RANDOM.normal(size=(SIZE, SIZE)), RANDOM.normal(size=SIZE)
ROTATION = np.linalg.qr(RANDOM.normal(size=(SIZE, SIZE)))[0]
PERMUTATION = np.eye(SIZE)[RANDOM.permutation(SIZE)]

METHODS = {
    "sam": lambda rho: ol.sam(rho),
    "usam": lambda rho: ol.usam(rho),
    "multistep_sam": lambda rho: ol.multistep_sam(3, rho),
    "lookbehind_sam": lambda rho: ol.lookbehind_sam(3, rho, 0.5),
    "lookbehind_sam, adaptive": lambda rho: ol.lookbehind_sam(3, rho, "adaptive"),
    "lookbehind_sam, per tensor": lambda rho: ol.lookbehind_sam(3, rho, "adaptive_per_tensor"),
    "gsam": lambda rho: ol.gsam(rho),
    "gnp": lambda rho: ol.gnp(rho),
    "wsam": lambda rho: ol.wsam(rho, 0.6),
    "stable_sam": lambda rho: ol.stable_sam(rho),
    "saner": lambda rho: ol.saner(rho),
    "friendly_sam": lambda rho: ol.friendly_sam(rho),
    "vasso": lambda rho: ol.vasso(rho),
    "looksam": lambda rho: ol.looksam(rho, 0.5, 2),
    "ae_sam": lambda rho: ol.ae_sam(rho, STEPS),
    "asam": lambda rho: ol.asam(rho),
    "esam": lambda rho: ol.esam(rho, key=1),
}
# Those that do notice: elementwise rules, and random masks, which fall on other weights.
NOTICE = {
    "rotation": {"saner", "asam", "esam"},
    "permutation": {"esam"},
    "split": {"lookbehind_sam, per tensor", "esam"},
    "scale": {"usam"},
    "translation": {"asam"},
}


def loss_fn(w):
    return jnp.sum(jnp.cos(jnp.asarray(MIXING) @ w)) + jnp.sum(jnp.tanh(w) ** 2) / 2 + 0.1 * w @ w


def train(method, loss, params, eta=ETA):
    tx = optax.chain(method, optax.sgd(eta))

    @jax.jit
    def run(params):
        def step(carry, _):
            params, state = carry
            grad_fn = lambda p, i: jax.grad(loss)(p)
            updates, state = tx.update(grad_fn(params, 0), state, params, grad_fn=grad_fn)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, tx.init(params)), length=STEPS)[0][0]

    return jax.tree.map(np.asarray, run(jax.tree.map(jnp.asarray, params)))


def in_basis(name, matrix):
    """Trains ``matrix^T w``, and returns the result in the coordinates of w."""
    transformed = train(
        METHODS[name](RHO), lambda x: loss_fn(jnp.asarray(matrix) @ x), matrix.T @ W
    )
    return matrix @ transformed


def in_two_leaves(name):
    join = lambda parts: jnp.concatenate([parts["a"], parts["b"]])
    parts = train(METHODS[name](RHO), lambda p: loss_fn(join(p)), {"a": W[:5], "b": W[5:]})
    return np.concatenate([parts["a"], parts["b"]])


def shifted(name):
    return train(METHODS[name](RHO), lambda x: loss_fn(x - 0.7), W + 0.7) - 0.7


CHANGES = {
    "rotation": lambda name: in_basis(name, ROTATION),
    "permutation": lambda name: in_basis(name, PERMUTATION),
    "split": in_two_leaves,
    "scale": lambda name: train(METHODS[name](RHO), lambda x: 7 * loss_fn(x), W, ETA / 7),
    "translation": shifted,
}


@pytest.fixture(scope="module")
def trained():
    """The weights after training without any change, computed once a method."""
    cache = {}

    def get(name):
        if name not in cache:
            cache[name] = train(METHODS[name](RHO), loss_fn, W)
        return cache[name]

    return get


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", METHODS)
def test_a_change_of_coordinates(name, change, trained):
    # AE-SAM's variance starts at exp(-10) in the units of |g|^2; its decisions agree all the same.
    difference = np.abs(CHANGES[change](name) - trained(name)).max()
    if name in NOTICE[change]:
        assert difference > 1e-4
    else:
        assert difference < 1e-12


def test_usam_needs_its_radius_divided_by_the_scale_of_the_loss(trained):
    scaled = train(METHODS["usam"](RHO / 7), lambda x: 7 * loss_fn(x), W, ETA / 7)
    np.testing.assert_allclose(scaled, trained("usam"), rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("rule", "invariant"),
    [(ol.asam_perturbation(0.5, eta=0.0), True), (ol.sam_perturbation(0.5), False)],
    ids=["asam", "sam"],
)
def test_rescaling_the_layers_of_a_relu_net(rule, invariant):
    # W_1 times 5 and W_2 / 5 is the same function; ASAM's perturbation has the same effect on it.
    x, y = RANDOM.normal(size=(20, 6)), RANDOM.normal(size=(20, 2))
    first, second = RANDOM.normal(size=(6, 8)), RANDOM.normal(size=(8, 2))
    loss = lambda p: jnp.mean((jax.nn.relu(x @ p[0]) @ p[1] - y) ** 2)

    def perturbed_loss(params):
        params = jax.tree.map(jnp.asarray, params)
        e, _ = rule.update(jax.grad(loss)(params), rule.init(params), params)
        return loss(optax.apply_updates(params, e))

    losses = [perturbed_loss((first, second)), perturbed_loss((5 * first, second / 5))]
    assert (abs(losses[0] - losses[1]) < 1e-10 * losses[0]) == invariant
