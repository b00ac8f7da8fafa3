"""Measuring trained models and drawing the papers' figures. A new measure is a file and a row."""

from collections.abc import Mapping

from experiments.analysis import (
    alignment,
    between,
    curvature,
    gradients,
    landscape,
    m_sharpness,
    noise,
    training,
)
from experiments.analysis.measure import Measure

# In the order of the report.
MEASURES: Mapping[str, Measure] = {
    "training": training.MEASURE,
    "m_sharpness": m_sharpness.MEASURE,
    "noise": noise.MEASURE,
    "curvature": curvature.MEASURE,
    "gradients": gradients.MEASURE,
    "landscape": landscape.MEASURE,
    "between": between.MEASURE,
    "alignment": alignment.MEASURE,
}
