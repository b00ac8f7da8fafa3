"""The code that README and guides show, run as it stands there."""

import pathlib
import re
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import optax_lookbehind as ol
from tests.support.problems import batches, classification_loss, network

ROOT = pathlib.Path(__file__).parents[2]


def code_blocks(page):
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.S)


class Network(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(1, 8, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(8, rngs=rngs)
        self.out = nnx.Linear(8, 3, rngs=rngs)

    def __call__(self, x):
        return self.out(nnx.relu(self.norm(self.conv(x))).mean((1, 2)))


def images(seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, 64)
    return jnp.asarray(rng.normal(size=(64, 6, 6, 1)) + labels[:, None, None, None]), labels


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_the_plain_example_trains(page):
    example, *_ = code_blocks(page)
    batch = jax.tree.map(lambda x: x[0], batches(number=1, size=64))
    scope = {"params": network()[0], "loss_fn": classification_loss}
    exec(example, scope)
    params, opt_state, losses = scope["params"], scope["opt_state"], []
    for _ in range(20):
        params, opt_state, loss = scope["step"](params, opt_state, batch)
        losses.append(float(loss))
    assert losses[-1] < losses[0]


def test_the_nnx_example_trains_and_keeps_the_statistics_of_the_clean_pass():
    _, example, _ = code_blocks("README.md")
    scope = {"model": Network(nnx.Rngs(0))}
    exec(example, scope)
    params, stats, opt_state = scope["params"], scope["stats"], scope["opt_state"]
    model = nnx.merge(scope["graphdef"], params, stats, copy=True)
    model(images()[0])  # one clean pass in training mode
    expected = nnx.state(model, nnx.BatchStat)
    losses = []
    for t in range(60):
        params, stats, opt_state, loss = scope["step"](params, stats, opt_state, *images())
        losses.append(float(loss))
        if t == 0:
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), stats, expected)
    assert losses[-1] < 0.5 * losses[0]


def test_the_line_with_the_optimizer_inside_emits_the_final_update():
    (line,) = re.findall(r"\n(    tx = .*?)\n\n", (ROOT / "README.md").read_text(), re.S)
    scope = vars(ol) | {"optax": optax}
    exec(textwrap.dedent(line), scope)
    params = jnp.ones(3)
    state = scope["tx"].init(params)
    updates, state = scope["tx"].update(params, state, params, grad_fn=lambda p, i: p)
    assert optax.tree.get(state, "fast_state") is not None
    assert np.all(updates < 0)


def test_the_lines_on_hyper_parameters_and_lookahead_run():
    *_, example = code_blocks("README.md")
    batch = jax.tree.map(lambda x: x[0], batches(number=1))
    params, grad_fn = network()[0], lambda p, i: jax.grad(classification_loss)(p, batch)
    adjustable, lookahead = example.split("# Lookahead-SAM")
    scope = vars(ol) | {"jnp": jnp, "optax": optax, "params": params}
    exec(adjustable, scope)
    tx, state = scope["tx"], scope["opt_state"]
    updates, state = tx.update(grad_fn(params, 0), state, params, grad_fn=grad_fn)
    fixed = optax.chain(ol.lookbehind_sam(2, 0.1, 0.5), optax.sgd(0.1))
    expected, _ = fixed.update(grad_fn(params, 0), fixed.init(params), params, grad_fn=grad_fn)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), updates, expected)
    assert state[0].hyperparams["rho"] == jnp.float32(0.1)

    exec("#" + lookahead, scope)
    tx, pair = scope["tx"], scope["pair"]
    state = tx.init(pair)
    for _ in range(5):
        updates, state = tx.update(grad_fn(pair.fast, 0), state, pair, grad_fn=grad_fn)
        pair = optax.apply_updates(pair, updates)
    # At the synchronization both are halfway between the start and the fifth fast weights.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), pair.slow, pair.fast)
    assert optax.tree.norm(optax.tree.sub(pair.slow, params)) > 0


def test_the_guide_to_many_devices_runs():
    _, mapped, micro, _ = code_blocks("docs/many-devices.md")
    params = network()[0]
    batch = jax.tree.map(lambda x: x[0], batches(number=1, size=128))
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    scope = vars(ol) | {"jax": jax, "optax": optax, "mesh": mesh, "loss_fn": classification_loss}
    exec(mapped, scope)
    state = scope["tx"].init(params)
    first, _ = scope["step"](params, state, batch)
    assert classification_loss(first, batch) < classification_loss(params, batch)
    scope |= {"batch": batch, "params": params}
    exec(micro.split("parts =")[0], scope)
    scope["state"] = scope["tx"].init(params)
    exec(micro, scope)
    assert jax.tree.structure(scope["updates"]) == jax.tree.structure(params)


def test_every_page_with_code_has_a_test_that_runs_it():
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for page in ["README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]:
        if code_blocks(page):
            assert pathlib.Path(page).name in tests, page


def test_links_between_the_pages_lead_somewhere():
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
