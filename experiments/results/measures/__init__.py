"""Measures of trained models, and how they are drawn.

A new measure is a file of this folder and a row here.
"""

from collections.abc import Mapping

from experiments.results.measures import (
    alignment,
    curvature,
    gradient_epochs,
    gradient_noise,
    interpolation,
    landscape,
    m_sharpness,
    training_curves,
    weight_noise,
)
from experiments.results.measures.measure import Measure, Option

# In the order of the report.
MEASURES: Mapping[str, Measure] = {
    "training": training_curves.MEASURE,
    "m_sharpness": m_sharpness.MEASURE,
    "weight_noise": weight_noise.MEASURE,
    "curvature": curvature.MEASURE,
    "gradient_noise": gradient_noise.MEASURE,
    "gradient_epochs": gradient_epochs.MEASURE,
    "landscape": landscape.MEASURE,
    "interpolation": interpolation.MEASURE,
    "alignment": alignment.MEASURE,
}

# The data that all of them measure on; further arguments of `trained_run.open_run`.
SAMPLE: Mapping[str, Option] = {
    "examples": Option(2048, "maximum number of training examples"),
    "test_examples": Option(10_000, "maximum number of test examples"),
    "m": Option(None, "minibatch size; default: the batch_size of the run"),
    "batchnorm": Option(
        "running", "statistics: running ones of the checkpoint, or of each minibatch (batch)"
    ),
}
