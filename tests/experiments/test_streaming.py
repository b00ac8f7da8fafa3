"""ImageNet's way into a run: decoded on the host, in order after a stop, errors before training."""

import json
import shutil

import pytest
from test_data_imagenet import imagenet_example
from test_data_prepared import write

from experiments import train
from experiments.configs import imagenet


@pytest.fixture
def config(_tiny_model, tmp_path):
    write("imagenet2012", tmp_path, {"train": 19, "validation": 7}, imagenet_example)
    config = imagenet.get_config()
    config.update(data_dir=str(tmp_path), model="tiny", dtype="float32", image_size=16, workers=0)
    config.update(epochs=2, batch_size=8, eval_batch_size=8, learning_rate=0.01, method="ae_sam")
    return config


def test_a_streamed_run_goes_on_with_the_next_batches(config, tmp_path):
    workdir = tmp_path / "run"
    train.main(config, workdir)
    whole = (workdir / "metrics.jsonl").read_bytes()
    assert [json.loads(line)["epoch"] for line in whole.splitlines()] == [1, 2]

    shutil.rmtree(workdir / "checkpoints" / "2")
    train.main(config, workdir)
    assert (workdir / "metrics.jsonl").read_bytes() == whole


def test_options_of_sets_in_memory_are_refused(config, tmp_path):
    config.label_noise = 0.2
    with pytest.raises(SystemExit, match="label_noise is for data sets that fit in memory"):
        train.main(config, tmp_path / "run")


def test_a_vit_starts_from_its_file(config, tmp_path):
    config.update(model="vit_s16", pretrained=str(tmp_path / "missing.npz"), image_size=32)
    with pytest.raises(SystemExit, match=r"missing\.npz"):
        train.main(config, tmp_path / "run")
