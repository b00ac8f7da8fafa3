"""The folder of a run: its config, versions, metrics, event files and checkpoints."""

import json
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

CONFIG, VERSIONS, METRICS, TIMING = "config.json", "versions.json", "metrics.jsonl", "timing.jsonl"
EVENTS, CHECKPOINTS = "events", "checkpoints"

_PACKAGES = ("flax", "jax", "jaxlib", "optax", "optax-lookbehind", "orbax-checkpoint")
# Keys that may change when a run resumes, on another machine. Not keep_every: resuming with another
# one would remove checkpoints that were to be kept.
RESUMABLE_KEYS = ("data_dir", "eval_batch_size", "workers")


def check_config(workdir: Path, config: ConfigDict) -> None:
    """Raises ValueError, with the difference, if the folder holds a run of another config."""
    path = workdir / CONFIG
    if not path.exists():
        return
    saved, requested = json.loads(path.read_text(encoding="utf-8")), _as_json(config)
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
