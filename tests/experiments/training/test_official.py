"""Our training step against a PyTorch loop that does what the authors' loop does."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments import models
from experiments.data import Dataset, Examples
from experiments.data.dataset import info_of
from experiments.data.pipeline import gather
from experiments.methods.optimizers import read_optimizer
from experiments.parallel.mesh import batch_sharding, make_mesh
from experiments.parallel.microbatches import Parts
from experiments.tasks.table import classification_task
from experiments.training.phases import read_phases
from experiments.training.trainer import make_trainer

GOLDEN = Path(__file__).parents[2] / "golden" / "official_loop.json"


class Net(nnx.Module):
    """A convolution with a bias, ReLU, mean, linear classifier, in float64."""

    def __init__(self, num_classes, channels, *, dtype, rngs):
        del dtype
        double = {"dtype": jnp.float64, "param_dtype": jnp.float64, "rngs": rngs}
        self.conv = nnx.Conv(channels, 6, (3, 3), padding=1, **double)
        self.classifier = nnx.Linear(6, num_classes, **double)

    def __call__(self, x):
        return self.classifier(nnx.relu(self.conv(x)).mean((1, 2)))


@pytest.fixture
def config(config, monkeypatch, float64):
    monkeypatch.setitem(models.MODELS, "net", Net)
    config.update(
        model="net",
        method="lookbehind_sam:k=2,rho=0.05,alpha=adaptive_per_tensor",
        learning_rate=0.05,
        schedule="step",
        momentum=0.9,
        weight_decay=5e-4,
        epochs=8,
        batch_size=8,
        augment=False,
    )
    return config


@pytest.fixture
def golden():
    """Weights in PyTorch's order and layout before and after steps on rows of the examples."""
    recorded = json.loads(GOLDEN.read_text(encoding="utf-8"))
    return {name: [np.array(x) for x in arrays] for name, arrays in recorded.items()}


@pytest.fixture
def dataset():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 4, (32, 6, 6, 2), dtype=np.uint8)
    examples = Examples(images, rng.integers(0, 3, 32, dtype=np.int32))
    return Dataset(examples, examples, 3, mean=np.float32([1, 2]), std=np.float32([1, 1]))


def ours(theirs):
    """PyTorch's weights in our layout."""
    kernel, bias, classifier, offset = map(jnp.asarray, theirs)
    return {
        "conv": {"kernel": kernel.transpose(2, 3, 1, 0), "bias": bias},
        "classifier": {"kernel": classifier.T, "bias": offset},
    }


def test_steps_are_those_of_the_official_loop(config, dataset, golden):
    mesh = make_mesh(1)
    task = classification_task(config, info_of(dataset))
    methods = (read_phases(config), read_optimizer(config), Parts())
    trainer = make_trainer(
        config, task, config.epochs * len(dataset.train.labels) // 8, *methods, mesh
    )
    state = trainer.init(jax.random.key(0))
    nnx.replace_by_pure_dict(state.params, ours(golden["start"]))
    for rows in golden["rows"]:
        state, _ = trainer.phases[0].step(state, gather(dataset.train, rows, batch_sharding(mesh)))
    end = nnx.to_pure_dict(state.params)
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=0, atol=1e-10), end, ours(golden["end"])
    )


def test_the_official_loop_leads_where_it_was_recorded_to_lead(dataset, golden):
    pytest.importorskip("torch")
    from tests.support import official_loop

    np.testing.assert_array_equal(official_loop.examples()[0], dataset.train.images)
    end = official_loop.train(golden["start"], golden["rows"])
    for now, recorded in zip(end, golden["end"], strict=True):
        np.testing.assert_allclose(now, recorded, rtol=0, atol=1e-12)
