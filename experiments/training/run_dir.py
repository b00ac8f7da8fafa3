"""The folder of a run: its config, versions, metrics, event files and checkpoints."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from experiments.configs import base
from experiments.configs.validation import shown
from experiments.methods.spec import file_name
from experiments.methods.table import method
from experiments.reporting.provenance import installed_versions
from experiments.storage import disk

CONFIG, VERSIONS, METRICS, TIMING = "config.json", "versions.json", "metrics.jsonl", "timing.jsonl"
EVENTS, CHECKPOINTS = "events", "checkpoints"

# Keys that may change when a run resumes. Not keep_every: resuming with another
# one would remove checkpoints that were to be kept.
RESUMABLE_KEYS = (
    "data_dir",
    "eval_batch_size",
    "save_every",
    "save_every_steps",
    "shard_weights",
    "workers",
)


def check_config(workdir: Path, config: ConfigDict) -> None:
    """Raises ValueError, with the difference, if the folder holds a run of another config.

    Also if it holds checkpoints of a run whose config is missing or damaged.
    """
    path = workdir / CONFIG
    if not path.exists():
        checkpoints = workdir / CHECKPOINTS
        if checkpoints.is_dir() and any(checkpoints.iterdir()):
            raise ValueError(
                f"{path} is missing, and {checkpoints} holds a run of an unknown config; restore "
                "that file, or choose another --workdir."
            )
        return
    saved = settings(read_config(workdir))
    requested = settings(_as_json(config))
    differing = [
        f"  {key}: {saved.get(key)!r} in the workdir, {requested.get(key)!r} requested"
        for key in sorted(saved | requested)
        if saved.get(key) != requested.get(key) and key not in RESUMABLE_KEYS
    ]
    if differing:
        raise ValueError(
            f"{workdir} holds a run of another config:\n"
            + "\n".join(differing)
            + "\nChoose another --workdir, or remove this one."
        )


def read_config(workdir: Path) -> dict[str, Any]:
    """Reads the config of a run, which may be of another version.

    Raises:
      OSError, ValueError: if the file cannot be read, or a value has another type than a config's.
    """
    path = workdir / CONFIG
    values = read_json(path)
    if not isinstance(values, dict):
        raise ValueError(f"{path} must hold the config of a run, got {shown(values)}.")
    for key in values:
        if not key.isidentifier() or key.startswith("_"):  # those of Python itself
            raise ValueError(f"{path}: a key must be a name, got {shown(key)}.")
    defaults = base.get_config()
    for key in values.keys() & set(defaults):
        value, kind = values[key], defaults.get_type(key)
        if not _has_type(value, kind) and not (value is None and defaults[key] is None):
            raise ValueError(f"{path}: {key} must be {_TYPES[kind]}, got {shown(value)}.")
    if any(not _is_switch(pair) for pair in values.get("switch", ())):
        pairs = shown(values["switch"])
        raise ValueError(f"{path}: switch must be pairs of epoch and method, got {pairs}.")
    return values


_TYPES = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "a string",
    tuple: "a list",
}


def _has_type(value: Any, kind: type) -> bool:
    """Whether a value read from JSON has the type of a config's key."""
    json_types = {float: (int, float), tuple: (list,)}.get(kind, (kind,))
    return isinstance(value, json_types) and (kind is bool or not isinstance(value, bool))


def _is_switch(pair: Any) -> bool:
    return isinstance(pair, list) and [type(part) for part in pair] == [int, str]


def settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """A config's values in a form in which equal runs are equal.

    Keys that are missing, because they are newer than the run, have their defaults; methods are
    canonical strings.
    """
    full = _as_json(base.get_config()) | dict(values)
    # What is no pair, in a config that is yet to be checked, stays as it is.
    switch = [
        [pair[0], _canonical(pair[1])] if _is_switch(pair) else pair for pair in full["switch"]
    ]
    return full | {"method": _canonical(full["method"]), "switch": switch}


def default_workdir(config: ConfigDict) -> Path:
    """``runs/dataset-model-method-seed0-1a2b3c``; the digits stand for all other settings."""
    values = settings(_as_json(config))
    defaults = settings({})
    named = [values[key] for key in ("dataset", "model", "method")]
    others = {
        key: value
        for key, value in values.items()
        if value != defaults.get(key)
        and key not in ("dataset", "model", "method", "seed", *RESUMABLE_KEYS)
    }
    digits = hashlib.sha256(json.dumps(others, sort_keys=True).encode()).hexdigest()[:6]
    return Path("runs") / file_name("-".join([*map(str, named), f"seed{config.seed}", digits]))


def _canonical(text: str) -> str:
    try:
        return str(method(text))
    except ValueError:  # of a run of another version
        return text


def write_config(workdir: Path, config: ConfigDict) -> None:
    """Saves the config, and the versions of packages if they have changed."""
    path = workdir / VERSIONS
    versions = read_json(path) if path.exists() else []
    if not isinstance(versions, list):
        raise ValueError(f"{path} must hold a list, got {shown(versions)}.")
    now = installed_versions()
    if now not in versions[-1:]:
        disk.write_text(path, _dumps([*versions, now]))
    disk.write_text(workdir / CONFIG, _dumps(_as_json(config)))


def write_lines(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Writes a file of one JSON object per line."""
    disk.write_text(path, "".join(json.dumps(record) + "\n" for record in records))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Reads a file of one JSON object per line; skips an unfinished last line.

    Raises:
      ValueError: if another line is damaged; the message has path and line.
    """
    records = []
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True), start=1):
        if line.endswith(b"\n"):
            record = _read_json(f"line {number} of {path}", line)
            if not isinstance(record, dict):
                raise ValueError(f"line {number} of {path} is damaged: {shown(record)}.")
            records.append(record)
    return records


def total_seconds(workdir: Path) -> float:
    """The duration of all epochs of a run."""
    path = workdir / TIMING
    try:
        return sum(float(line["seconds"]) for line in read_lines(path))
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged: a line has no number of seconds.") from error


def append_line(path: Path, record: Mapping[str, Any]) -> None:
    """Appends a line to a file of one JSON object per line."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def _as_json(config: ConfigDict) -> dict[str, Any]:
    return json.loads(config.to_json())


def read_json(path: Path) -> Any:
    """The value in a JSON file; a ValueError that names the file if it is damaged."""
    return _read_json(path, path.read_bytes())


def _read_json(source: object, text: bytes) -> Any:
    """The value of a JSON text; errors, in one line, name its source."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # RecursionError: nested too deeply
        raise ValueError(f"{source} is damaged: {error}.") from error


def _dumps(values: Any) -> str:
    return json.dumps(values, indent=2, sort_keys=True) + "\n"
