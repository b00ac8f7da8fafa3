"""A trained run as a function from images to logits."""

import json
import pathlib
import re

import numpy as np
import pytest

from experiments import data, predict, train

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "training.md"


def test_the_example_of_the_guide_has_the_accuracy_of_the_run(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config.update(epochs=1, learning_rate=0.1)
    train.run(config, pathlib.Path("runs/mine"), show_progress=False)
    test = data.load("digits").test
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    scope = {"images": test.images}
    exec(example, scope)
    accuracy = np.mean(scope["classes"] == test.labels)
    logged = json.loads(pathlib.Path("runs/mine/metrics.jsonl").read_text())["test_accuracy"]
    assert accuracy == pytest.approx(logged, abs=1e-6)
    with pytest.raises(ValueError, match=r"images must have the shape \(examples, 8, 8, 1\)"):
        predict.load("runs/mine")(test.images[0])
