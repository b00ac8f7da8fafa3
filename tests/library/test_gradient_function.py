"""Gradient functions: ``value_and_grad``, the losses in the state, and ESAM's selection."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lookbehind as ol
from tests.support.devices import MAPPINGS, split
from tests.support.methods import each, takes_gradients
from tests.support.problems import batches, classification_loss, network

exact = pytest.mark.usefixtures("float64")


def assert_close(first, second, **tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), first, second)


def minibatch():
    return jax.tree.map(lambda x: x[0], batches(number=1, dtype=jnp.float64))


@exact
def test_value_and_grad_is_that_of_jax_and_grad_fn_takes_it_elsewhere():
    params, batch = network(dtype=jnp.float64)[0], minibatch()
    value, grads, grad_fn = ol.value_and_grad(classification_loss)(params, batch)
    assert_close((value, grads), jax.value_and_grad(classification_loss)(params, batch), rtol=1e-14)
    elsewhere = optax.tree.add_scale(params, 0.3, grads)
    result = grad_fn(elsewhere, jnp.int32(2))
    assert isinstance(result, ol.ValueAndGrads)
    expected = jax.value_and_grad(classification_loss)(elsewhere, batch)
    assert_close(tuple(result), expected, rtol=1e-14)
    fast = optax.LookaheadParams(fast=params, slow=elsewhere)
    assert_close(ol.value_and_grad(classification_loss)(fast, batch)[:2], (value, grads))


@exact
def test_auxiliary_output_is_that_of_the_clean_pass():
    params, batch = network(dtype=jnp.float64)[0], minibatch()

    def loss_fn(params, batch, *, scale):
        loss = scale * classification_loss(params, batch)
        return loss, {"norm": optax.tree.norm(params)}

    (value, aux), grads, grad_fn = ol.value_and_grad(loss_fn, has_aux=True)(params, batch, scale=2)
    np.testing.assert_allclose(value, 2 * classification_loss(params, batch), rtol=1e-14)
    np.testing.assert_allclose(aux["norm"], optax.tree.norm(params), rtol=1e-14)
    perturbed = grad_fn(optax.tree.scale(2.0, params), 0)
    assert jax.tree.structure(perturbed.grads) == jax.tree.structure(grads)
    assert jnp.shape(perturbed.value) == ()


@exact
def test_dropout_keys_are_the_same_in_every_pass():
    def loss_fn(w, key):
        return jnp.sum(w**2 * jax.random.bernoulli(key, 0.5, w.shape))

    w, key = jnp.arange(1.0, 17.0), jax.random.key(0)
    _, grads, grad_fn = ol.value_and_grad(loss_fn)(w, key)
    np.testing.assert_array_equal(grads, grad_fn(w, 1).grads)


@exact
def test_minibatches_are_indexed_and_scalars_and_keyword_arguments_are_not():
    centres = jnp.arange(6.0).reshape(3, 2)

    def loss_fn(w, centre, key, *, statistics):
        assert jnp.shape(key) == ()
        return jnp.sum((w - centre) ** 2 * statistics)

    arguments = {"statistics": jnp.array([1.0, 2.0])}
    make = ol.value_and_grad(loss_fn, minibatches=True)
    w = jnp.ones(2)
    value, grads, grad_fn = make(w, centres, jax.random.key(0), **arguments)
    for i in range(3):
        expected = jax.value_and_grad(loss_fn)(w, centres[i], jax.random.key(0), **arguments)
        assert_close(tuple(jax.jit(grad_fn)(w, jnp.int32(i))), expected, rtol=1e-14)
        if i == 0:
            assert_close((value, grads), expected, rtol=1e-14)
    tx = ol.lookbehind_sam(3, 0.1, 0.5, switch_minibatch=True)
    by_hand = lambda p, i: jax.grad(loss_fn)(p, centres[i], jax.random.key(0), **arguments)
    results = [tx.update(grads, tx.init(w), w, grad_fn=f)[0] for f in (grad_fn, by_hand)]
    assert_close(*results, rtol=1e-14)


@pytest.mark.parametrize("arguments", [(jnp.ones((3, 2)), jnp.ones(2)), (jnp.float32(1.0),), ()])
def test_minibatches_that_disagree_on_their_number_raise(arguments):
    make = ol.value_and_grad(lambda w, *args: jnp.sum(w), minibatches=True)
    with pytest.raises(ValueError, match=r"^minibatches=True .*keyword argument"):
        make(jnp.ones(2), *arguments)


@pytest.mark.parametrize("mapping", MAPPINGS)
def test_with_an_axis_gradients_are_each_devices_own(mapping, float64):
    params, batch = network(dtype=jnp.float64)[0], minibatch()

    def step(params, state, part):
        del state
        value, grads, _ = ol.value_and_grad(classification_loss, axis_name="data")(params, part)
        mean = lambda tree: jax.lax.pmean(tree, "data")
        spread = jax.lax.pmean((value - mean(value)) ** 2, "data")
        return mean(grads), spread

    mapped = MAPPINGS[mapping](step)
    grads, spread = mapped(params, jnp.zeros(()), batch)
    # A sum over the devices would be eight times as long.
    assert_close(grads, jax.grad(classification_loss)(params, batch), rtol=1e-10, atol=1e-12)
    assert spread > 0


def recorded_losses(method):
    """The losses in the state after each jitted step, and those at the weights of an eager one."""
    params, data = network(dtype=jnp.float64)[0], batches(number=4, size=32, dtype=jnp.float64)
    tx = method.optimizer()

    @jax.jit
    def update(params, state, batch):
        _, grads, grad_fn = ol.value_and_grad(classification_loss)(params, batch)
        return tx.update(grads, state, params, grad_fn=grad_fn)

    state, results = tx.init(params), []
    for t in range(4):
        batch, visited = jax.tree.map(lambda x, t=t: x[t], data), []
        _, grads, grad_fn = ol.value_and_grad(classification_loss)(params, batch)

        def recording(p, i, grad_fn=grad_fn, visited=visited):
            visited.append(p)
            return grad_fn(p, i)

        tx.update(grads, state, params, grad_fn=recording)
        updates, state = update(params, state, batch)
        params = optax.apply_updates(params, updates)
        losses = np.asarray(optax.tree.get(state, "perturbed_losses"))
        results.append((losses, [classification_loss(p, batch) for p in visited]))
    return results


@exact
@each(takes_gradients)
def test_the_state_has_the_losses_at_the_perturbed_weights(method):
    last = np.zeros(method.k)
    for losses, computed in recorded_losses(method):
        if method.arguments.get(
            "switch_minibatch"
        ):  # every second pass is an ascent on a new batch
            computed = [computed[0], *computed[2::2]]
        last = np.array(computed) if computed else last  # a plain step keeps them
        np.testing.assert_allclose(losses, last, rtol=1e-12)
    assert last.all()


@pytest.mark.parametrize(
    "tx", [ol.sam(0.1), ol.multistep_sam(2, 0.1), ol.lookbehind_sam(2, 0.1, 1.0)]
)
@pytest.mark.parametrize(
    ("w", "dtype", "expected"),
    [
        (0.0, jnp.float32, [0.0, 0.0]),  # a zero gradient: the weights stay where they are
        (2.0, jnp.float32, [2.1**2, 2.2**2]),  # one weight
        (2.0, jnp.bfloat16, [2.1**2, 2.2**2]),
        (np.nan, jnp.float32, [np.nan, np.nan]),
    ],
)
def test_the_losses_of_one_weight(tx, w, dtype, expected):
    params = {"w": jnp.asarray(w, dtype)}
    loss_fn = lambda p: p["w"].astype(jnp.float32) ** 2
    _, grads, grad_fn = ol.value_and_grad(loss_fn)(params)
    _, state = tx.update(grads, tx.init(params), params, grad_fn=grad_fn)
    losses = optax.tree.get(state, "perturbed_losses")
    assert losses.dtype == jnp.float32
    np.testing.assert_allclose(losses, expected[: len(losses)], rtol=0.02)


@each(takes_gradients)
def test_without_values_the_losses_are_zeros(method):
    w = jnp.ones(3, jnp.bfloat16)
    tx = method.make()
    _, state = tx.update(w, tx.init(w), w, grad_fn=lambda p, i: p)
    losses = optax.tree.get(state, "perturbed_losses")
    assert losses.dtype == jnp.float32
    np.testing.assert_array_equal(losses, np.zeros(method.k))


@exact
@pytest.mark.parametrize("sync", [True, False])
@each(lambda method: method.all_reduces, slow=True)
def test_losses_are_averaged_over_the_devices(method, sync):
    params, batch = network(dtype=jnp.float64)[0], minibatch()
    tx = method.make(axis_name="data", sync_perturbation=sync)
    always = {"apply": True} if method.has_policy else {}

    def device(part):
        seen = []
        _, grads, grad_fn = ol.value_and_grad(classification_loss, axis_name="data")(params, part)
        _, state = tx.update(grads, tx.init(params), params, grad_fn=grad_fn, **always)
        return optax.tree.get(state, "perturbed_losses"), seen

    # out_axes=None raises for losses that differ between the devices.
    losses, _ = jax.vmap(device, axis_name="data", out_axes=None)(split(batch))
    if sync:
        alone = method.make()
        _, grads, grad_fn = ol.value_and_grad(classification_loss)(params, batch)
        _, state = alone.update(grads, alone.init(params), params, grad_fn=grad_fn, **always)
        np.testing.assert_allclose(losses, optax.tree.get(state, "perturbed_losses"), rtol=1e-10)
    assert losses.shape == (method.k,)
    assert (losses > 0).all()


@exact
def test_unsynced_losses_are_the_mean_of_those_at_the_devices_own_weights():
    params, batch = network(dtype=jnp.float64)[0], minibatch()
    tx = ol.sam(0.5, axis_name="data", sync_perturbation=False)

    def device(part):
        _, grads, grad_fn = ol.value_and_grad(classification_loss, axis_name="data")(params, part)
        _, state = tx.update(grads, tx.init(params), params, grad_fn=grad_fn)
        return optax.tree.get(state, "perturbed_losses")

    def by_hand(part):
        g = jax.grad(classification_loss)(params, part)
        p = optax.tree.add_scale(params, 0.5 / optax.tree.norm(g), g)
        return classification_loss(p, part)

    losses = jax.vmap(device, axis_name="data", out_axes=None)(split(batch))
    np.testing.assert_allclose(losses, [jax.vmap(by_hand)(split(batch)).mean()], rtol=1e-12)


def test_a_value_that_is_no_scalar_raises():
    tx, w = ol.lookbehind_sam(3, 0.1, 0.5), jnp.ones(2)
    grad_fn = lambda p, i: ol.ValueAndGrads(jnp.ones(2), p)
    with pytest.raises(ValueError, match=r"^value .*scalar.*\(2,\)|^value .*scalar.*\(3, 2\)"):
        jax.eval_shape(lambda w: tx.update(w, tx.init(w), w, grad_fn=grad_fn), w)


def test_the_check_of_a_setup_takes_values_too():
    params, batch = network()[0], jax.tree.map(lambda x: x[0], batches())
    _, grads, grad_fn = ol.value_and_grad(classification_loss)(params, batch)
    assert ol.check_grad_fn(grad_fn, params, grads, k=5) == []


@exact
@pytest.mark.parametrize(("gamma", "selected"), [(1.0, 8), (0.5, 4), (0.3, 2), (0.01, 1)])
def test_the_gradient_is_taken_on_the_examples_whose_loss_rose_most(gamma, selected):
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(8, 3)), rng.normal(size=3)
    losses = lambda w: jnp.square(jnp.asarray(x) @ w)  # gradient 2 x (x w)
    perturbed = w + 0.5 * rng.normal(size=3)
    grad_fn = ol.sharpest_examples_grad_fn(losses, jnp.asarray(w), gamma)
    result = jax.jit(grad_fn)(jnp.asarray(perturbed), 0)
    chosen = np.argsort((x @ perturbed) ** 2 - (x @ w) ** 2)[-selected:]
    expected = np.mean(2 * x[chosen] * (x[chosen] @ perturbed)[:, None], axis=0)
    np.testing.assert_allclose(result, expected, rtol=1e-12)


def test_sharpest_examples_need_one_loss_per_example():
    with pytest.raises(ValueError, match=r"^per_example_loss_fn .*\(\)"):
        ol.sharpest_examples_grad_fn(jnp.sum, jnp.ones(2))


def test_esam_with_example_selection_trains():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(32, 4)), jnp.float32)
    y = x @ jnp.array([1.0, -2.0, 0.5, 3.0])
    losses = lambda w: jnp.square(x @ w - y)
    tx = optax.chain(ol.esam(0.05, beta=0.6), optax.sgd(0.05))
    w = jnp.zeros(4)

    @jax.jit
    def step(w, state):
        _, grads, _ = ol.value_and_grad(lambda w: losses(w).mean())(w)
        grad_fn = ol.sharpest_examples_grad_fn(losses, w)
        updates, state = tx.update(grads, state, w, grad_fn=grad_fn)
        return optax.apply_updates(w, updates), state

    state = tx.init(w)
    for _ in range(200):
        w, state = step(w, state)
    assert losses(w).mean() < 0.05 * losses(jnp.zeros(4)).mean()
