"""CIFAR from a directory of TFDS: a tiny one, written here, read by the real code."""

import numpy as np
import pytest

from experiments import data
from tests.support.tfds_datasets import cifar_example, shade, write_tfds


@pytest.mark.parametrize(("name", "classes"), [("cifar10", 10), ("cifar100", 100)])
def test_cifar_is_read_whole(name, classes, tmp_path):
    coarse = {} if name == "cifar10" else {"coarse_label": 0}
    write_tfds(name, tmp_path, {"train": 20, "test": 5}, lambda i: cifar_example(i) | coarse)
    dataset = data.load(name, str(tmp_path))
    assert dataset.train.images.shape == (20, 32, 32, 3)
    assert dataset.test.images.shape == (5, 32, 32, 3)
    assert dataset.train.images.dtype == np.uint8
    assert dataset.train.labels.dtype == np.int32
    assert (dataset.num_classes, dataset.augment) == (classes, True)
    np.testing.assert_array_equal(np.sort(shade(dataset.train.images)), np.arange(20))
    np.testing.assert_array_equal(shade(dataset.train.images) % 10, dataset.train.labels)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_data_that_is_not_there_is_asked_for(name, tmp_path):
    command = f"tfds build {name} --file_format=array_record --data_dir={tmp_path}"
    with pytest.raises(FileNotFoundError, match="nothing is there") as error:
        data.load(name, str(tmp_path))
    assert command in str(error.value)
    assert str(tmp_path / name) in str(error.value)


def test_data_in_a_format_without_random_access_raises(tmp_path):
    write_tfds("cifar10", tmp_path, {"train": 1, "test": 1}, cifar_example)
    info = next(tmp_path.glob("cifar10/*/dataset_info.json"))
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    with pytest.raises(FileNotFoundError, match=r"it is there as tfrecord\. Prepare it with"):
        data.load("cifar10", str(tmp_path))
