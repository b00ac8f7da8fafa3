"""Measures the cost of sharpness-aware steps on this machine and writes the tables.

python -m benchmarks.run [--quick] [--only NAME ...] [--out FOLDER] [--update-docs]
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import jax

from benchmarks.machine import describe, keep_freed_memory
from benchmarks.sections import (
    against_optax,
    against_pytorch,
    compilation,
    compiled,
    kernels,
    policies,
    scaling,
    step_time,
    translation,
)
from benchmarks.setups import Setup, choose_setup
from benchmarks.tables import Table, update_page, write_tables

SECTIONS: dict[str, Callable[[Setup], Table]] = {
    "steps": step_time.measure,
    "compile": compilation.measure,
    "optax": against_optax.measure,
    "pytorch": against_pytorch.measure,
    "scaling": scaling.measure,
    "compiled": compiled.measure,
    "kernels": kernels.measure,
    "policies": policies.measure,
    "translation": translation.measure,
}
_COMPILED = {"compiled", "kernels", "policies"}  # the same on every machine
_PAGE = Path(__file__).parents[1] / "docs" / "performance.md"


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the requested sections, saving after each."""
    options = _parser().parse_args(arguments)
    jax.config.update("jax_enable_compilation_cache", False)
    # Otherwise independent calls, such as gradients, run in parallel on the cores.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    setup = choose_setup(options.quick)
    machine = describe(setup)
    if jax.default_backend() == "cpu":
        kept = "kept by" if keep_freed_memory() else "not kept by"
        machine += f" Freed memory is {kept} the process."
    if options.quick:
        machine += " A quick run: its numbers are meaningless."
    print(machine, flush=True)
    tables: dict[str, Table] = {}
    for name in options.only:
        start = time.perf_counter()
        tables[name] = SECTIONS[name](setup)
        seconds = time.perf_counter() - start
        print(f"\n{tables[name].markdown()}\n\n({name}: {seconds:.0f} s)", flush=True)
        write_tables(options.out, machine, tables)
    if options.update_docs:
        parts = {name: table.markdown() for name, table in tables.items()}
        if parts.keys() - _COMPILED:
            parts["machine"] = machine
        backend = jax.default_backend()
        update_page(_PAGE, {f"{backend} {name}": part for name, part in parts.items()})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks.run", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="tiny models, to check that everything works"
    )
    parser.add_argument(
        "--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), metavar="NAME",
        help=f"sections to run, of {', '.join(SECTIONS)}",
    )  # fmt: skip
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/benchmarks"),
        help="folder for Markdown and JSON (%(default)s)",
    )
    parser.add_argument(
        "--update-docs", action="store_true", help="put the tables into docs/performance.md"
    )
    return parser


if __name__ == "__main__":
    main()
