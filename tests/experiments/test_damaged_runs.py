"""Every file of a finished run, damaged in every way: the run goes on to the same result, or stops.

If it goes on, what cannot be read is named in one warning; if it stops, in one error.
"""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments import train
from experiments.configs import digits
from experiments.training.checkpoints import read_newest
from experiments.training.setup import abstract_state, make_run
from tests.support import damage

FOLDER = "replace_by_folder"
NEWEST = Path("checkpoints/2")
UNREAD = {NEWEST / "_CHECKPOINT_METADATA", NEWEST / "commit_success.txt"}


@pytest.fixture(scope="module", params=[None, 3], ids=["epochs", "steps"])
def run(request, _tiny_model):
    """A config with its trainers and data, which all commands share.

    The checkpoint before the last one is that of an epoch, or of a step within the last one.
    """
    config = digits.get_config()
    config.update(model="dense", epochs=2, batch_size=256, train_examples=512, method="ae_sam")
    config.save_every_steps = request.param
    made = make_run(config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "make_run", lambda config: made)
        yield config, made[0]


@pytest.fixture(scope="module")
def finished(run, tmp_path_factory):
    """The workdir of the undamaged run."""
    workdir = tmp_path_factory.mktemp("runs") / "run"
    train.main(run[0], workdir, show_progress=False)
    before = "1" if run[0].save_every_steps is None else "1+1"
    assert {path.name for path in (workdir / "checkpoints").iterdir()} == {before, "2"}
    return workdir


def result(run, workdir):
    """The logged metrics, and every array of the last checkpoint."""
    abstract = [abstract_state(trainer) for trainer in run[1]]
    progress = read_newest(workdir / "checkpoints", lambda epochs: abstract[epochs - 1])
    assert len(progress.history) == 2
    state = progress.state._replace(key=jax.random.key_data(progress.state.key))
    arrays = [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(state)]
    return (workdir / "metrics.jsonl").read_bytes(), arrays


def expected(name, kind, is_json):
    """The number of warnings with which a run goes on, or "error"."""
    file = Path(name)
    if file.name == "config.json":
        return "error"
    if file.name in ("metrics.jsonl", ".lock"):  # the metrics are in the checkpoints, too
        return "error" if kind == FOLDER else 0
    if file.name in ("versions.json", "timing.jsonl"):  # a flipped bit can leave them readable
        return 0 if kind == "remove" or is_json else "error"
    if NEWEST in file.parents and file not in UNREAD:
        return 0 if (file.name, kind) == ("checksums.json", "remove") else 1
    return 0  # the events and the older checkpoint are not read


def is_json(path):
    """Whether every complete line, or the file as a whole, can be read."""
    try:
        text = path.read_text()
        lines = text.splitlines(keepends=True) if path.suffix == ".jsonl" else [text]
        return all(json.loads(line) for line in lines if line.endswith("\n") or len(lines) == 1)
    except (OSError, ValueError):
        return False


@pytest.mark.slow
@pytest.mark.parametrize("kind", damage.KINDS)
def test_a_damaged_file_changes_no_result(kind, run, finished, tmp_path, caplog, capfd):
    undamaged = result(run, finished)
    for number, name in enumerate(damage.files(finished)):
        workdir = damage.damaged_copy(finished, tmp_path / str(number), name, kind)
        outcome = expected(name, kind, is_json(workdir / name))
        caplog.clear()
        if outcome == "error":
            with pytest.raises(SystemExit) as error:
                train.main(run[0], workdir, show_progress=False)
            assert str(workdir) in str(error.value), name
            another = "holds a run of another config" in str(error.value)
            assert another or "\n" not in str(error.value), name
            assert not caplog.records, name
        else:
            train.main(run[0], workdir, show_progress=False)
            warnings = [record.getMessage() for record in caplog.records]
            assert len(warnings) == outcome, (name, warnings)
            assert all("\n" not in warning for warning in warnings), name
            assert result(run, workdir) == undamaged, name
    assert "Traceback" not in capfd.readouterr().err
