"""One code path for one device, many devices and microbatches: the same numbers in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import optax_lookbehind as ol
from benchmarks.hlo import count_all_reduces
from tests.support.problems import batches, classification_loss, is_vector, network

DEVICES, STEPS = 8, 6
REPLICATED, SHARDED = PartitionSpec(), PartitionSpec("data")

# Name -> a function from axis_name and sync_perturbation to an optimizer.
METHODS = {
    "sam": lambda **over: optax.chain(ol.sam(0.1, **over), optax.sgd(0.1)),
    "lookbehind_adaptive": lambda **over: optax.chain(
        ol.lookbehind_sam(3, 0.1, "adaptive", **over), optax.sgd(0.1)
    ),
    "lookbehind_adam": lambda **over: ol.lookbehind_sam(
        3, 0.1, 0.5, fast_optimizer=optax.adam(1e-2), **over
    ),
    "multistep_mean": lambda **over: optax.chain(
        ol.multistep_asam(2, 0.1, average=True, **over), optax.sgd(0.1)
    ),
    "ae_sam": lambda **over: optax.chain(ol.ae_sam(0.1, STEPS, **over), optax.sgd(0.1)),
    "ae_looksam": lambda **over: optax.chain(
        ol.ae_looksam(0.1, 0.5, STEPS, **over), optax.sgd(0.1)
    ),
    "ae_lookbehind": lambda **over: optax.chain(
        ol.ae_lookbehind_sam(2, 0.1, "adaptive", STEPS, **over), optax.sgd(0.1)
    ),
    "looksam": lambda **over: optax.chain(ol.looksam(0.1, 0.5, 2, **over), optax.sgd(0.1)),
    "ss_sam": lambda **over: optax.chain(ol.ss_sam(0.1, **over), optax.sgd(0.1)),
    "esam": lambda **over: optax.chain(ol.esam(0.1, **over), optax.sgd(0.1)),
    "gsam": lambda **over: optax.chain(ol.gsam(0.1, **over), optax.sgd(0.1)),
    "stable_sam": lambda **over: optax.chain(ol.stable_sam(0.1, **over), optax.sgd(0.1)),
    "saner": lambda **over: optax.chain(ol.saner(0.1, **over), optax.sgd(0.1)),
    "sam_on": lambda **over: optax.chain(ol.sam_on(0.1, is_vector, **over), optax.sgd(0.1)),
    "friendly_sam": lambda **over: optax.chain(ol.friendly_sam(0.1, **over), optax.sgd(0.1)),
    "vasso": lambda **over: optax.chain(ol.vasso(0.1, 0.4, **over), optax.sgd(0.1)),
    "wsam_decoupled": lambda **over: ol.wsam_decoupled(optax.adam(1e-2), 1e-2, 0.1, **over),
}


# Run under every mapping; the others, made of the same blocks, under shard_map.
ALL_MAPPINGS = ["sam", "lookbehind_adaptive", "lookbehind_adam", "ae_sam", "ae_looksam"]
SHARD_MAP_ONLY = [name for name in METHODS if name not in ALL_MAPPINGS]
# Made of the same blocks as gsam, friendly_sam, lookbehind_adaptive and ae_looksam.
ALIKE = {"stable_sam", "saner", "sam_on", "vasso", "ae_lookbehind", "looksam", "multistep_mean"}


def mark(name):
    return [pytest.mark.slow] if name in ALIKE else []


@pytest.fixture(params=[pytest.param(name, marks=mark(name)) for name in METHODS])
def make(request):
    return METHODS[request.param]


@pytest.fixture
def problem(float64):
    return network(dtype=jnp.float64)[0], batches(number=STEPS, size=32, dtype=jnp.float64)


def make_step(tx, axis_name=None):
    """A training step on this device's part of the batch, as in the guide."""

    def step(params, state, batch):
        grad_fn = lambda p, i: jax.grad(classification_loss)(p, batch)
        grads = grad_fn(ol.per_device_params(params, axis_name), 0)
        updates, state = tx.update(grads, state, params, grad_fn=grad_fn)
        return optax.apply_updates(params, updates), state

    return step


def mesh(devices=DEVICES, axis_type=AxisType.Auto):
    return jax.make_mesh((devices,), ("data",), axis_types=(axis_type,))


def on_mesh(step, devices=DEVICES, **options):
    """``step`` on each device's part of the batch, weights and state being shared."""
    specs = {
        "in_specs": (REPLICATED, REPLICATED, SHARDED),
        "out_specs": (REPLICATED, REPLICATED),
    }
    return jax.shard_map(step, mesh=mesh(devices), **specs, **options)


def by_shard_map(tx, check_vma):
    return jax.jit(on_mesh(make_step(tx, "data"), check_vma=check_vma))


def split(batch):
    return jax.tree.map(lambda x: x.reshape(DEVICES, -1, *x.shape[1:]), batch)


def by_pmap(tx):
    mapped = jax.pmap(make_step(tx, "data"), axis_name="data", in_axes=(None, None, 0))

    def step(params, state, batch):
        everywhere = mapped(params, state, split(batch))
        for leaf in map(numbers, jax.tree.leaves(everywhere)):
            assert (leaf == leaf[:1]).all()  # the same weights and state on every device
        return jax.tree.map(lambda x: x[0], everywhere)

    return step


def numbers(x):
    is_key = jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(x) if is_key else x)


def by_vmap(tx):
    # out_axes=None raises for results that differ between the microbatches.
    mapped = jax.vmap(
        make_step(tx, "data"), axis_name="data", in_axes=(None, None, 0), out_axes=None
    )
    return jax.jit(lambda params, state, batch: mapped(params, state, split(batch)))


MAPPINGS = {
    "shard_map": functools.partial(by_shard_map, check_vma=True),
    "shard_map_unchecked": functools.partial(by_shard_map, check_vma=False),
    "pmap": by_pmap,
    "vmap": by_vmap,
}


def train(step, tx, params, data):
    state = tx.init(params)
    for t in range(STEPS):
        params, state = step(params, state, jax.tree.map(lambda x: x[t], data))
    return params, state


def assert_close(first, second, tolerance=1e-10):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(numbers(a), numbers(b), rtol=0, atol=tolerance),
        first,
        second,
    )


def largest_difference(first, second):
    return max(jax.tree.leaves(jax.tree.map(lambda a, b: float(abs(a - b).max()), first, second)))


@pytest.mark.parametrize(
    ("name", "mappings"),
    [(n, MAPPINGS) for n in ALL_MAPPINGS]
    + [pytest.param(n, ["shard_map"], marks=mark(n)) for n in SHARD_MAP_ONLY],
)
def test_synced_perturbation_equals_one_device_on_the_global_batch(name, mappings, problem):
    tx = METHODS[name]()
    expected = train(jax.jit(make_step(tx)), tx, *problem)
    tx = METHODS[name](axis_name="data")
    for mapping in mappings:
        assert_close(train(MAPPINGS[mapping](tx), tx, *problem), expected)


@pytest.mark.parametrize(
    ("name", "mappings"),
    [(n, MAPPINGS) for n in ALL_MAPPINGS]
    + [pytest.param(n, ["shard_map", "vmap"], marks=pytest.mark.slow) for n in SHARD_MAP_ONLY],
)
def test_unsynced_perturbation_agrees_across_mappings_and_differs_from_the_global_batch(
    name, mappings, problem
):
    tx = METHODS[name](axis_name="data", sync_perturbation=False)
    results = {mapping: train(MAPPINGS[mapping](tx), tx, *problem) for mapping in mappings}
    for result in results.values():
        assert_close(result, results["vmap"])
    tx = METHODS[name]()
    on_the_global_batch = train(jax.jit(make_step(tx)), tx, *problem)
    assert largest_difference(results["vmap"][0], on_the_global_batch[0]) > 1e-5


def test_m_sam_perturbs_each_microbatch_separately(problem):
    params, data = problem
    batch = jax.tree.map(lambda x: x[0], data)
    tx = ol.sam(0.1, axis_name="data", sync_perturbation=False)
    grad = jax.grad(classification_loss)

    def one(part):
        return tx.update(grad(params, part), state, params, grad_fn=lambda p, i: grad(p, part))[0]

    state = tx.init(params)
    result = jax.vmap(one, axis_name="data", out_axes=None)(split(batch))

    def by_hand(part):
        g = grad(params, part)
        return grad(optax.tree.add_scale(params, 0.1 / optax.tree.norm(g), g), part)

    parts = [by_hand(jax.tree.map(lambda x: x[i], split(batch))) for i in range(DEVICES)]
    assert_close(result, jax.tree.map(lambda *g: sum(g) / DEVICES, *parts))


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
def test_jit_over_sharded_batches_needs_no_axis_name(make, axis_type, problem):
    params, data = problem
    tx = make()
    expected = train(jax.jit(make_step(tx)), tx, params, data)
    devices = mesh(axis_type=axis_type)
    with jax.set_mesh(devices):
        data = jax.device_put(data, NamedSharding(devices, PartitionSpec(None, "data")))
        params = jax.device_put(params, NamedSharding(devices, REPLICATED))
        result = train(jax.jit(make_step(tx)), tx, params, data)
    assert_close(result, expected)
    assert all(leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(result[0]))


@pytest.mark.parametrize("sync", [True, False])
def test_ae_sam_does_not_deadlock_where_local_gradients_disagree(sync, problem):
    params, (x, y) = problem
    # Each device sees large examples, and so a large gradient, at steps of its own.
    device = jnp.arange(32) // 4
    x = x * jnp.where((jnp.arange(STEPS)[:, None] + device) % 3 == 0, 10.0, 0.1)[..., None]
    make = lambda **over: optax.chain(ol.ae_sam(0.1, STEPS, 0.5, 0.5, **over), optax.sgd(0.1))
    tx, alone = make(axis_name="data", sync_perturbation=sync), make()
    step_alone = jax.jit(make_step(alone))

    def local_uses(device):
        own = jax.tree.map(lambda a: a[:, 4 * device : 4 * device + 4], (x, y))
        state, uses = alone.init(params), []
        for t in range(STEPS):
            _, state = step_alone(params, state, (own[0][t], own[1][t]))
            uses.append(int(optax.tree.get(state, "applied")))
        return uses

    assert len({tuple(local_uses(device)) for device in range(4)}) > 1
    result = train(by_shard_map(tx, True), tx, params, (x, y))
    again = train(by_vmap(tx), tx, params, (x, y))
    assert_close(result, again)


@pytest.mark.parametrize("name", ["sam", "lookbehind_adam", "ae_sam"])
def test_gradients_already_summed_over_the_axis_raise(name, problem):
    params, data = problem
    tx = METHODS[name](axis_name="data")
    batch = jax.tree.map(lambda x: x[0], data)
    step = on_mesh(make_step(tx))  # jax.grad at shared weights: the trap
    with pytest.raises(ValueError, match=r"(?s)updates .*per_device_params\(params, 'data'\)"):
        step(params, tx.init(params), batch)


def test_a_grad_fn_that_averages_raises(problem):
    params, data = problem
    tx = METHODS["sam"](axis_name="data")

    def step(params, state, batch):
        def grad_fn(p, i):
            return jax.lax.pmean(jax.grad(classification_loss)(p, batch), "data")

        local = jax.grad(classification_loss)(ol.per_device_params(params, "data"), batch)
        return tx.update(local, state, params, grad_fn=grad_fn)

    with pytest.raises(ValueError, match="the result of grad_fn"):
        on_mesh(step)(params, tx.init(params), jax.tree.map(lambda x: x[0], data))


@pytest.mark.parametrize(("policy_axis", "inner_axis"), [("data", None), (None, "data")])
def test_a_policy_and_its_method_with_different_axes_raise(policy_axis, inner_axis, problem):
    params, data = problem
    tx = ol.adaptive_policy(ol.sam(0.1, axis_name=inner_axis), STEPS, axis_name=policy_axis)
    for mapping in (lambda: by_shard_map(tx, False), lambda: by_pmap(tx)):
        with pytest.raises(ValueError, match=r"same axis_name.*'data'.*None|None.*'data'"):
            mapping()(params, tx.init(params), jax.tree.map(lambda x: x[0], data))


def test_local_gradients_without_an_axis_name_raise(problem):
    params, data = problem
    tx = METHODS["sam"]()
    with pytest.raises(ValueError, match=r"updates .*'data'.* axis_name"):
        by_shard_map(tx, True)(params, tx.init(params), jax.tree.map(lambda x: x[0], data))


@pytest.mark.parametrize("name", ["lookbehind_adaptive", "ae_looksam"])
def test_products_of_sharded_weights_are_not_gathered(name):
    devices = mesh()
    spec = NamedSharding(devices, PartitionSpec(None, "data"))
    tx = METHODS[name]()
    w = jax.ShapeDtypeStruct((64, 64), jnp.float32, sharding=spec)
    state = jax.eval_shape(tx.init, w)
    state = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=spec) if x.shape else x, state
    )
    step = jax.jit(lambda w, state: tx.update(w, state, w, grad_fn=lambda p, i: jnp.sin(p)))
    assert "all-gather" not in step.lower(w, state).compile().as_text()


def test_the_mean_inside_the_loss_needs_no_axis_name(problem):
    params, data = problem
    tx = METHODS["lookbehind_adaptive"]()
    expected = train(jax.jit(make_step(tx)), tx, params, data)

    def step(params, state, batch):
        loss = lambda p: jax.lax.pmean(classification_loss(p, batch), "data")
        grad_fn = lambda p, i: jax.grad(loss)(p)
        updates, state = tx.update(grad_fn(params, 0), state, params, grad_fn=grad_fn)
        return optax.apply_updates(params, updates), state

    assert_close(train(jax.jit(on_mesh(step)), tx, params, data), expected)


def all_reduces(tx):
    """All-reduces that one training step executes."""
    matrix = jnp.eye(4)

    def step(w, state, batch):
        grad_fn = lambda p, i: jax.grad(lambda p: jnp.tanh(batch @ matrix @ p).sum())(p)
        grads = grad_fn(ol.per_device_params(w, "data"), 0)
        updates, state = tx.update(grads, state, w, grad_fn=grad_fn)
        return w + updates, state

    w = jnp.ones(4)  # a single leaf, so that a gradient is a single all-reduce
    compiled = jax.jit(on_mesh(step)).lower(w, tx.init(w), jnp.ones((16, 4))).compile()
    return count_all_reduces(compiled.as_text())


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("fast_optimizer", [None, optax.adam(0.1)])
def test_every_synced_gradient_is_averaged_once(k, fast_optimizer):
    tx = ol.lookbehind_sam(k, 0.1, "adaptive", fast_optimizer=fast_optimizer, axis_name="data")
    assert all_reduces(tx) == k + 1


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        # A fast optimizer needs the average in every inner step.
        (lambda **o: ol.lookbehind_sam(3, 0.1, 0.5, fast_optimizer=optax.adam(0.1), **o), 3),
        # A sum of gradients is averaged once; adaptive alpha needs the first gradient too.
        (lambda **o: ol.lookbehind_sam(3, 0.1, 0.5, **o), 1),
        (lambda **o: ol.lookbehind_sam(3, 0.1, "adaptive", **o), 1),
        (lambda **o: ol.multistep_sam(3, 0.1, **o), 1),
        (lambda **o: ol.multistep_sam(3, 0.1, average=True, **o), 1),
    ],
)
def test_unsynced_gradients_are_averaged_together(make, expected):
    assert all_reduces(make(axis_name="data", sync_perturbation=False)) == expected


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        # The gradient that decides is the one that the ascent follows.
        (lambda **o: ol.ae_sam(0.1, STEPS, **o), 2),
        (lambda **o: ol.ae_looksam(0.1, 0.5, STEPS, **o), 2),
        (lambda **o: ol.ae_lookbehind_sam(2, 0.1, 0.5, STEPS, **o), 3),
        (lambda **o: ol.ae_sam(0.1, STEPS, sync_perturbation=False, **o), 2),
    ],
)
def test_a_policy_averages_the_plain_gradient_once(make, expected):
    assert all_reduces(make(axis_name="data")) == expected


TWO_GRADIENTS = {
    "gsam": ol.gsam,
    "gnp": ol.gnp,
    "wsam": ol.wsam,
    "stable_sam": ol.stable_sam,
    "saner": ol.saner,
    "usam": ol.usam,
    "sam_on": functools.partial(ol.sam_on, mask=True),
    "friendly_sam": ol.friendly_sam,
    "vasso": ol.vasso,
    "wsam_decoupled": functools.partial(ol.wsam_decoupled, optax.adam(0.1), 0.1),
}


@pytest.mark.parametrize("name", TWO_GRADIENTS)
def test_methods_of_two_gradients_average_each_once_and_unsynced_both_together(name):
    make = functools.partial(TWO_GRADIENTS[name], rho=0.1, axis_name="data")
    assert all_reduces(make()) == 2
    assert all_reduces(make(sync_perturbation=False)) == 1
