"""Measuring trained models and drawing the papers' figures. A new measure is a file and a row."""

from collections.abc import Mapping

from experiments.analysis.measure import Measure
from experiments.analysis.measures import alignment, curvature, landscape, m_sharpness
from experiments.analysis.measures import gradient_noise as gradients
from experiments.analysis.measures import interpolation as between
from experiments.analysis.measures import training_curves as training
from experiments.analysis.measures import weight_noise as noise

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
