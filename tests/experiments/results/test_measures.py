"""``python -m experiments.analyze``: its numbers are the library's at the checkpoint's weights."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments.results.measures import MEASURES, data
from experiments.results.table import unpack
from experiments.training.checkpoints import Checkpoints
from experiments.training.setup import make_run
from optax_lookbehind import sam_perturbation, sharpness
from tests.support.analyzed_runs import analysis_of, config_of, opened
from tests.support.dense_model import Dense


@pytest.fixture
def found(analyzed):
    """The JSON of an analysis of all runs."""
    return json.loads((analyzed / "analysis.json").read_text())


def of_run(found, path):
    """Measure -> table of a run."""
    (run,) = (run for run in found["runs"] if run["path"] == str(path))
    return {name: unpack(packed) for name, packed in run["measures"].items()}


def values(table, metric, **at):
    """The values of a metric, in the order of the table."""
    return [row["value"] for row in table.where(metric=metric, **at)]


def value(table, metric, **at):
    (found,) = values(table, metric, **at)
    return found


def trained(runs, name):
    """Weights and statistics, read as the training does."""
    trainer, _ = make_run(config_of(name))
    with Checkpoints(runs[name] / "checkpoints") as saved:
        state = saved.restore(trainer.abstract_state).state
    # From the eight devices of the run to one.
    return jax.tree.map(lambda x: jnp.asarray(np.asarray(x)), (state.params, state.batch_stats))


def dense(params, statistics):
    graphdef = nnx.graphdef(Dense(10, 1, dtype=jnp.float32, rngs=nnx.Rngs(0)))
    return nnx.merge(graphdef, params, statistics, copy=True)


def loss_with(statistics, mode="eval"):
    """The loss written afresh, with the statistics in its closure."""

    def loss(params, batch):
        images, labels = batch
        model = dense(params, statistics)
        getattr(model, mode)()
        return -jax.nn.log_softmax(model(images))[jnp.arange(len(labels)), labels].mean()

    return loss


def minibatches(name, m=128):
    loaded = data.load(config_of(name), 512, 100)
    images, labels = loaded.train
    images = (images - loaded.info.mean) / loaded.info.std
    return images.reshape(-1, m, 8, 8, 1), labels.reshape(-1, m)


def assert_sharpness(measured, loss, params, batches, steps=1):
    for ball, radii in ("sam", [0.05, 0.1]), ("asam", [0.5]):
        expected = sharpness.m_sharpness(loss, params, batches, radii, ball, steps)
        curve = [value(measured, f"{ball}_sharpness", radius=radius) for radius in radii]
        np.testing.assert_allclose(curve, expected, rtol=1e-3)
    losses = jax.lax.map(lambda batch: loss(params, batch), batches)
    np.testing.assert_allclose(value(measured, "loss"), losses.mean(), rtol=1e-5)


def test_m_sharpness_in_evaluation_mode(runs, found):
    params, statistics = trained(runs, "sgd-0")
    measured = of_run(found, runs["sgd-0"])["m_sharpness"]
    assert_sharpness(measured, loss_with(statistics), params, minibatches("sgd-0"))


def test_m_sharpness_with_the_statistics_of_minibatches(runs, tmp_path):
    params, statistics = trained(runs, "sgd-0")
    flags = ["--measures=m_sharpness", "--batchnorm=batch", "--steps=2", "--m=64"]
    measured = of_run(analysis_of([runs["sgd-0"]], tmp_path, *flags), runs["sgd-0"])["m_sharpness"]
    loss = loss_with(statistics, "train")
    assert_sharpness(measured, loss, params, minibatches("sgd-0", m=64), steps=2)


def test_curvature(runs, found):
    params, statistics = trained(runs, "k2")
    what = (loss_with(statistics), params, minibatches("k2"))
    measured = of_run(found, runs["k2"])["curvature"]
    top = sharpness.hessian_eigenvalues(*what, 2)
    np.testing.assert_allclose(values(measured, "eigenvalue"), top, rtol=1e-3)
    trace = sharpness.hessian_trace(*what, samples=2)
    np.testing.assert_allclose(value(measured, "trace"), trace.trace, rtol=1e-3)


def test_gradients_of_random_minibatches(runs, found):
    params, statistics = trained(runs, "sgd-1")
    measured = of_run(found, runs["sgd-1"])["gradient_noise"]
    variance, norms = value(measured, "variance"), values(measured, "minibatch_squared_norm")
    parts = value(measured, "squared_norm") + variance
    np.testing.assert_allclose(np.mean(norms), parts, rtol=1e-4)
    # All of the examples in one minibatch have the mean gradient, about.
    images, labels = minibatches("sgd-1", m=512)
    grads = jax.grad(loss_with(statistics))(params, (images[0], labels[0]))
    squared = float(sum(jnp.vdot(g, g) for g in jax.tree.leaves(grads)))
    assert value(measured, "squared_norm") == pytest.approx(squared, abs=3 * variance / 20)
    assert len(norms) == len(values(measured, "standardized_norm")) == 20


def test_noise_with_the_statistics_of_training_batches(runs, found):
    params, statistics = trained(runs, "sgd-0")
    images, _ = minibatches("sgd-0")
    hidden = (
        images.reshape(4, 128, 64) @ params["first"]["kernel"][...] + params["first"]["bias"][...]
    )
    statistics["norm"]["mean"][...] = hidden.mean(axis=1).mean(axis=0)
    statistics["norm"]["var"][...] = hidden.var(axis=1).mean(axis=0)
    model = dense(params, statistics)
    model.eval()
    loaded = data.load(config_of("sgd-0"), 512, 100)
    logits = model((loaded.test.images - loaded.info.mean) / loaded.info.std)
    measured = of_run(found, runs["sgd-0"])["weight_noise"]
    assert value(measured, "noisy_accuracy", sigma=0.0) == pytest.approx(
        (logits.argmax(-1) == loaded.test.labels).mean()
    )
    over_draws = values(measured, "noisy_accuracy_std")
    assert over_draws[0] == 0 < over_draws[1]


def test_landscape(runs, found):
    params, statistics = trained(runs, "sgd-0")
    what = (loss_with(statistics), params, minibatches("sgd-0"))
    one, two = (sharpness.filter_normalized_direction(key, params) for key in (0, 1))
    measured = of_run(found, runs["sgd-0"])["landscape"]
    line = sharpness.loss_line(*what, one, np.linspace(-1, 1, 41))
    np.testing.assert_allclose(values(measured, "line_loss"), line, rtol=1e-3)
    side = np.linspace(-1, 1, 3)
    plane = sharpness.loss_plane(*what, one, two, side, side)
    x, y, losses = measured.pivot("x", "y", "plane_loss")
    np.testing.assert_allclose(losses, plane, rtol=1e-3)
    assert x == y == side.tolist()
    # The group's first run only.
    assert not values(of_run(found, runs["sgd-1"])["landscape"], "plane_loss")


def test_interpolation_from_the_first_run_to_the_others(runs, found):
    (start, statistics), (end, _) = (trained(runs, name) for name in ("sgd-0", "k2"))
    measured = of_run(found, runs["k2"])["interpolation"]
    loss = loss_with(statistics, "train")
    coordinates = [row["coordinate"] for row in measured.where(metric="loss_between")]
    expected = sharpness.loss_between(loss, start, end, minibatches("k2"), coordinates)
    losses = np.array(values(measured, "loss_between", same_seed=True))
    np.testing.assert_allclose(losses, expected, rtol=1e-3)
    inside = (losses - np.interp(coordinates, [0, 1], losses[[5, 25]]))[5:26]
    assert value(measured, "barrier") == pytest.approx(inside.max(), abs=1e-6)
    for name in ("sgd-0", "other"):  # the first of all; one with other data
        assert "interpolation" not in of_run(found, runs[name])
    for seed in 1, 2:  # there is no other run of their seed
        others = of_run(found, runs[f"sgd-{seed}"])["interpolation"]
        assert others.distinct("same_seed") == [False]


def test_only_runs_of_one_architecture_are_interpolated(runs):
    first, second = (opened(runs[name]) for name in ("sgd-0", "k2"))
    applies = MEASURES["interpolation"].applies
    assert applies(second, [first, second])
    assert not applies(second, [first._replace(functions=None), second])


def test_alignment_at_every_checkpoint_with_the_runs_own_ascent(runs, found):
    params, statistics = trained(runs, "k3")
    expected = sharpness.alignment(
        loss_with(statistics), params, minibatches("k3"), sam_perturbation(0.1), 3
    )
    measured = of_run(found, runs["k3"])["alignment"]
    assert (value(measured, "rho"), value(measured, "k")) == (0.1, 3)
    assert [row["epoch"] for row in measured.where(metric="alpha")] == [1, 2]
    alpha, cosines = value(measured, "alpha", epoch=2), values(measured, "cosine", epoch=2)
    np.testing.assert_allclose(alpha, expected.alpha.mean(), rtol=1e-3)
    np.testing.assert_allclose(cosines, expected.cosines.mean(axis=0), rtol=1e-3)
    others = of_run(found, runs["sgd-0"])["alignment"]
    assert (value(others, "rho"), value(others, "k")) == (0.05, 5)


def test_training_is_what_was_logged(runs, found):
    measured = of_run(found, runs["sgd-0"])["training"]
    lines = (runs["sgd-0"] / "metrics.jsonl").read_text().splitlines()
    logged = {line["epoch"]: line["test_accuracy"] for line in map(json.loads, lines)}
    rows = measured.where(metric="test_accuracy")
    assert {row["epoch"]: row["value"] for row in rows} == logged


def test_lookahead_is_measured_at_its_slow_weights(runs):
    params, _ = trained(runs, "other")
    ours = jax.tree.leaves(opened(runs["other"]).params)
    for a, slow, fast in zip(
        ours, jax.tree.leaves(params.slow), jax.tree.leaves(params.fast), strict=True
    ):
        np.testing.assert_array_equal(a, slow)
        assert a.ndim == 1 or (a != fast).any()


def test_runs_that_differ_in_their_seed_are_one_group(runs, found):
    groups = {}
    for run in found["runs"]:
        groups.setdefault(run["group"], []).append(run["path"])
    names = ["SGD", "Lookbehind-SAM (k=2)", "Lookbehind-SAM (k=3)", "Lookahead-SAM"]
    assert list(groups) == names
    assert groups["SGD"] == [str(runs[f"sgd-{seed}"]) for seed in range(3)]


def test_three_seeds_compile_each_measure_once(runs, compilations):
    first, *others = (opened(runs[f"sgd-{seed}"]) for seed in range(3))
    everyone = [opened(runs["sgd-0"]), first, *others]  # so that the first has a reference
    quick = {
        "m_sharpness": {"radii": (0.05,), "asam_radii": (0.5,)},
        "weight_noise": {"sigmas": (0.0, 0.5), "draws": 2},
        "curvature": {"eigenvalues": 2, "samples": 2},
        "gradient_noise": {"minibatches": 20},
        "landscape": {"grid": 3},
    }
    jax.clear_caches()
    for name, measure in MEASURES.items():
        options = measure.defaults | quick.get(name, {})
        with compilations() as count:
            measure.compute(first, everyone, **options)
        assert (count[0] > 0) == (name != "training")
        with compilations() as count:
            for run in others:
                measure.compute(run, everyone, **options)
        assert count[0] == 0, name
