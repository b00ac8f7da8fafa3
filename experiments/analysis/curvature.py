"""The Hessian's largest eigenvalues and its trace."""

import argparse
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from experiments.analysis.measure import Column, Measure, Result
from experiments.analysis.runs import Run
from optax_lookbehind import sharpness


def _add_arguments(parser: Any) -> None:
    parser.add_argument(
        "--eigenvalues", type=int, default=5, metavar="N", help="how many (%(default)s)"
    )
    parser.add_argument(
        "--samples",
        type=int,
        default=30,
        metavar="N",
        help="random vectors for the trace (%(default)s)",
    )


def _why_not(_: Sequence[Run]) -> str | None:
    if find_spec("matfree"):
        return None
    return 'it needs Matfree: pip install "optax-lookbehind[curvature]"'


def _compute(run: Run, _: Sequence[Run], options: argparse.Namespace) -> Result:
    loss, params, batches = run.functions.loss, run.params, run.batches
    trace = sharpness.hessian_trace(loss, params, batches, samples=options.samples)
    return {
        "eigenvalues": sharpness.hessian_eigenvalues(loss, params, batches, options.eigenvalues),
        "trace": trace.trace,
        "trace_standard_error": trace.standard_error,
    }


def _columns(_: argparse.Namespace) -> list[Column]:
    return [
        Column("top Hessian eigenvalue", lambda result: result["eigenvalues"][0]),
        Column("Hessian trace", lambda result: result["trace"]),
    ]


MEASURE = Measure(
    _compute,
    averaged=("eigenvalues", "trace", "trace_standard_error"),
    shared=(),
    drawings=(),
    columns=_columns,
    add_arguments=_add_arguments,
    why_not=_why_not,
)
