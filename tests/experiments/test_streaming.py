"""ImageNet's way into a run: decoded on the host, in order after a stop, errors before training."""

import json
import shutil

import numpy as np
import pytest

from experiments import train
from experiments.configs import imagenet
from experiments.data import imagenet as imagenet_data
from experiments.data import pipeline as feeds
from experiments.data.augment import normalize
from experiments.parallel.mesh import make_mesh
from tests.experiments.test_data_imagenet import imagenet_example
from tests.experiments.test_data_prepared import write


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


def test_evaluation_batches_are_filled_up_to_what_the_devices_divide(config):
    config.update(batch_size=6, eval_batch_size=4)
    batches = list(feeds.streamed(config, make_mesh(6)).test())
    assert [len(batch.labels) for batch in batches] == [6, 6]
    labels = np.concatenate([batch.labels for batch in batches])
    np.testing.assert_array_equal(np.sort(labels[labels >= 0]), range(7))


def test_options_of_sets_in_memory_are_refused(config, tmp_path):
    config.label_noise = 0.2
    with pytest.raises(SystemExit, match="label_noise is for data sets that fit in memory"):
        train.main(config, tmp_path / "run")


def test_a_vit_starts_from_its_file(config, tmp_path):
    config.update(model="vit_s16", pretrained=str(tmp_path / "missing.npz"), image_size=32)
    with pytest.raises(SystemExit, match=r"missing\.npz"):
        train.main(config, tmp_path / "run")


def test_a_vit_from_a_file_sees_images_from_minus_one_to_one(config):
    config.pretrained = "ViT-B_16.npz"
    streamed = feeds.streamed_facts(config, imagenet_data.open_splits(config.data_dir, 0, None))
    config.update(dataset="digits", data_dir=None)
    for facts in (streamed, feeds.facts_of(feeds.load(config))):
        black_and_white = np.stack([np.zeros_like(facts.mean), np.full_like(facts.mean, 255)])
        seen = normalize(black_and_white, facts.mean, facts.std)
        np.testing.assert_array_equal(seen[0], -1)
        np.testing.assert_array_equal(seen[1], 1)
