"""Measures of trained models, and the figures they are drawn in.

A new measure is a file in ``measures/`` and a row here.
"""

from collections.abc import Mapping

from experiments.analysis.measure import Measure
from experiments.analysis.measures import (
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
