"""The folder of a run: its config, versions, metrics, event files and checkpoints."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from experiments.configs.defaults import defaults
from experiments.configs.validation import check_ranges
from experiments.methods.spec import file_name
from experiments.methods.table import method
from experiments.storage import disk
from experiments.training.provenance import installed_versions

CONFIG, VERSIONS, METRICS, TIMING = "config.json", "versions.json", "metrics.jsonl", "timing.jsonl"
EVENTS, CHECKPOINTS = "events", "checkpoints"
_MAX_PREFIX, _HASH_DIGITS = 80, 8  # letters of a run's name

# Keys that may change when a run resumes. Not keep_every: resuming with another one would remove
# checkpoints that were to be kept.
RESUMABLE_KEYS = (
    "data_dir",
    "eval_batch_size",
    "save_every",
    "save_every_steps",
    "shard_weights",
    "workers",
)


def identity(config: ConfigDict) -> dict[str, Any]:
    """The settings that make a run: two runs with the same ones are the same run.

    These are the settings that differ from the defaults, so that a new key with a default changes
    no identity, with canonical method strings (``sam:rho=0.05`` is ``sam``), and without the keys
    that may change on resume.
    """
    values, default = _values(config), _values(defaults(config.task))
    return {
        key: value
        for key, value in sorted(values.items())
        if value != default.get(key) and key not in RESUMABLE_KEYS
    }


def run_name(config: ConfigDict) -> str:
    """``dataset-model-method-seed0-1a2b3c4d``; the digits are a hash of the :func:`identity`.

    A file of one's own gives the run its name in place of the dataset.
    """
    values = _values(config)
    data = Path(values["data_file"] or "").stem or values["dataset"]
    words = [word for word in (data, values["model"], values["method"]) if word]
    prefix = file_name("-".join(map(str, words)))[:_MAX_PREFIX]
    text = json.dumps(identity(config), sort_keys=True)
    digits = hashlib.sha256(text.encode()).hexdigest()[:_HASH_DIGITS]
    return f"{prefix}-seed{config.seed}-{digits}"


def default_workdir(config: ConfigDict) -> Path:
    """The folder of a run without ``--workdir``."""
    return Path("runs") / run_name(config)


def _values(config: ConfigDict) -> dict[str, Any]:
    """The config as JSON has it, with canonical method strings and the name of a file of data."""
    values = json.loads(config.to_json())
    methods = {key: values[key] for key in ("method", "switch")}
    # A file of data may move, another file is another run.
    file = Path(config.data_dir or "")
    data_file = file.name if file.suffix else None
    return values | jax.tree.map(_canonical, methods) | {"data_file": data_file}


def _canonical(value: Any) -> Any:
    """A method's string with its arguments in order, without defaults; other values unchanged."""
    with suppress(AttributeError, TypeError, ValueError):  # reported where the method is built
        return str(method(value))
    return value


def check_config(workdir: Path, config: ConfigDict) -> None:
    """Raises ValueError, with the difference, if the folder holds a run of another config."""
    path = workdir / CONFIG
    if not path.exists():
        checkpoints = workdir / CHECKPOINTS
        if checkpoints.is_dir() and any(checkpoints.iterdir()):
            raise ValueError(
                f"{path} is missing, and {checkpoints} holds a run of an unknown config; restore "
                "that file, or choose another --workdir."
            )
        return
    saved = read_config(workdir)
    ours, theirs = identity(config), identity(saved)
    here, there = _values(config), _values(saved)
    differing = [
        f"  {key}: {there.get(key)!r} in the workdir, {here.get(key)!r} requested"
        for key in sorted(ours | theirs)
        if ours.get(key) != theirs.get(key)
    ]
    if differing:
        raise ValueError(
            f"{workdir} holds a run of another config:\n"
            + "\n".join(differing)
            + "\nChoose another --workdir, or remove this one."
        )


def read_config(workdir: Path) -> ConfigDict:
    """The config of a run; keys that are newer than the run have their defaults.

    Raises:
      ValueError: if the folder has no config, or one with a value that a config cannot have; the
        message has the path.
    """
    path = workdir / CONFIG
    if not path.exists():
        raise ValueError(f"{workdir} is not the folder of a run: it has no {CONFIG}.")
    values = read_json(path)
    if not isinstance(values, dict):
        raise ValueError(f"{path} must hold the config of a run, got {values!r:.80}.")
    config = defaults(values.get("task", ""))
    try:
        config.update(values)
        config.switch = tuple(map(tuple, config.switch))  # JSON has lists
        check_ranges(config)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    return config


def write_config(workdir: Path, config: ConfigDict) -> None:
    """Saves the config, and the versions of packages if they have changed."""
    path = workdir / VERSIONS
    versions = read_json(path) if path.exists() else []
    now = installed_versions()
    if now not in versions[-1:]:
        disk.write_text(path, _dumps([*versions, now]))
    disk.write_text(workdir / CONFIG, _dumps(json.loads(config.to_json())))


def write_lines(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Writes a file of one JSON object per line."""
    disk.write_text(path, "".join(json.dumps(record) + "\n" for record in records))


def append_line(path: Path, record: Mapping[str, Any]) -> None:
    """Appends a line to a file of one JSON object per line."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Reads a file of one JSON object per line; skips a last line that was not finished.

    Raises:
      ValueError: if another line is damaged; the message has path and line.
    """
    lines = path.read_bytes().splitlines(keepends=True)
    return [
        _parse(f"line {number} of {path}", line)
        for number, line in enumerate(lines, start=1)
        if line.endswith(b"\n")
    ]


def read_json(path: Path) -> Any:
    """The value in a JSON file; a ValueError that names the file if it is damaged."""
    return _parse(str(path), path.read_bytes())


def total_seconds(workdir: Path) -> float:
    """The duration of all epochs of a run."""
    return sum(line["seconds"] for line in read_lines(workdir / TIMING))


def _parse(source: str, text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{source} is damaged: {error}.") from error


def _dumps(values: Any) -> str:
    return json.dumps(values, indent=2, sort_keys=True) + "\n"
