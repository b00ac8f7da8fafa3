"""ImageNet streaming: order, resuming, errors."""

import json
import shutil

import numpy as np
import pytest

from experiments import train
from experiments.configs import imagenet
from experiments.data.augment import normalize
from experiments.data.dataset import info_of
from experiments.parallel.mesh import make_mesh
from experiments.tasks.table import imagenet_info, load_dataset, open_imagenet
from experiments.training.setup import make_run
from tests.support.checkpoint_folders import newest
from tests.support.tfds_datasets import imagenet_example, write_tfds
from tests.support.training import assert_epochs_continue_within


@pytest.fixture
def config(_tiny_model, tmp_path):
    write_tfds("imagenet2012", tmp_path, {"train": 19, "validation": 7}, imagenet_example)
    config = imagenet.get_config()
    config.update(data_dir=str(tmp_path), model="tiny", dtype="float32", image_size=16, workers=0)
    config.update(epochs=2, batch_size=8, eval_batch_size=8, learning_rate=0.01, method="ae_sam")
    return config


def test_a_streamed_run_resumes_with_the_next_batches(config, tmp_path):
    workdir = tmp_path / "run"
    train.main(config, workdir)
    whole = (workdir / "metrics.jsonl").read_bytes()
    assert [json.loads(line)["epoch"] for line in whole.splitlines()] == [1, 2]

    shutil.rmtree(newest(workdir))
    train.main(config, workdir)
    assert (workdir / "metrics.jsonl").read_bytes() == whole


def test_an_epoch_resumes_at_a_step(config):
    assert_epochs_continue_within(make_run(config, make_mesh(1))[1])


def test_evaluation_batches_are_padded_for_the_devices(config):
    config.update(batch_size=6, eval_batch_size=4)
    _, pipeline = make_run(config, make_mesh(6))
    batches = list(pipeline.evaluation["test"]())
    assert [len(batch.labels) for batch in batches] == [6, 6]
    labels = np.concatenate([batch.labels for batch in batches])
    np.testing.assert_array_equal(np.sort(labels[labels >= 0]), range(7))


def test_label_noise_raises(config, tmp_path):
    config.label_noise = 0.2
    with pytest.raises(SystemExit, match=r"label_noise must be 0 .* got 0\.2"):
        train.main(config, tmp_path / "run")


def test_a_vit_starts_from_its_file(config, tmp_path):
    config.update(model="vit_s16", pretrained=str(tmp_path / "missing.npz"), image_size=32)
    with pytest.raises(SystemExit, match=r"missing\.npz"):
        train.main(config, tmp_path / "run")


def test_a_vit_from_a_file_sees_images_from_minus_one_to_one(config):
    config.pretrained = "ViT-B_16.npz"
    streamed = imagenet_info(config, open_imagenet(config))
    config.update(dataset="digits", data_dir=None)
    for info in (streamed, info_of(load_dataset(config))):
        black_and_white = np.stack([np.zeros_like(info.mean), np.full_like(info.mean, 255)])
        seen = normalize(black_and_white, info.mean, info.std)
        np.testing.assert_array_equal(seen[0], -1)
        np.testing.assert_array_equal(seen[1], 1)
