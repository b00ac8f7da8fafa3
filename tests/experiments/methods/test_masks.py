"""The weights that SAM-ON perturbs."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

import optax_lookbehind as ol
from experiments import models
from experiments.methods.masks import normalization


def abstract_model(name):
    def build():
        return models.build(name, 10, 3, image_size=32, dtype="float32", rngs=nnx.Rngs(0))

    return nnx.eval_shape(build)


@pytest.mark.parametrize("name", ["resnet20", "resnet18", "vit_s4"])
def test_the_scales_and_shifts_of_all_normalization_layers_are_selected(name):
    model = abstract_model(name)
    mask = normalization(nnx.state(model, nnx.Param))
    selected = sum(jax.tree.leaves(mask))
    layers = [
        m for _, m in nnx.iter_modules(model) if isinstance(m, (nnx.BatchNorm, nnx.LayerNorm))
    ]
    assert selected == 2 * len(layers) > 0


def test_sam_on_leaves_the_other_weights_of_a_model_in_place():
    params = nnx.state(abstract_model("resnet20"), nnx.Param)
    params = jax.tree.map(lambda x: jnp.ones(x.shape, x.dtype), params)
    rule = ol.masked_perturbation(ol.sam_perturbation(0.5), normalization)
    e, _ = rule.update(params, rule.init(params), params)
    moved = jax.tree.map(lambda x: bool(jnp.any(x != 0)), e)
    assert jax.tree.leaves(moved) == jax.tree.leaves(normalization(params))
    assert jax.tree.structure(e) == jax.tree.structure(params)
