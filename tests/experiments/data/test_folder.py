"""A folder of images of many kinds, as a dataset."""

import numpy as np
import pytest
from PIL import Image

from experiments import data

MODES = {"grey.jpg": "L", "cmyk.JPG": "CMYK", "alpha.png": "RGBA", "palette.png": "P"}


@pytest.fixture
def folder(tmp_path):
    """Red cats and blue dogs of different sizes, formats and modes, and files that are none."""
    for split in ("train", "test"):
        for name, color in {"dog": (0, 0, 255), "cat": (255, 0, 0)}.items():
            path = tmp_path / split / name
            path.mkdir(parents=True)
            for i, (file, mode) in enumerate(MODES.items()):
                Image.new("RGB", (70 + 9 * i, 90), color).convert(mode).save(path / file)
            (path / ".DS_Store").write_bytes(b"")
            (path / "._grey.jpg").write_bytes(b"no image")
            (path / "notes.txt").write_text("no image")
        (tmp_path / split / ".hidden").mkdir()
    return tmp_path


def test_images_of_any_size_and_mode_are_read(folder):
    dataset = data.load("folder", str(folder))
    assert dataset.num_classes == 2
    for examples in (dataset.train, dataset.test):
        assert examples.images.shape == (8, 64, 64, 3)
        np.testing.assert_array_equal(examples.labels, [0] * 4 + [1] * 4)  # cat, dog
    red = dataset.train.images[0].astype(int)  # alpha.png is the first
    assert abs(red - [255, 0, 0]).max() <= 3
    pixels = dataset.train.images.reshape(-1, 3)
    np.testing.assert_allclose(dataset.mean, pixels.mean(0), rtol=1e-5)
    np.testing.assert_allclose(dataset.std, pixels.std(0), rtol=1e-5)


def test_the_central_square_is_kept(tmp_path):
    pixels = np.zeros((64, 128, 3), np.uint8)
    pixels[:, 32:96] = 200  # the middle
    for split in ("train", "val"):
        (tmp_path / split / "a").mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / split / "a" / "x.png")
    dataset = data.load("folder", str(tmp_path))
    assert (dataset.train.images == 200).all()
    assert (dataset.test.images == 200).all()  # of val, as there is no test


def damage(path):
    path.write_bytes(path.read_bytes()[:50])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: damage(root / "train/cat/grey.jpg"), r"train/cat/grey\.jpg cannot be read"),
        (lambda root: (root / "train/fish").mkdir(), r"train/fish has no images"),
        (lambda root: (root / "test/fish").mkdir(), r"test/fish is a class without training"),
        (lambda root: (root / "train").rename(root / "x"), r"needs --config\.data_dir with images"),
    ],
)
def test_what_is_wrong_is_named(change, message, folder):
    change(folder)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        data.load("folder", str(folder))


def test_without_a_folder_the_layout_is_shown():
    with pytest.raises(FileNotFoundError, match="train/CLASS/"):
        data.load("folder")
