"""Measures of finished runs, kept in the runs' folders."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from experiments.results.measures import MEASURES, SAMPLE
from experiments.results.measures.trained_run import open_run
from experiments.results.page import to_json_types, write_json
from experiments.results.runner import process_pending
from experiments.results.runs import Run
from experiments.results.table import Table, pack, unpack
from experiments.training import run_dir

_FOLDER = "measures"


class Measurement(NamedTuple):
    """A measure to take of a run.

    Attributes:
      run: the run.
      name: a name in ``MEASURES``.
      options: its options, and those of the sample to measure on, that differ from the defaults.
      data_dir: folder of the prepared datasets; None for that of the run.
    """

    run: Run
    name: str
    options: Mapping[str, Any]
    data_dir: str | None = None

    @property
    def path(self) -> Path:
        """The run's folder, which is locked while it is measured."""
        return self.run.path

    @property
    def size(self) -> float:
        """One measure, for the progress."""
        return 1.0

    @property
    def file(self) -> Path:
        """The file of the result."""
        options = json.dumps(to_json_types(self.options), sort_keys=True)
        digest = hashlib.sha256(options.encode()).hexdigest()[:8]
        return self.path / _FOLDER / f"{self.name}-{digest}.json"

    @property
    def is_done(self) -> bool:
        """Whether there is a result, or none is possible because the run diverged."""
        return self.run.diverged or self._stored() is not None

    def read(self) -> Table:
        """The result."""
        stored = self._stored()
        if stored is None:
            raise ValueError(f"{self.file} is missing or damaged.")
        return stored

    def take(self) -> None:
        """Measures the run and writes the result."""
        sample = {key: value for key, value in self.options.items() if key in SAMPLE}
        options = {key: value for key, value in self.options.items() if key not in SAMPLE}
        run = open_run(self.path, data_dir=self.data_dir, **sample)
        measure = MEASURES[self.name]
        table = measure.compute(run, [run], **(measure.defaults | options))
        self.file.parent.mkdir(exist_ok=True)
        write_json(self.file, pack(table))

    def _stored(self) -> Table | None:
        """The result, if there is a whole one."""
        try:
            return unpack(run_dir.read_json(self.file))
        except (FileNotFoundError, ValueError):
            return None


def take_all(measurements: Iterable[Measurement]) -> None:
    """Takes all measures that are missing, and waits for those that other processes are taking."""
    distinct = {each.file: each for each in measurements}
    process_pending(distinct.values(), Measurement.take, "measures")
