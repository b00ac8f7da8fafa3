"""ImageNet from a directory of TFDS: a tiny one, written here, read by the real code."""

import io
import json

import grain
import numpy as np
import pytest
from absl import flags
from PIL import Image

from experiments.data.images import crops, imagenet
from tests.support.tfds_datasets import imagenet_example, shade, write_tfds


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    path = tmp_path_factory.mktemp("tfds")
    write_tfds("imagenet2012", path, {"train": 19, "validation": 7}, imagenet_example)
    return str(path)


@pytest.fixture(scope="module")
def splits(data_dir):
    return imagenet.open_splits(data_dir)


def train_batches(splits, batch_size=4, seed=0, process=0, processes=1):
    shards = grain.sharding.ShardOptions(process, processes)
    return imagenet.train_batches(splits.train, batch_size, seed, shards, image_size=16)


def assert_same(first, second):
    np.testing.assert_array_equal(first.labels, second.labels)
    np.testing.assert_array_equal(first.images, second.images)


def test_imagenet_that_is_not_there_is_asked_for_with_the_files_to_get_first(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"get by hand: .*ILSVRC2012_img_train\.tar"
    ) as error:
        imagenet.open_splits(str(tmp_path))
    assert "tfds build imagenet2012" in str(error.value)


def test_training_batches_are_whole_and_shuffled_every_epoch(splits):
    batches = train_batches(splits)
    steps = [batches[i] for i in range(8)]  # two epochs: 19 examples make 4 batches
    for step in steps:
        assert step.images.shape == (4, 16, 16, 3)
        assert (step.images.dtype, step.labels.dtype) == (np.uint8, np.int32)
        np.testing.assert_array_equal(shade(step.images), step.labels)
    first, second = (np.concatenate([s.labels for s in e]) for e in (steps[:4], steps[4:]))
    assert len(set(first)) == len(set(second)) == 16
    assert (first != second).any()


def test_crops_and_flips_differ_between_epochs(splits):
    batches = train_batches(splits, batch_size=19)
    first, second = (batches[i].images[np.argsort(batches[i].labels)] for i in (0, 1))
    assert all((a != b).any() for a, b in zip(first, second, strict=True))
    flipped = [image[0, 0, 1] > image[0, -1, 1] for image in (*first, *second)]
    assert 8 < sum(flipped) < 30


def test_training_batches_follow_the_seed(splits):
    first, again, other = (train_batches(splits, seed=s)[2] for s in (0, 0, 1))
    assert_same(first, again)
    assert (first.labels != other.labels).any()


def test_processes_together_see_the_batches_of_one(splits):
    alone = train_batches(splits)
    shares = [train_batches(splits, process=i, processes=2) for i in range(2)]
    for step in (0, 3, 4, 9):
        parts = [share[step] for share in shares]
        assert [len(part.labels) for part in parts] == [2, 2]
        for field in range(2):
            interleaved = np.stack([part[field] for part in parts], axis=1)
            np.testing.assert_array_equal(
                interleaved.reshape(alone[step][field].shape), alone[step][field]
            )


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_restored_stream_goes_on_where_it_was(splits, workers):
    flags.FLAGS.mark_as_parsed()  # Grain reads its flags when it starts processes
    batches = train_batches(splits)
    stream = imagenet.stream(batches, workers)
    for step in range(3):
        assert_same(next(stream), batches[step])
    state = json.loads(json.dumps(stream.get_state()))
    stream.close()
    restored = imagenet.stream(batches, workers)
    restored.set_state(state)
    for step in range(3, 10):  # over the end of two epochs
        assert_same(next(restored), batches[step])
    restored.close()


def test_a_stream_can_start_at_any_step(splits):
    batches = train_batches(splits)
    assert_same(next(imagenet.stream(batches[6:])), batches[6])


@pytest.mark.parametrize("processes", [1, 2])
def test_evaluation_sees_each_image_once_and_marks_the_padding(splits, processes):
    labels = []
    for process in range(processes):
        shards = grain.sharding.ShardOptions(process, processes)
        batches = imagenet.eval_batches(splits.test, 4, shards, image_size=16)
        assert len(batches) == 2
        for batch in imagenet.stream(batches):
            assert batch.images.shape == (4 // processes, 16, 16, 3)
            real = batch.labels != imagenet.PADDING
            np.testing.assert_array_equal(shade(batch.images)[real], batch.labels[real])
            labels.extend(batch.labels)
    assert sorted(labels) == [imagenet.PADDING, *range(7)]


def test_validation_and_subset_come_from_the_training_images(data_dir):
    splits = imagenet.open_splits(data_dir, validation=0.2, train_examples=10)
    train, val = ({element["label"] for element in s} for s in (splits.train, splits.val))
    assert (len(train), len(val)) == (10, 4)
    assert not train & val
    assert len(splits.test) == 7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation": 1.0}, r"validation must be a fraction in \[0, 1\), got 1\.0"),
        ({"validation": 0.2, "train_examples": 16}, r"train_examples must be in \[1, 15\], got 16"),
        ({"train_examples": 0}, r"train_examples must be in \[1, 19\], got 0"),
    ],
)
def test_invalid_splits_raise(data_dir, options, message):
    with pytest.raises(ValueError, match=message):
        imagenet.open_splits(data_dir, **options)


@pytest.mark.parametrize(
    ("batch_size", "processes", "message"),
    [(20, 1, r"in \[1, 19\], got 20"), (3, 2, "a multiple of the 2 processes, got 3")],
)
def test_impossible_batch_sizes_raise(splits, batch_size, processes, message):
    with pytest.raises(ValueError, match=f"batch_size must be {message}"):
        train_batches(splits, batch_size, processes=processes)


def encoded(image, kind="PNG"):
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def test_photographs_of_every_kind_are_read_in_rgb():
    pixels = np.random.default_rng(0).integers(0, 256, (12, 9, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    kinds = {"CMYK": "JPEG", "L": "JPEG", "RGBA": "PNG", "P": "PNG", "1": "PNG"}
    for mode, kind in kinds.items():
        assert np.shape(crops.decode(encoded(image.convert(mode), kind))) == (12, 9, 3)
    deep = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    read = np.asarray(crops.decode(encoded(deep)))
    np.testing.assert_array_equal(read, np.repeat(pixels[..., :1], 3, axis=2))


def test_a_truncated_photograph_is_named():
    file = encoded(Image.fromarray(np.zeros((300, 300, 3), np.uint8)), "JPEG")
    element = {"image": file[: len(file) // 2], "label": 3, "file_name": "n01440764_1.JPEG"}
    with pytest.raises(ValueError, match=r"imagenet2012 n01440764_1\.JPEG cannot be read"):
        imagenet._train_example(element, np.random.default_rng(0), size=16)
