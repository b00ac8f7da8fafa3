"""Models by name: sizes, names, and what every family has in common."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.extend.core import jaxprs_in_params

from experiments import models
from experiments.models.pyramidnet import PyramidNet
from experiments.models.resnet import Bottleneck, ResNet, ZeroPadding
from experiments.models.vit import ViT
from experiments.models.wide_resnet import WideResNet

TINY = {
    "resnet": partial(ResNet, widths=(4, 8), blocks=(1, 1)),
    "resnet, bottlenecks and ImageNet stem": partial(
        ResNet, widths=(4, 8), blocks=(1, 1), block=Bottleneck, imagenet_stem=True
    ),
    "resnet, option A": partial(ResNet, widths=(4, 8), blocks=(1, 1), shortcut=ZeroPadding),
    "wide resnet": partial(WideResNet, depth=10, width=1),
    "pyramidnet": partial(PyramidNet, depth=8, alpha=6),
    "vit": partial(ViT, image_size=8, patch_size=4, width=8, depth=1, heads=2),
}


def build_shapes(name, num_classes=10, channels=3, **kwargs):
    build = partial(models.build, name, num_classes, channels, **kwargs)
    return nnx.eval_shape(lambda: build(rngs=nnx.Rngs(0)))


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("resnet18", 11_173_962),
        ("resnet34", 21_282_122),
        ("resnet50", 23_520_842),
        ("resnet20", 269_722),
        ("resnet32", 464_154),
        ("wrn28_2", 1_467_610),
        ("wrn28_10", 36_479_194),
        ("pyramidnet110", 28_485_477),
        ("vgg11", 9_231_114),
        ("vgg16", 14_728_266),
    ],
)
def test_parameter_counts_on_cifar_10_are_the_published_ones(name, parameters):
    assert count_parameters(build_shapes(name)) == parameters


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("resnet18_imagenet", 11_689_512),
        ("resnet34_imagenet", 21_797_672),
        ("resnet50_imagenet", 25_557_032),
        ("vit_s16", 22_050_664),
        ("vit_b16", 86_567_656),
    ],
)
def test_parameter_counts_on_imagenet_are_the_published_ones(name, parameters):
    model = build_shapes(name, num_classes=1000, image_size=224)
    assert count_parameters(model) == parameters


def count_parameters(model):
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))


@pytest.mark.parametrize(
    ("name", "image_size", "channels"),
    [
        ("resnet_digits", 8, 1),
        ("resnet18", 33, 3),
        ("resnet50_imagenet", 65, 3),
        ("resnet20", 28, 1),
        ("wrn16_1", 33, 3),
        ("vit_s4", 28, 1),
        ("vit_b7", 28, 1),
    ],
)
def test_any_image_size_channels_and_class_count(name, image_size, channels):
    model = build_shapes(name, 7, channels, image_size=image_size, dtype="bfloat16")
    images = jax.ShapeDtypeStruct((2, image_size, image_size, channels), jnp.float32)
    graphdef, state = nnx.split(model)
    logits = jax.eval_shape(lambda state, x: nnx.merge(graphdef, state)(x), state, images)
    assert (logits.shape, logits.dtype) == ((2, 7), jnp.float32)


@pytest.mark.parametrize("name", ["vgg", "resnet33", "wrn28", "wrn16_1_1", "vit_x16", "vit_s"])
def test_an_unknown_model_lists_the_valid_ones(name):
    valid = r".*resnet_digits, .*vit_s<patch>, wrn<depth>_<width>\."
    with pytest.raises(ValueError, match=rf"unknown model '{name}'.*; valid ones: {valid}"):
        models.build(name, 10, 1, rngs=nnx.Rngs(0))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wrn15_1", r"depth of a Wide ResNet must be 10, 16, .* got 15"),
        ("wrn4_1", r"depth of a Wide ResNet must be 10, 16, .* got 4"),
        ("wrn16_0", r"width of a Wide ResNet must be >= 1, got 0"),
        ("vit_s5", r"image_size must be a multiple of the patch size 5, got 32"),
        ("vit_s0", r"image_size must be a multiple of the patch size 0, got 32"),
    ],
)
def test_sizes_without_a_model_raise(name, message):
    with pytest.raises(ValueError, match=message):
        models.build(name, 10, 3, rngs=nnx.Rngs(0))


@pytest.mark.parametrize(("depth", "alpha"), [(9, 6), (2, 6), (8, -1)])
def test_a_pyramidnet_that_does_not_exist_raises(depth, alpha):
    with pytest.raises(ValueError, match=rf"of a PyramidNet must be .*, got ({depth}|{alpha})\."):
        PyramidNet(10, 3, depth=depth, alpha=alpha, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("name", TINY)
def test_equal_models_have_equal_definitions_so_that_nothing_is_compiled_twice(name):
    first, second = (
        nnx.graphdef(nnx.eval_shape(lambda: TINY[name](10, 3, rngs=nnx.Rngs(0)))) for _ in range(2)
    )
    assert first == second
    assert hash(first) == hash(second)


@pytest.mark.parametrize("dtype", [jnp.float32, pytest.param(jnp.bfloat16, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", TINY)
def test_a_step_has_finite_gradients_and_only_training_moves_the_statistics(name, dtype):
    graphdef, params, stats = nnx.split(make_tiny(name, dtype), nnx.Param, nnx.BatchStat)
    images = np.random.default_rng(1).normal(size=(4, 8, 8, 3)).astype(np.float32)

    def forward(params, images, train):
        model = nnx.merge(graphdef, params, stats, copy=True)
        model.train() if train else model.eval()
        return model(images), nnx.state(model, nnx.BatchStat)

    @compile_quickly
    def run(params, images):
        def loss_fn(params):
            logits, stats = forward(params, images, train=True)
            return jax.nn.logsumexp(logits, axis=-1).mean(), stats

        evaluated = [forward(params, x, train=False) for x in (images, images[:1])]
        return jax.grad(loss_fn, has_aux=True)(params), evaluated

    (grads, trained), ((together, kept), (alone, _)) = run(params, images)
    assert together.dtype == jnp.float32
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves((params, grads, trained)))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))
    assert all(np.any(leaf) for leaf in jax.tree.leaves(grads) if leaf.size > 300)
    assert all(moved(stats, trained))
    assert moved(stats, trained) or name == "vit"
    assert not any(moved(stats, kept))
    # An image's logits do not depend on the others in its batch.
    np.testing.assert_allclose(together[:1], alone, rtol=0.02, atol=1e-4)


def make_tiny(name, dtype):
    """A model with weights from NumPy: JAX's initializers take seconds to compile."""
    rng = np.random.default_rng(0)
    model = nnx.eval_shape(lambda: TINY[name](5, 3, dtype=dtype, rngs=nnx.Rngs(0)))
    graphdef, params, stats = nnx.split(model, nnx.Param, nnx.BatchStat)
    params = jax.tree.map(lambda x: jnp.asarray(rng.normal(0.2, 0.3, x.shape), x.dtype), params)
    stats = jax.tree.map(lambda x: jnp.asarray(rng.uniform(0.5, 1, x.shape), x.dtype), stats)
    return nnx.merge(graphdef, params, stats)


def compile_quickly(function):
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})


def moved(old, new):
    return [bool((a != b).any()) for a, b in zip(*map(jax.tree.leaves, (old, new)), strict=True)]


@pytest.mark.parametrize("name", TINY)
def test_bfloat16_computes_in_bfloat16_but_for_the_logits(name):
    model = nnx.eval_shape(lambda: TINY[name](5, 3, dtype=jnp.bfloat16, rngs=nnx.Rngs(0)))
    graphdef, state = nnx.split(model)
    images = jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.float32)
    program = jax.make_jaxpr(lambda state, x: nnx.merge(graphdef, state)(x))(state, images)
    products = [
        equation.invars[0].aval.dtype
        for equation in equations(program.jaxpr)
        if equation.primitive.name in ("conv_general_dilated", "dot_general")
    ]
    assert products[-1] == jnp.float32
    assert len(products) > 3
    assert all(dtype == jnp.bfloat16 for dtype in products[:-1])


def equations(jaxpr):
    for equation in jaxpr.eqns:
        yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from equations(inner)
