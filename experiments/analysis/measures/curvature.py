"""Largest eigenvalues and trace of the Hessian of the training loss."""

import argparse
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from matplotlib.figure import Figure

from experiments.analysis import figures
from experiments.analysis.measure import Drawing, Entry, GroupResult, Measure, RunResult
from experiments.analysis.runs import Run
from optax_lookbehind import sharpness


def _add_arguments(parser: Any) -> None:
    parser.add_argument(
        "--eigenvalues",
        type=int,
        default=5,
        metavar="N",
        help="number of eigenvalues (%(default)s)",
    )
    parser.add_argument(
        "--samples",
        type=int,
        default=30,
        metavar="N",
        help="random vectors for the trace (%(default)s)",
    )


def _unavailable_reason(_: Sequence[Run]) -> str | None:
    if find_spec("matfree"):
        return None
    return 'needs Matfree: pip install "optax-lookbehind[curvature]"'


def _compute(run: Run, _: Sequence[Run], options: argparse.Namespace) -> RunResult:
    loss, params, batches = run.functions.loss, run.params, run.batches
    trace = sharpness.hessian_trace(loss, params, batches, samples=options.samples)
    return {
        "eigenvalues": sharpness.hessian_eigenvalues(loss, params, batches, options.eigenvalues),
        "trace": trace.trace,
        "trace_standard_error": trace.standard_error,
    }


def _entries(_: argparse.Namespace) -> list[Entry]:
    return [
        Entry("top Hessian eigenvalue", lambda result: result["eigenvalues"][0]),
        Entry("Hessian trace", lambda result: result["trace"]),
    ]


def _draw(results: Sequence[GroupResult], options: argparse.Namespace) -> Figure:
    figure, (top, trace) = figures.panels(2)
    ranks = range(1, options.eigenvalues + 1)
    for result in results:
        figures.curve(top, result, ranks, "eigenvalues")
    top.set(xlabel="rank", ylabel="eigenvalue of the Hessian", xticks=ranks)
    figures.dot_rows(trace, results, lambda run: run["trace"])
    trace.set(xlabel="trace of the Hessian")
    figures.legend(figure, results)
    return figure


def _method_note(options: argparse.Namespace) -> str:
    return (
        "Hessian of the mean training loss: eigenvalues by Lanczos iteration, trace by "
        f"Hutchinson's estimator with {options.samples} random vectors."
    )


MEASURE = Measure(
    _compute,
    averaged=("eigenvalues", "trace", "trace_standard_error"),
    shared=(),
    drawings=[
        Drawing(
            "curvature",
            "Curvature",
            _draw,
            "The eigenvalues are the curvatures along the sharpest directions, the trace is the "
            "sum of all eigenvalues; lower is flatter.",
            _method_note,
        )
    ],
    entries=_entries,
    add_arguments=_add_arguments,
    unavailable_reason=_unavailable_reason,
)
