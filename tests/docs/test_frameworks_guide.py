"""The programs of the guide to frameworks, run as they stand there."""

import pathlib
import re

import jax
import numpy as np
import optax
import pytest
from flax import nnx
from flax.training import train_state

import optax_lookbehind as ol

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "frameworks.md"
SECTIONS = PAGE.read_text(encoding="utf-8").split("\n## ")[1:]
BLOCKS = {s.partition("\n")[0]: re.findall(r"```python\n(.*?)```", s, re.S) for s in SECTIONS}
PROGRAMS = {
    name if i == 0 else f"{name}, block {i + 1}": block
    for name, blocks in BLOCKS.items()
    for i, block in enumerate(blocks)
}


def examples():
    """Images whose brightness depends on the label."""
    labels = np.arange(40) % 10
    noise = np.random.default_rng(0).normal(size=(40, 8, 8, 1))
    return (noise / 4 + labels[:, None, None, None] / 10).astype(np.float32), labels


def run(name):
    images, labels = examples()
    scope = {"images": images, "labels": labels}
    exec(compile(PROGRAMS[name], f"{PAGE.name}, {name}", "exec"), scope)
    return scope


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_program_trains(name):
    loss = run(name)["loss"]
    assert 0 < float(loss) < 0.98 * np.log(10)


def test_the_train_state_of_flax_itself_raises_with_what_to_override():
    params = {"w": np.ones(2, np.float32)}
    state = train_state.TrainState.create(apply_fn=None, params=params, tx=ol.sam(0.1))
    with pytest.raises(ValueError, match=r"(?s)^grad_fn is missing.*TrainState\.apply_gradients"):
        state.apply_gradients(grads=params, grad_fn=lambda params, i: params)


def test_the_page_has_every_framework():
    names = " ".join(PROGRAMS)
    for framework in ("Plain JAX", "NNX", "nnx.Optimizer", "TrainState", "Equinox", "Haiku"):
        assert framework in names


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_perturbed_passes_use_the_batch_dropout_key_and_mode_of_the_clean_pass(
    name, monkeypatch
):
    """What the program hands to ``tx.update`` has no problems, in its first and second step."""
    problems = []

    class Finished(Exception):
        pass

    def checked(method):
        def make(*args, **kwargs):
            tx = method(*args, **kwargs)

            def update(updates, state, params, *, grad_fn, **extra_args):
                problems.append(ol.check_grad_fn(grad_fn, params, updates, k=2))
                if len(problems) == 2:
                    raise Finished
                return tx.update(updates, state, params, grad_fn=grad_fn, **extra_args)

            return optax.GradientTransformationExtraArgs(tx.init, update)

        return make

    for method in ("sam", "lookbehind_sam"):
        monkeypatch.setattr(ol, method, checked(getattr(ol, method)))
    with jax.disable_jit(), pytest.raises(Finished):
        run(name)
    assert problems == [[], []]


def test_nnx_grad_by_diff_state_is_the_gradient_of_the_adapters():
    scope = run("Flax NNX, with `nnx.Optimizer`, block 2")
    model, x = scope["model"], np.ones((2, 64), np.float32)
    graphdef, adapters, rest = nnx.split(nnx.clone(model), nnx.LoRAParam, ...)
    loss_fn = lambda model: model(x).sum()
    by_state = nnx.grad(loss_fn, argnums=nnx.DiffState(0, nnx.LoRAParam))(model)
    by_split = jax.grad(lambda a: loss_fn(nnx.merge(graphdef, a, rest, copy=True)))(adapters)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), by_state, by_split)
