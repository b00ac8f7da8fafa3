"""An analysis: measures of given runs, averaged over seeds, as a report, figures and JSON."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from experiments.methods import spec
from experiments.methods.table import method
from experiments.results import figures, tables
from experiments.results.groups import RunGroup
from experiments.results.markdown import markdown_table
from experiments.results.measures import MEASURES
from experiments.results.measures.measure import Drawing, Group, Options
from experiments.results.measures.trained_run import TrainedRun
from experiments.results.page import to_json_types, write_json
from experiments.results.table import Table, concatenate, pack, unpack
from experiments.storage import disk
from experiments.training import run_dir
from experiments.training.phases import read_phases
from experiments.training.provenance import Provenance

NUMBERS, REPORT, CACHE = "analysis.json", "report.md", "measures"
_MANY_GROUPS = 4  # more are rows of the table, not columns


class Analysis(NamedTuple):
    """The results of all measures.

    Attributes:
      groups: the runs, grouped by config.
      results: measure -> folder of a run -> its table; a measure may not apply to a run.
      options: measure -> its options.
      sample: what was measured on, as keyword arguments of ``open_run``.
      skipped: measures that could not be taken -> reason.
      made: how the analysis was made.
    """

    groups: Sequence[RunGroup]
    results: Mapping[str, Mapping[Path, Table]]
    options: Mapping[str, Options]
    sample: Options
    skipped: Mapping[str, str]
    made: Provenance

    def measured(self, name: str) -> list[Group]:
        """The groups that have results of a measure."""
        methods = [method(group.runs[0].config.method).name for group in self.groups]
        found = []
        for group, style in zip(self.groups, figures.styles(methods), strict=True):
            runs = [run for run in group.runs if run.path in self.results[name]]
            if runs:
                table = concatenate(
                    self.results[name][run.path].with_columns(seed=run.config.seed) for run in runs
                )
                found.append(Group(group.name, style, table))
        return found


def measure_once(
    folder: Path,
    name: str,
    run: TrainedRun,
    runs: Sequence[TrainedRun],
    options: Options,
    sample: Options,
) -> tuple[Table, bool]:
    """The table of a measure of a run, and whether it was not found in ``folder`` but computed.

    A stored result counts only for the same run, checkpoints, options and sample, and, for measures
    that compare runs, the same other runs.
    """
    measure = MEASURES[name]
    key = {
        "measure": name,
        "run": str(run.path.resolve()),
        "config": run_dir.identity(run.config),
        "epochs": [run.checkpoint.epoch, *run.kept_epochs],
        "options": to_json_types({**options, **sample}),
        "runs": [str(other.path.resolve()) for other in runs] if measure.compares_runs else None,
    }
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:12]
    file = folder / f"{name}-{digest}.json"
    with suppress(FileNotFoundError, ValueError):  # there is none, or it is damaged
        return unpack(run_dir.read_json(file)), False
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, pack(measure.compute(run, runs, **options)))
    return unpack(run_dir.read_json(file)), True


def write(analysis: Analysis, folder: Path) -> None:
    """Writes the report, the figures and all numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / NUMBERS, as_json(analysis))
    for name, drawing in _drawings(analysis):
        figure = drawing.figure(analysis.measured(name), analysis.options[name])
        figures.save(figure, folder, drawing.name)
    disk.write_text(folder / REPORT, report(analysis))


def table(analysis: Analysis) -> str:
    """All numbers: a column for each group, or a row if they are many."""
    rows: dict[str, dict[str, str]] = {}
    for group in analysis.groups:
        epochs = sorted({run.checkpoint.epoch for run in group.runs})
        config = group.runs[0].config
        phases = [phase.method for phase in read_phases(config)]
        # Methods are to be compared at steps of one length: at Lookbehind's rate / (alpha k).
        lengths = dict.fromkeys(f"{each.step_length(config.optimizer):g}" for each in phases)
        rows[group.name] = {
            "": group.name,
            "method": ", then ".join(spec.write(each.name, each.arguments) for each in phases),
            "learning rate": f"{config.learning_rate:g}",
            "length of a step, of the optimizer's": ", then ".join(lengths),
            "seeds": ", ".join(str(run.config.seed) for run in group.runs),
            "epochs": ", ".join(map(str, epochs)),
        }
    for name, options in analysis.options.items():
        for number in MEASURES[name].numbers(options):
            values = {g.label: number.by_seed(g.table).values() for g in analysis.measured(name)}
            if any(values.values()):
                for label, row in rows.items():
                    found = list(values.get(label, ()))
                    row[number.heading] = tables.two_digits(found) if found else tables.DASH
    if len(rows) > _MANY_GROUPS:
        return markdown_table(list(rows.values()))
    headings = [heading for heading in next(iter(rows.values())) if heading]
    return markdown_table(
        [
            {"": heading, **{name: row[heading] for name, row in rows.items()}}
            for heading in headings
        ]
    )


def report(analysis: Analysis) -> str:
    """The report as Markdown; its figures are next to it."""
    lines = ["# How flat are the minima?", "", _setting(analysis), "", table(analysis), ""]
    for name, drawing in _drawings(analysis):
        lines += [f"## {drawing.title}", "", f"![{drawing.title}]({drawing.name}.svg)", ""]
        lines += [drawing.caption.format(**analysis.options[name]), ""]
    lines += [f"Skipped: {name}: {reason}.\n" for name, reason in analysis.skipped.items()]
    lines += ["## Runs", ""]
    lines += [
        f"- {group.name}, seed {run.config.seed}: `{run.path}`, epoch {run.checkpoint.epoch}"
        for group in analysis.groups
        for run in group.runs
    ]
    return "\n".join([*lines, "", str(analysis.made), ""])


def as_json(analysis: Analysis) -> dict[str, Any]:
    """Every number, by run, and how it was made."""

    def of_run(group: RunGroup, run: TrainedRun) -> dict[str, Any]:
        results = {name: by_run.get(run.path) for name, by_run in analysis.results.items()}
        return {
            "path": str(run.path),
            "group": group.name,
            "seed": run.config.seed,
            "epoch": run.checkpoint.epoch,
            "measures": {name: pack(found) for name, found in results.items() if found is not None},
        }

    settings = {"sample": analysis.sample, "options": analysis.options, "skipped": analysis.skipped}
    runs = [of_run(group, run) for group in analysis.groups for run in group.runs]
    return {"made": analysis.made._asdict(), **settings, "runs": runs}


def _drawings(analysis: Analysis) -> list[tuple[str, Drawing]]:
    """The figures of the measures that have results, with the measure's name."""
    return [
        (name, d)
        for name, by_run in analysis.results.items()
        if by_run
        for d in MEASURES[name].drawings
    ]


def _setting(analysis: Analysis) -> str:
    """Data and settings of the measurements, in sentences."""
    runs = [run for group in analysis.groups for run in group.runs]
    subjects = sorted({f"{run.config.model} on {run.config.dataset}" for run in runs})
    shapes = sorted({run.batches.examples.labels.shape for run in runs})
    train = " or ".join(f"{n * m} ({n} minibatches of m = {m})" for n, m in shapes)
    test = " or ".join(map(str, sorted({len(run.data.test.labels) for run in runs})))
    mode = {"running": "the checkpoint's running", "batch": "each minibatch's"}
    sentences = [
        f"{len(runs)} runs in {len(analysis.groups)} groups: {', '.join(subjects)}.",
        f"Measured on {train} training examples, not augmented, with the labels of training, and "
        f"on {test} test examples under noise. BatchNorm uses "
        f"{mode[analysis.sample['batchnorm']]} statistics unless noted otherwise. The runs of a "
        "group differ only in their seed: numbers and lines are means over seeds, ± and bands one "
        "standard deviation.",
    ]
    if len({m for _, m in shapes}) > 1:
        sentences.append("Groups with different m cannot be compared: set one with --m.")
    return " ".join(sentences)
