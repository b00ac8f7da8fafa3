"""SAMformer against an independent forward pass in NumPy, and its initial weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments.models.sequence.samformer import RevIN, SAMformer

LOOKBACK, HORIZON, CHANNELS, WIDTH = 12, 5, 3, 4


def make(attention=True, dtype=jnp.float32, **options):
    model = SAMformer(
        LOOKBACK,
        HORIZON,
        CHANNELS,
        width=WIDTH,
        attention=attention,
        dtype=dtype,
        rngs=nnx.Rngs(0),
        **options,
    )
    model.eval()
    return model


def with_random_weights(model):
    """Float64 weights of which none is 0 or 1, and by their names."""
    graphdef, weights = nnx.split(model)
    rng = np.random.default_rng(1)
    weights = jax.tree.map(lambda x: jnp.asarray(rng.normal(0.5, 0.3, x.shape)), weights)
    flat = {
        jax.tree_util.keystr(path, simple=True, separator="/").removesuffix("/value"): np.array(x)
        for path, x in jax.tree.leaves_with_path(weights)
    }
    return nnx.merge(graphdef, weights), flat


def forward(w, window, attention):
    """The prediction for one window ``[time, channel]``, channel by channel."""
    mean = np.array([sum(channel) / len(channel) for channel in window.T])
    variance = np.array([np.mean((c - m) ** 2) for c, m in zip(window.T, mean, strict=True)])
    deviation = np.sqrt(variance + 1e-5)
    tokens = ((window - mean) / deviation * w["norm/scale"] + w["norm/bias"]).T
    if attention:
        query, key, value = (
            tokens @ w[f"{name}/kernel"] + w[f"{name}/bias"] for name in ("query", "key", "value")
        )
        mixed = []
        for q in query:
            scores = np.exp([q @ k / np.sqrt(WIDTH) for k in key])
            mixed.append(sum(s * v for s, v in zip(scores / scores.sum(), value, strict=True)))
        tokens = tokens + np.array(mixed) @ w["out/kernel"] + w["out/bias"]
    y = (tokens @ w["head/kernel"] + w["head/bias"]).T
    return (y - w["norm/bias"]) / w["norm/scale"] * deviation + mean


@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.usefixtures("float64")
def test_the_model_is_its_formula(attention):
    model, weights = with_random_weights(make(attention, jnp.float64))
    windows = np.random.default_rng(2).normal(1, 2, (6, LOOKBACK, CHANNELS))
    expected = [forward(weights, window, attention) for window in windows]
    np.testing.assert_allclose(nnx.jit(type(model).__call__)(model, windows), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("horizon", "attention", "number"),
    [(96, True, 82_590), (192, True, 131_838), (720, True, 402_702), (96, False, 49_262)],
)
def test_the_published_sizes_have_their_numbers_of_weights(horizon, attention, number):
    model = nnx.eval_shape(
        lambda: SAMformer(512, horizon, 7, attention=attention, rngs=nnx.Rngs(0))
    )
    assert sum(x.size for x in jax.tree.leaves(nnx.state(model, nnx.Param))) == number


def test_initial_weights_are_those_of_keras_2():
    model = SAMformer(512, 96, 7, rngs=nnx.Rngs(0))
    for layer, limit in (
        (model.query, 0.02626),
        (model.key, 0.02626),
        (model.value, 0.02626),
        (model.out, 0.1066),
        (model.head, (6 / (512 + 96)) ** 0.5),
    ):
        kernel = np.abs(layer.kernel[...])
        np.testing.assert_allclose(kernel.max(), limit, rtol=2e-3)
        np.testing.assert_allclose(kernel.mean(), limit / 2, rtol=0.03)  # uniform
        assert not np.any(layer.bias[...])
    assert np.all(model.norm.scale[...] == 1)
    assert not np.any(model.norm.bias[...])


@pytest.mark.usefixtures("float64")
def test_revin_restores_what_it_normalized():
    norm = RevIN(CHANNELS)
    norm.scale[...] = jnp.array([0.5, 2.0, -1.0])
    norm.bias[...] = jnp.array([0.1, 0.0, 3.0])
    x = np.random.default_rng(0).normal(5, 3, (2, LOOKBACK, CHANNELS))
    np.testing.assert_allclose(norm.restore(*norm.normalize(x)), x, rtol=1e-12)


@pytest.mark.usefixtures("float64")
def test_permuted_channels_have_permuted_forecasts():
    x = np.random.default_rng(0).normal(size=(2, LOOKBACK, CHANNELS))
    predict = nnx.jit(lambda model, x: model(x))
    model, order = make(dtype=jnp.float64), [2, 0, 1]
    np.testing.assert_allclose(
        predict(model, x[..., order]), predict(model, x)[..., order], atol=1e-12
    )


def test_rows_of_attention_are_distributions_over_channels():
    weights = make().attention(
        jnp.asarray(np.random.default_rng(0).normal(size=(2, LOOKBACK, CHANNELS)))
    )
    assert weights.shape == (2, CHANNELS, CHANNELS)
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-6)


def test_dropout_drops_inputs_of_the_linear_map_in_training_only():
    model = make(attention=False, dropout=0.5)
    x = np.random.default_rng(0).normal(size=(1, LOOKBACK, CHANNELS)).astype(np.float32)
    np.testing.assert_array_equal(model(x), make(attention=False)(x))
    model.train()
    first, again, other = (model(x, nnx.Rngs(dropout=seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3
