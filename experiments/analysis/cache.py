"""Results of measures on disk, so that an interrupted analysis resumes."""

import argparse
import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from experiments.analysis.groups import to_json_types
from experiments.analysis.measure import Measure, RunResult
from experiments.analysis.runs import Run
from experiments.storage import disk
from experiments.training import run_dir

# Options that every measure depends on.
_COMMON = ("batchnorm", "data_dir", "epoch", "examples", "m", "test_examples")


def measure_once(
    folder: Path,
    name: str,
    measure: Measure,
    run: Run,
    runs: Sequence[Run],
    options: argparse.Namespace,
) -> RunResult:
    """The result of a measure for a run: read from ``folder``, or computed and written there.

    A stored result is used only if the run, its checkpoint and the options that the measure depends
    on are the same, and, for measures of several runs, the other runs too.
    """
    key = to_json_types(
        {
            "measure": name,
            "run": str(run.path.resolve()),
            "epochs": [run.checkpoint.epoch, *run.kept_epochs],
            "config": json.loads(run.config.to_json()),
            "options": {dest: getattr(options, dest) for dest in _dependencies(measure)},
            "runs": [str(other.path.resolve()) for other in runs]
            if measure.depends_on_runs
            else None,
        }
    )
    text = json.dumps(key, sort_keys=True, default=str)
    file = folder / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
    with suppress(FileNotFoundError, ValueError):  # there is none, or it is damaged
        return run_dir.read_json(file)
    result = to_json_types(measure.compute(run, runs, options))
    file.parent.mkdir(parents=True, exist_ok=True)
    disk.write_text(file, json.dumps(result, allow_nan=False))
    # In the form that a later call reads: tuples become lists.
    return json.loads(json.dumps(result))


def _dependencies(measure: Measure) -> list[str]:
    """Names of the options that a measure depends on."""
    parser = argparse.ArgumentParser(add_help=False)
    measure.add_arguments(parser)
    return [*_COMMON, *vars(parser.parse_args([]))]
