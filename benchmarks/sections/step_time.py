"""Time of a step relative to that of its gradients."""

import numpy as np
import optax

import optax_lookbehind as ol
from benchmarks import job as jobs
from benchmarks.setups import Setup
from benchmarks.tables import Row, Table
from benchmarks.timing import interleaved

RHO = 0.05
SGD = optax.sgd(0.01, momentum=0.9)

# Thresholds for which the run-time decision of AE-SAM always has the same outcome. With infinite
# ones the compiler would know the outcome and remove a branch.
ALWAYS, NEVER = -1e9, 1e9


def methods() -> dict[str, tuple[int, optax.GradientTransformation]]:
    """Name -> number of gradients per step, and the transformation in front of SGD."""
    return {
        "SGD": (1, optax.identity()),
        "SAM": (2, ol.sam(RHO)),
        "Multistep-SAM, k = 2": (3, ol.multistep_sam(2, RHO)),
        **{
            f"Lookbehind-SAM, k = {k}": (k + 1, ol.lookbehind_sam(k, RHO, "adaptive"))
            for k in (2, 5, 10)
        },
        "AE-SAM, SAM used": (2, ol.ae_sam(RHO, 1000, ALWAYS, ALWAYS)),
        "AE-SAM, SAM skipped": (1, ol.ae_sam(RHO, 1000, NEVER, NEVER)),
    }


def measure(setup: Setup) -> Table:
    """Measures every method on both models."""
    rows = [
        row
        for name, model in setup.models().items()
        for row in _measure_model(name, jobs.make_job(model, setup), setup.rounds)
    ]
    return Table(
        "Time per training step",
        rows,
        "Every method is followed by SGD with momentum. The unit of the fourth column is the time "
        "of the jitted gradient alone, measured in the same round; next to it the interquartile "
        "range over rounds.",
    )


def _measure_model(model: str, job: jobs.Job, rounds: int) -> list[Row]:
    costs = {name: gradients for name, (gradients, _) in methods().items()}
    runs = {
        name: jobs.run_steps(job, optax.chain(method, SGD))
        for name, (_, method) in methods().items()
    }
    seconds = interleaved({"gradient": jobs.run_gradient(job)} | runs, rounds)
    gradient = seconds.pop("gradient")
    rows: list[Row] = [_row(model, "one gradient", 1, gradient, gradient)]
    return rows + [
        _row(model, name, costs[name], times, gradient) for name, times in seconds.items()
    ]


def _row(model: str, name: str, gradients: int, times: np.ndarray, gradient: np.ndarray) -> Row:
    low, ratio, high = np.quantile(times / (gradients * gradient), (0.25, 0.5, 0.75))
    return {
        "model": model,
        "step": name,
        "gradients": gradients,
        "over its gradients": ratio,
        "IQR": f"{low:.2f} to {high:.2f}",
        "ms": 1e3 * np.median(times),
    }
