"""A user's own models, with dropout, and datasets, by import path."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments import data, models, train
from experiments.data import Examples
from experiments.tasks.classification import classification

MODEL, DATASET = "tests.support.own_model:OwnModel", "tests.support.own_model:load"


@pytest.fixture
def task():
    return classification(MODEL, (8, 8, 1), 10, np.zeros(1), np.ones(1))


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 16, (32, 8, 8, 1), dtype=np.uint8)
    return Examples(jnp.asarray(images), jnp.asarray(rng.integers(0, 10, 32)))


def test_an_own_model_on_an_own_dataset_trains_and_resumes(config, tmp_path, monkeypatch):
    config.update(model=MODEL, dataset=DATASET, method="lookbehind_sam", epochs=2)
    train.main(config, tmp_path / "run")
    lines = [json.loads(x) for x in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines[1]["train_loss"] < lines[0]["train_loss"]


def test_a_model_has_no_state_but_weights():
    model = models.build(MODEL, 10, 1, image_size=8, rngs=nnx.Rngs(0))
    graphdef, params = nnx.split(model, nnx.Param)
    assert graphdef is not None
    assert len(jax.tree.leaves(params)) == 4


def test_dropout_follows_the_key(task, batch):
    def loss(key, train=True):
        model = task.make_model(jax.random.key(0))
        model.train() if train else model.eval()
        return task.loss(model, batch, jax.random.key(key))[0]

    assert loss(1) == loss(1)
    assert loss(1) != loss(2)
    assert loss(1, train=False) == loss(2, train=False)
    assert loss(1) != loss(1, train=False)


def test_the_losses_of_the_examples_have_the_masks_of_the_loss(task, batch):
    def model():
        model = task.make_model(jax.random.key(0))
        model.train()
        return model

    key = jax.random.key(3)
    losses = task.example_losses(model(), batch, key)
    np.testing.assert_allclose(losses.mean(), task.loss(model(), batch, key)[0], rtol=1e-6)


def test_layers_have_masks_of_their_own():
    class Twice(nnx.Module):
        def __init__(self, rngs):
            self.first = nnx.Dropout(0.5, rngs=rngs)
            self.second = nnx.Dropout(0.5, rngs=rngs)

    model = Twice(nnx.Rngs(0))
    models.dropout.remove_streams(model)
    models.dropout.insert_streams(model, jax.random.key(0))
    model.train()
    x = jnp.ones(100)
    assert (model.first(x) != model.second(x)).any()


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("tests.support.own_model:laod", ["dataset", "has no attribute 'laod'"]),
        ("tests.support.own_model:load_nothing", ["must return a Dataset", "NoneType"]),
    ],
)
def test_an_import_path_that_leads_nowhere_raises(path, words):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        data.load(path)
    assert all(word in str(error.value) for word in words), error.value


def test_a_function_that_makes_no_model_raises():
    path = "tests.support.own_model:no_module"
    with pytest.raises(ValueError, match=f"'{path}' must return a Flax NNX module, got None"):
        models.build(path, 10, 1, rngs=nnx.Rngs(0))
