"""What the loop and the branch of sharpness-aware steps cost on a GPU, in ten minutes at most.

    pip install -e ".[bench]" "jax[cuda12]"
    python -m benchmarks.gpu --out=runs/gpu
    XLA_FLAGS=--xla_gpu_enable_command_buffer= python -m benchmarks.gpu --out=runs/gpu-no-buffers

Writes Markdown and JSON after each model, and stops before a model when the time is over. Without
command buffers, by the flag of the second command, XLA launches every kernel from the host.
PyTorch is measured where it is installed. ``--toy`` runs everything in a minute on any machine.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from flax import nnx

import optax_lookbehind as ol
from benchmarks import job as jobs
from benchmarks.machine import describe
from benchmarks.sections import against_pytorch
from benchmarks.sections.step_time import ALWAYS, NEVER, RHO, SGD
from benchmarks.setups import ACCELERATOR, QUICK, Setup
from benchmarks.tables import Row, Table, write_tables
from benchmarks.timing import Run, interleaved
from experiments.models.sequence.gpt import GPT
from optax_lookbehind._core import ascent

_LOOKBEHIND = ol.lookbehind_sam(5, RHO, 0.5)
# Name -> gradients of a step, transformation in front of SGD, and form of the program.
_STEPS: Mapping[str, tuple[int, optax.GradientTransformation, str]] = {
    "SGD": (1, optax.identity(), ""),
    "SAM": (2, ol.sam(RHO), ""),
    "Lookbehind-SAM, k = 2": (3, ol.lookbehind_sam(2, RHO, 0.5), ""),
    "Lookbehind-SAM, k = 5": (6, _LOOKBEHIND, ""),
    "Lookbehind-SAM, k = 5, loop unrolled": (6, _LOOKBEHIND, "unrolled"),
    "Lookbehind-SAM, k = 5, flat weights": (6, _LOOKBEHIND, "flat"),
    "Lookbehind-SAM, k = 10": (11, ol.lookbehind_sam(10, RHO, 0.5), ""),
    "AE-SAM, SAM used": (2, ol.ae_sam(RHO, 1000, ALWAYS, ALWAYS), ""),
    "AE-SAM, SAM skipped": (1, ol.ae_sam(RHO, 1000, NEVER, NEVER), ""),
}
# Dense bfloat16 operations a second, from the data sheets.
_PEAKS = {"NVIDIA H200": 989e12, "NVIDIA H100 80GB HBM3": 989e12, "NVIDIA A100-SXM4-80GB": 312e12}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures one model after the other, and writes after each."""
    options = _parser().parse_args(arguments)
    start = time.perf_counter()
    setup = QUICK if options.toy else ACCELERATOR
    preamble = f"{describe(setup)} XLA_FLAGS: {os.environ.get('XLA_FLAGS', 'none')}."
    if options.toy:
        preamble += " Tiny models: the numbers are meaningless."
    tables: dict[str, Table] = {}
    for name, make in _jobs(setup).items():
        if time.perf_counter() - start > options.seconds:
            tables[name] = Table(name, [], "Not measured: the time was over.")
        else:
            tables[name] = _measure(name, make(), setup.rounds)
        write_tables(options.out, preamble, tables)
    if time.perf_counter() - start < options.seconds:
        tables["pytorch"] = against_pytorch.measure(setup)
        write_tables(options.out, preamble, tables)
    print((options.out / "results.md").read_text(encoding="utf-8"))


def _jobs(setup: Setup) -> dict[str, Callable[[], jobs.Job]]:
    """The jobs by title; each is made when its turn comes."""
    toy = setup is QUICK
    vit = setup if toy else setup._replace(vit=(384, 12, 6))
    return {
        f"ResNet, batches of {setup.batch}": lambda: jobs.make_job(setup.models()["ResNet"], setup),
        f"ViT of width {vit.vit[0]}, batches of {setup.batch}": lambda: jobs.make_job(
            vit.models()["ViT"], vit
        ),
        "GPT": lambda: _gpt_job(16, 1, 8, 2, setup) if toy else _gpt_job(768, 12, 1024, 8, setup),
    }


def _gpt_job(width: int, layers: int, length: int, batch: int, setup: Setup) -> jobs.Job:
    sizes: dict[str, Any] = {"length": length, "width": width, "heads": max(1, width // 64)}
    model = GPT(256, layers=layers, dtype=setup.compute, rngs=nnx.Rngs(0), **sizes)
    job = jobs.make_job(model, setup)
    tokens = jax.random.randint(jax.random.key(1), (batch, length + 1), 0, 256)
    return job._replace(batch=(tokens[:, :-1], tokens[:, 1:]))


def _measure(title: str, job: jobs.Job, rounds: int) -> Table:
    runs: dict[str, Run] = {"gradient": jobs.run_gradient(job)}
    for name, (_, method, form) in _STEPS.items():
        with _unrolled(form == "unrolled"):
            of_form = jobs.flat(job) if form == "flat" else job
            runs[name] = jobs.run_steps(of_form, optax.chain(method, SGD))
    seconds = interleaved(runs, rounds)
    gradient = seconds.pop("gradient")
    operations = (jobs.lower_gradient(job).compile().cost_analysis() or {}).get("flops", 0.0)
    peak = _PEAKS.get(jax.devices()[0].device_kind)
    rows = [
        _row(name, _STEPS[name][0], times, gradient, job, operations, peak)
        for name, times in seconds.items()
    ]
    return Table(
        title,
        rows,
        f"Medians of {rounds} rounds. A gradient takes {1e3 * np.median(gradient):.3g} ms, in the "
        f"same rounds, and {operations:.3g} operations by XLA's count; share of the peak: "
        "those of all gradients of a step, over the time and the device's dense bfloat16 peak.",
    )


def _row(
    name: str,
    gradients: int,
    times: np.ndarray,
    gradient: np.ndarray,
    job: jobs.Job,
    operations: float,
    peak: float | None,
) -> Row:
    seconds = float(np.median(times))
    low, ratio, high = np.quantile(times / (gradients * gradient), (0.25, 0.5, 0.75))
    return {
        "step": name,
        "gradients": gradients,
        "over its gradients": ratio,
        "IQR": f"{low:.2f} to {high:.2f}",
        "ms": 1e3 * seconds,
        "examples a second": len(job.batch[0]) / seconds,
        "share of the peak": gradients * operations / seconds / peak if peak else None,
    }


@contextmanager
def _unrolled(all_steps: bool) -> Iterator[None]:
    """Compiles the loops over inner steps unrolled, if ``all_steps``."""
    ascent.unroll = True if all_steps else 1
    try:
        yield
    finally:
        ascent.unroll = 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--toy", action="store_true", help="tiny models, to check that it works")
    parser.add_argument(
        "--seconds", type=float, default=540, help="begin no model after this (%(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/gpu"), help="folder for the results (%(default)s)"
    )
    return parser


if __name__ == "__main__":
    main()
