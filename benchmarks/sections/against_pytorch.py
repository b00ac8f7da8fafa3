"""Comparison with PyTorch: the same ResNet, batch, precision and hardware."""

import importlib.util

import jax
import numpy as np

import optax_lookbehind as ol
from benchmarks import job as jobs
from benchmarks.sections.step_time import RHO, SGD
from benchmarks.setups import Setup
from benchmarks.tables import Row, Table
from benchmarks.timing import Run, interleaved

_K = 5
_TITLE = "Against PyTorch on the ResNet"
_EAGER, _COMPILED = "PyTorch", "torch.compile"


def measure(setup: Setup) -> Table:
    """Measures both frameworks, PyTorch in eager mode and compiled."""
    if importlib.util.find_spec("torch") is None:
        return Table(_TITLE, [], "PyTorch is not installed: not measured.")
    import torch

    from benchmarks.torch_baseline import job as torch_job

    device = "cpu" if jax.default_backend() == "cpu" else "cuda"
    if device == "cuda" and not torch.cuda.is_available():
        return Table(_TITLE, [], "The installed PyTorch has no GPU support: not measured.")
    note = (
        f"PyTorch {torch.__version__}, channels last. Its Lookbehind follows the authors' "
        f"implementation: {2 * _K} gradients a step instead of {_K + 1}."
    )
    gradients, steps = {}, {}
    gradients["JAX"], steps["JAX"] = _jax_runs(setup)
    gradients[_EAGER], steps[_EAGER] = torch_job.runs(setup, device, _K, RHO, compiled=False)
    try:
        compiled = torch_job.runs(setup, device, _K, RHO, compiled=True)
        compiled[1](1)
        gradients[_COMPILED], steps[_COMPILED] = compiled
    except Exception as error:  # no C++ compiler, unsupported Python version, ...
        note += f" {_COMPILED} did not run here: {type(error).__name__}."
    rows = [
        _row("one gradient", interleaved(gradients, setup.rounds)),
        _row(f"Lookbehind-SAM step, k = {_K}", interleaved(steps, setup.rounds)),
    ]
    return Table(_TITLE, rows, note)


def _jax_runs(setup: Setup) -> tuple[Run, Run]:
    job = jobs.make_job(setup.models()["ResNet"], setup)
    tx = ol.lookbehind_sam(_K, RHO, "adaptive_per_tensor", fast_optimizer=SGD)
    return jobs.run_gradient(job), jobs.run_steps(job, tx)


def _row(label: str, seconds: dict[str, np.ndarray]) -> Row:
    ours = seconds.pop("JAX")
    row: dict[str, str | float] = {"": label, "JAX, ms": 1e3 * np.median(ours)}
    for name, theirs in seconds.items():
        row[f"{name}, ms"] = 1e3 * np.median(theirs)
        row[f"{name} over JAX"] = np.median(theirs / ours)
    return row
