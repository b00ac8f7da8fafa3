"""The folder of a run: its config, versions, metrics, event files and checkpoints."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from experiments.configs import base
from experiments.methods.spec import file_name
from experiments.methods.table import method

CONFIG, VERSIONS, METRICS, TIMING = "config.json", "versions.json", "metrics.jsonl", "timing.jsonl"
EVENTS, CHECKPOINTS = "events", "checkpoints"

_PACKAGES = ("flax", "jax", "jaxlib", "optax", "optax-lookbehind", "orbax-checkpoint")
# Keys that may change when a run resumes. Not keep_every: resuming with another
# one would remove checkpoints that were to be kept.
RESUMABLE_KEYS = ("data_dir", "eval_batch_size", "save_every", "shard_weights", "workers")


def check_config(workdir: Path, config: ConfigDict) -> None:
    """Raises ValueError, with the difference, if the folder holds a run of another config."""
    path = workdir / CONFIG
    if not path.exists():
        return
    saved = settings(json.loads(path.read_text(encoding="utf-8")))
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


def settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """A config's values in a form in which equal runs are equal.

    Keys that are missing, because they are newer than the run, have their defaults; methods are
    canonical strings.
    """
    full = _as_json(base.get_config()) | dict(values)
    switch = [[epoch, _canonical(text)] for epoch, text in full["switch"]]
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
    versions = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    now = {name: version(name) for name in _PACKAGES}
    if now not in versions[-1:]:
        _write(path, _dumps([*versions, now]))
    _write(workdir / CONFIG, _dumps(_as_json(config)))


def write_lines(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Writes a file of one JSON object per line."""
    _write(path, "".join(json.dumps(record) + "\n" for record in records))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Reads a file of one JSON object per line; skips an unfinished last line."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def append_line(path: Path, record: Mapping[str, Any]) -> None:
    """Appends a line to a file of one JSON object per line."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def _as_json(config: ConfigDict) -> dict[str, Any]:
    return json.loads(config.to_json())


def _dumps(values: Any) -> str:
    return json.dumps(values, indent=2, sort_keys=True) + "\n"


def _write(path: Path, text: str) -> None:
    """Replaces a file atomically."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
