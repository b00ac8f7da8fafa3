import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optax_lookbehind.sharpness import noise_robustness, noisy_weights
from tests.support.errors import raises


def linear(params, batch):
    return jnp.mean(batch @ params["w"]) + params["b"]


PARAMS = {"w": jnp.array([1.0, -2.0, 0.5]), "b": jnp.array(0.25)}
BATCHES = jnp.asarray(np.random.default_rng(0).normal(size=(4, 6, 3)), jnp.float32)


def test_noise_multiplies_each_weight_independently():
    params = {"a": jnp.full((200, 100), 3.0), "b": jnp.full(20_000, -0.5), "zero": jnp.zeros(5)}
    noisy = noisy_weights(0, params, 0.2)
    a, b = noisy["a"].ravel() / 3, noisy["b"] / -0.5
    for factor in (a, b):
        np.testing.assert_allclose([factor.mean(), factor.std()], [1, 0.2], atol=0.005)
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.03
    np.testing.assert_array_equal(noisy["zero"], params["zero"])


def test_no_noise_changes_nothing():
    jax.tree.map(np.testing.assert_array_equal, noisy_weights(0, PARAMS, 0.0), PARAMS)


def test_noise_keeps_the_dtypes():
    params = {"a": jnp.ones(3, jnp.bfloat16), "b": jnp.ones(2)}
    noisy = noisy_weights(jax.random.key(1), params, 0.1)
    assert (noisy["a"].dtype, noisy["b"].dtype) == (jnp.bfloat16, jnp.float32)
    assert jnp.any(noisy["a"] != 1)


def test_on_a_linear_model_mean_and_deviation_are_the_closed_form():
    draws, sigmas = 4000, np.array([0.0, 0.1, 0.4])
    mean, std = noise_robustness(linear, PARAMS, BATCHES, sigmas, draws=draws)
    terms = np.append(np.asarray(BATCHES).mean((0, 1)) * PARAMS["w"], PARAMS["b"])
    expected = sigmas * np.linalg.norm(terms)
    np.testing.assert_allclose(mean, np.full(3, terms.sum()), atol=4 * expected[-1] / draws**0.5)
    np.testing.assert_allclose(std, expected, rtol=4 / (2 * draws) ** 0.5, atol=1e-6)


def test_every_draw_is_the_metric_at_noisy_weights():
    keys = jax.random.split(jax.random.key(7), 3)
    metrics = [
        np.mean([linear(noisy_weights(key, PARAMS, 0.3), batch) for batch in BATCHES])
        for key in keys
    ]
    mean, std = noise_robustness(linear, PARAMS, BATCHES, [0.3], draws=3, key=7)
    np.testing.assert_allclose(mean[0], np.mean(metrics), rtol=1e-5)
    np.testing.assert_allclose(std[0], np.std(metrics), rtol=1e-5)


def test_statistics_are_estimated_again_after_the_noise():
    # Centred by the statistics of the noisy weights, the model is blind to them.
    def statistics(params, data):
        return linear(params, data)

    def centred(params, batch, mean):
        return linear(params, batch) - mean

    data = BATCHES.reshape(-1, 3)
    robust = noise_robustness(
        centred, PARAMS, BATCHES, [0.1, 0.5], statistics_fn=statistics, statistics_data=data
    )
    np.testing.assert_allclose(robust.mean, [0, 0], atol=1e-6)
    np.testing.assert_allclose(robust.std, [0, 0], atol=1e-6)


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("sigmas", [0.1, -1], ("sigmas[1]", -1.0)),
        ("sigmas", [np.nan], ("sigmas[0]", np.nan)),
        ("draws", 0, ("draws", 0)),
        ("batches", (), ("batches", [])),
    ],
)
def test_bad_arguments_raise(name, value, shown):
    arguments = {"batches": BATCHES, "sigmas": [0.1]} | {name: value}
    with raises(*shown):
        noise_robustness(linear, PARAMS, **arguments)


def test_a_negative_sigma_raises():
    with raises("sigma", -0.1):
        noisy_weights(0, PARAMS, -0.1)
