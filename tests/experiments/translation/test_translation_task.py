from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import optax_lookbehind as ol
from experiments.data.text.buckets import Pairs
from experiments.data.text.tokens import PAD
from experiments.tasks.bleu import score
from experiments.tasks.translation import shift_right, smoothed_cross_entropy, translation
from experiments.training.state import TrainState
from experiments.training.step import _DROPOUT, StepConfig, train_step
from tests.experiments.translation.tiny import make_model, sentences

pytestmark = pytest.mark.usefixtures("float64")

EPS = 0.1


def pairs(lengths, width=8, seed=0):
    return Pairs(
        sentences(lengths, width, seed=seed), sentences(lengths[::-1], width, seed=seed + 1)
    )


def task_of(dropout=0.0):
    return translation(lambda key: make_model(dropout=dropout), label_smoothing=EPS)


def loss_of(task, model, batch):
    """Loss and accuracy as numbers."""
    loss, metrics = nnx.jit(task.loss)(model, batch, jax.random.key(0))
    return float(loss), float(metrics["accuracy"])


def test_smoothing_equals_a_dense_computation():
    """Against the sum over all tokens of target probability times -log probability, in NumPy."""
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(size=(2, 3, 7)) * 3, rng.integers(0, 7, (2, 3))
    dense = np.full((2, 3, 7), EPS / 6)
    np.put_along_axis(dense, targets[..., None], 1 - EPS, axis=-1)
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = -(dense * log_probs).sum(-1)
    np.testing.assert_allclose(smoothed_cross_entropy(logits, targets, EPS), expected, rtol=1e-12)


def test_without_smoothing_it_is_the_cross_entropy_of_optax():
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(size=(4, 7)), rng.integers(0, 7, 4)
    expected = optax.softmax_cross_entropy_with_integer_labels(jnp.asarray(logits), targets)
    np.testing.assert_allclose(smoothed_cross_entropy(logits, targets, 0.0), expected, rtol=1e-12)


def test_the_decoder_sees_the_predecessor_of_each_target_token():
    np.testing.assert_array_equal(shift_right(np.array([[5, 6, 2, 0]])), [[1, 5, 6, 2]])


def test_the_loss_is_the_mean_over_target_tokens():
    """Sentences alone, weighted by their length, against both in one batch."""
    model, task = make_model(), task_of()
    together, _ = loss_of(task, model, pairs([7, 3]))
    alone = [
        loss_of(task, model, Pairs(*(side[i : i + 1] for side in pairs([7, 3]))))[0] for i in (0, 1)
    ]
    assert together == pytest.approx((3 * alone[0] + 7 * alone[1]) / 10, rel=1e-10)


def test_rows_of_padding_change_nothing_and_are_finite():
    model, task = make_model(), task_of()
    batch = pairs([7, 3])
    padded = Pairs(*(np.pad(side, ((0, 2), (0, 3))) for side in batch))
    assert loss_of(task, model, padded) == pytest.approx(loss_of(task, model, batch), rel=1e-10)
    nothing, _ = loss_of(task, model, Pairs(*(np.zeros_like(side) for side in batch)))
    assert nothing == 0


def test_losses_of_sentences_average_to_the_loss():
    model, task = make_model(dropout=0.2), task_of()
    model.train()
    batch, key = pairs([7, 3, 5]), jax.random.key(0)
    losses = nnx.jit(task.example_losses)(model, batch, key)
    assert losses.shape == (3,)
    assert float(losses.mean()) == pytest.approx(loss_of(task, model, batch)[0], rel=1e-10)
    model.eval()


def test_evaluation_sums_over_tokens_without_smoothing():
    model, task = make_model(), translation(lambda key: make_model())
    batch = pairs([7, 3])
    sums = nnx.jit(task.evaluate)(model, batch)
    assert sums["examples"] == (batch.target != PAD).sum() == 10
    means = (float(sums["loss"]) / 10, float(sums["accuracy"]) / 10)
    assert means == pytest.approx(loss_of(task, model, batch), rel=1e-10)


def step_with(tx, batch, num_minibatches=1):
    """The weights after a training step with dropout, and the gradients of that step's loss.

    The loss is taken with the keys that a step should use.
    """
    task = task_of(dropout=0.3)
    graphdef, params = nnx.split(make_model(dropout=0.3))
    config = StepConfig(task, graphdef, tx, num_minibatches=num_minibatches)
    state = TrainState(params, nnx.State({}), tx.init(params), jax.random.key(3))
    after, _ = jax.jit(partial(train_step, config))(state, batch)

    @jax.jit
    def gradient(params, batch, key):
        def loss(params):
            model = nnx.merge(graphdef, params)
            model.train()
            return task.loss(model, batch, key)[0]

        return jax.grad(loss)(params)

    return params, after.params, gradient


def dropout_key():
    """Of the first step from ``jax.random.key(3)``."""
    return jax.random.fold_in(jax.random.split(jax.random.key(3))[1], _DROPOUT)


def assert_close(found, expected):
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        # jax.nn.dot_product_attention has its logits in float32; another mask changes first digits.
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6)


def moved(params, *directions_and_scales):
    for direction, scale in directions_and_scales:
        params = jax.tree.map(lambda w, g: w + scale * g, params, direction)
    return params


def test_clean_and_perturbed_gradients_have_one_dropout_mask():
    """SAM by hand, with one key for both gradients, against the training step."""
    rho, rate, batch, key = 0.1, 0.5, pairs([7, 3]), dropout_key()
    params, found, gradient = step_with(optax.chain(ol.sam(rho), optax.sgd(rate)), batch)
    ascent = gradient(params, batch, key)
    perturbed = moved(params, (ascent, rho / optax.tree.norm(ascent)))
    assert_close(found, moved(params, (gradient(perturbed, batch, key), -rate)))


def test_each_switched_minibatch_has_a_dropout_mask_of_its_own():
    """Lookbehind of two steps by hand: minibatch i and a key folded with i, for both gradients."""
    rho, rate, key = 0.1, 0.5, dropout_key()
    minibatches = [pairs([7, 3]), pairs([5, 6], seed=5)]
    tx = ol.lookbehind_sam(2, rho, 0.8, fast_optimizer=optax.sgd(rate), switch_minibatch=True)
    stacked = Pairs(*(np.stack(sides) for sides in zip(*minibatches, strict=True)))
    params, found, gradient = step_with(tx, stacked, num_minibatches=2)
    slow = fast = behind = params
    for i, batch in enumerate(minibatches):
        step_key = jax.random.fold_in(key, i)
        ascent = gradient(behind, batch, step_key)
        behind = moved(behind, (ascent, rho / optax.tree.norm(ascent)))
        fast = moved(fast, (gradient(behind, batch, step_key), -rate))
    expected = jax.tree.map(lambda w, f: w + 0.8 * (f - w), slow, fast)
    assert_close(found, expected)


def test_one_step_compiles_once_for_each_shape(compilations):
    task = task_of(dropout=0.1)
    graphdef, params = nnx.split(make_model(dropout=0.1))
    tx = optax.sgd(0.1)
    step = jax.jit(partial(train_step, StepConfig(task, graphdef, tx)))
    state = jax.device_put(TrainState(params, nnx.State({}), tx.init(params), jax.random.key(3)))
    batches = [pairs([4, 3], width) for width in (5, 8, 5, 8, 5)]
    with compilations() as count:
        for batch in batches:
            state, _ = step(state, batch)
    assert count[0] == 2


def test_scores_are_those_of_sacrebleu():
    scores = score(["The cat sat on the mat .", "a dog"], ["the cat sat on the mat .", "a dog"])
    assert 50 < scores.bleu < 100  # "The" is not "the"
    lower = score(["The cat sat on a mat"], ["the cat sat on a mat"], lowercase=True)
    assert lower.bleu == pytest.approx(100)
    assert lower.chrf == pytest.approx(100)
    assert "case:lc" in lower.signatures["bleu"]
    assert "version:" in lower.signatures["chrf"]
