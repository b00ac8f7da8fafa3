"""Largest eigenvalues and trace of the Hessian of the training loss."""

from collections.abc import Sequence
from importlib.util import find_spec

from experiments.results.measures import measure
from experiments.results.measures.measure import Measure, Number, Option
from experiments.results.measures.trained_run import TrainedRun
from experiments.results.table import Table, series
from optax_lookbehind import sharpness

_TOP = Number("top Hessian eigenvalue", "eigenvalue", {"rank": 1})
_TRACE = Number("Hessian trace", "trace")


def _unavailable(_: Sequence[TrainedRun]) -> str | None:
    if find_spec("matfree"):
        return None
    return 'needs Matfree: pip install "optax-lookbehind[curvature]"'


def _compute(run: TrainedRun, _: Sequence[TrainedRun], *, eigenvalues: int, samples: int) -> Table:
    subject = (run.functions.loss, run.params, run.batches)
    trace = sharpness.hessian_trace(*subject, samples=samples)
    top = sharpness.hessian_eigenvalues(*subject, eigenvalues)
    return Table(
        series("eigenvalue", top, rank=range(1, eigenvalues + 1))
        + series("trace", trace.trace)
        + series("trace_standard_error", trace.standard_error)
    )


MEASURE = Measure(
    _compute,
    [
        measure.Drawing(
            "curvature",
            "Curvature",
            "The eigenvalues are the curvatures along the sharpest directions, the trace is the "
            "sum of all eigenvalues; lower is flatter. Hessian of the mean training loss: "
            "eigenvalues by Lanczos iteration, trace by Hutchinson's estimator with {samples} "
            "random vectors.",
            lambda groups, options: [
                measure.curves(
                    "eigenvalue",
                    "rank",
                    xlabel="rank",
                    ylabel="eigenvalue of the Hessian",
                    xticks=range(1, options["eigenvalues"] + 1),
                ),
                measure.points(_TRACE, xlabel="trace of the Hessian"),
            ],
        )
    ],
    options={
        "eigenvalues": Option(5, "number of eigenvalues"),
        "samples": Option(30, "random vectors for the trace"),
    },
    numbers=lambda _: [_TOP, _TRACE],
    unavailable=_unavailable,
)
