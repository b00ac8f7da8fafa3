"""The map in experiments/README.md, against the tree and a traced training step."""

import re
import traceback
from pathlib import Path

from experiments import models, train
from experiments.configs import digits
from tests.support.dense_model import Dense

ROOT = Path(__file__).parents[2]
MAP = (ROOT / "experiments" / "README.md").read_text(encoding="utf-8")
STEP_FILES = re.findall(r"^\d+\. `(.+?)`", MAP, re.MULTILINE)


def test_the_map_names_every_folder_and_command():
    tree = (ROOT / "experiments").iterdir()
    commands = re.findall(r"^\| `(\w+\.py)` \|", MAP, re.MULTILINE)
    folders = re.findall(r"^\| `(\w+)/` \|", MAP, re.MULTILINE)
    paths = [path for path in tree if path.name not in ("__init__.py", "__pycache__", "cli.py")]
    assert {path.name for path in paths if path.suffix == ".py"} == set(commands)
    assert {path.name for path in paths if path.is_dir()} == set(folders)


def test_no_level_has_more_than_ten_modules():
    folders = [path.parent for path in (ROOT / "experiments").rglob("__init__.py")]
    # A recipe for each table and figure: as many as the paper has.
    folders = [folder for folder in folders if folder.parent.name != "recipes"]
    # A file for each setup.
    folders = [folder for folder in folders if folder.name != "configs"]
    modules = {folder: len(list(folder.glob("*.py"))) - 1 for folder in folders}
    assert {folder: number for folder, number in modules.items() if number > 10} == {}


def test_one_training_step_runs_in_the_listed_files_and_calls(tmp_path, monkeypatch):
    calls = []

    class Recorded(Dense):
        def __call__(self, x):
            calls.append(traceback.extract_stack())
            return super().__call__(x)

    monkeypatch.setitem(models.MODELS, "recorded", Recorded)
    config = digits.get_config()
    config.update(model="recorded", method="lookbehind_sam", train_examples=256, epochs=1)
    train.main(config, tmp_path)
    stacks = [[(f.filename, f.name) for f in stack] for stack in calls]
    steps = [stack for stack in map(_from_main, stacks) if "train_step" in [n for _, n in stack]]
    clean, perturbed = steps[0], max(steps, key=len)

    names = [name for _, name in clean]
    (listed,) = re.findall(r"^`(main` → .*?)` → `jax.value_and_grad`", MAP, re.MULTILINE)
    assert names[: names.index("loss_fn")] == listed.split("` → `")
    assert len(STEP_FILES) <= 8
    assert all((ROOT / file).exists() for file in STEP_FILES)
    helpers = {"optax_lookbehind/_core/cpu_convolutions.py", "tests/docs/test_experiments_map.py"}
    ran = {file for file, _ in clean + perturbed} - helpers
    assert ran <= set(STEP_FILES)
    assert "optax_lookbehind/_lookbehind.py" in ran


def _from_main(stack):
    """File and function of the frames in this repository, from the command's ``main`` on."""
    own = [
        (str(Path(file).relative_to(ROOT)), name)
        for file, name in stack
        if Path(file).is_relative_to(ROOT) and ".venv" not in file
    ]
    names = [name for _, name in own]
    return own[names.index("main") :] if "main" in names else []
