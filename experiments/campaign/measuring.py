"""Measures of finished runs, kept in the runs' folders."""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from experiments.analysis import MEASURES
from experiments.analysis.groups import to_json_types
from experiments.analysis.measure import RunResult
from experiments.analysis.options import parser
from experiments.analysis.runs import open_run
from experiments.campaign.execute import work_off
from experiments.campaign.runs import Run
from experiments.recipes.recipe import MeasureSpec
from experiments.reporting.progress import Progress
from experiments.training import run_dir

_FOLDER = "measures"


class Measurement(NamedTuple):
    """A measure to take of a run.

    Attributes:
      run: the run.
      measure: the measure and its options.
    """

    run: Run
    measure: MeasureSpec

    @property
    def path(self) -> Path:
        """The run's folder, which is locked while it is measured."""
        return self.run.path

    @property
    def file(self) -> Path:
        """The file of the result."""
        return self.run.path / _FOLDER / f"{_identity(self.measure)}.json"

    @property
    def is_done(self) -> bool:
        """Whether there is a result, or none is possible because the run diverged."""
        return self.run.diverged or self._stored() is not None

    def read(self) -> RunResult:
        """The result."""
        result = self._stored()
        if result is None:
            raise ValueError(f"{self.file} is missing or damaged.")
        return result

    def _stored(self) -> RunResult | None:
        """The result, if there is a whole one."""
        try:
            return next(iter(run_dir.read_lines(self.file)), None)
        except (FileNotFoundError, ValueError):
            return None


def measure_all(measurements: Iterable[Measurement], data_dir: str | None) -> None:
    """Takes all measures that are missing, and waits for those that other processes are taking."""
    wanted = list({each.file: each for each in measurements}.values())
    missing = [each for each in wanted if not each.is_done]
    if not missing:
        return
    with Progress(len(missing), "measures") as progress:

        def measure(each: Measurement) -> None:
            progress.start(f"{each.measure.name} of {each.path.name}")
            _measure(each, data_dir)
            progress.end()

        work_off(missing, lambda each: each.is_done, measure)


def _measure(each: Measurement, data_dir: str | None) -> None:
    options = _options(each.run.path, each.measure.options, data_dir)
    run = open_run(each.run.path, options)
    measure = MEASURES[each.measure.name]
    each.file.parent.mkdir(exist_ok=True)
    run_dir.write_lines(each.file, [to_json_types(measure.compute(run, [run], options))])


def _options(path: Path, options: Sequence[str], data_dir: str | None) -> argparse.Namespace:
    words = [str(path), *options]
    return parser().parse_args(words if data_dir is None else [*words, f"--data_dir={data_dir}"])


def _identity(measure: MeasureSpec) -> str:
    """A readable file name for a measure with its options."""
    options = [option.lstrip("-").replace(",", "+") for option in measure.options]
    return "_".join([measure.name, *options])[:200]
