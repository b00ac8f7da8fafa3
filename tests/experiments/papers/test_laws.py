"""The measurement of edges: its parts on a small budget, and its page."""

import jax.numpy as jnp
import numpy as np

from experiments.papers.laws import edges, page, training
from experiments.papers.laws.settings import settings


def test_a_setting_is_trained_and_compared_with_its_law():
    (setting,) = [s for s in settings() if s.name == "SAM"]
    row = edges.measure(training.squared_error(50), setting, steps=30)
    assert len(row["curvature"]) == len(row["predicted"]) == edges.SAMPLES
    np.testing.assert_allclose(
        row["ratio"], np.median(np.divide(row["curvature"], row["predicted"])[6:]), rtol=1e-12
    )
    assert row["lowest_ratio"] <= row["ratio"] <= row["highest_ratio"]


def test_the_spectrum_of_a_quadratic_is_its_curvatures():
    curvatures = jnp.array([3.0, 1.0, -2.0])
    loss = lambda w, batch: jnp.sum(curvatures * w**2) / 2
    problem = training.Problem(loss, jnp.ones(3), (jnp.zeros(1), jnp.zeros(1)))
    np.testing.assert_allclose(training.spectrum(problem, np.ones(3)), [3, 1, -2], rtol=1e-6)


def test_the_bounce_of_the_picture_ends_at_the_predicted_amplitude():
    result = edges.bounce()
    for name, amplitude in result["amplitude"].items():
        np.testing.assert_allclose(result["distance"][name][-1], amplitude, rtol=1e-3)
    assert result["distance"]["USAM"][-1] < 1e-4


def test_a_result_becomes_a_page_with_a_row_for_each_setting():
    problem = training.squared_error(50)
    sgd = [s for s in settings() if s.name == "SGD"]
    rows = [edges.measure(problem, s, steps=30) for s in sgd]
    text = page.markdown({"steps": 30, "edges": rows, "cross_entropy": rows})
    assert text.count("| SGD ") == 2
