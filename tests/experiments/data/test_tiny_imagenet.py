"""Tiny-ImageNet from a small folder of its layout."""

import numpy as np
import pytest
from PIL import Image

from experiments import data
from experiments.data.images import tiny_imagenet

WNIDS = ["n02", "n01", "n03", "n04"]
COLORS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 128, 128)]


def write(path, color, size=64, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (size, size), color).convert(mode).save(path, "JPEG")


@pytest.fixture
def folder(tmp_path):
    """Four classes of three training and two validation images, one of them grey."""
    root = tmp_path / "tiny-imagenet-200"
    annotations = []
    for wnid, color in zip(WNIDS, COLORS, strict=True):
        mode = "L" if wnid == "n04" else "RGB"
        for i in range(3):
            write(root / "train" / wnid / "images" / f"{wnid}_{i}.JPEG", color, mode=mode)
        for _ in range(2):
            name = f"val_{len(annotations)}.JPEG"
            write(root / "val" / "images" / name, color, mode=mode)
            annotations.append(f"{name}\t{wnid}\t0\t0\t63\t63\n")
    (root / "val" / "val_annotations.txt").write_text("".join(annotations))
    (root / "wnids.txt").write_text("\n".join(WNIDS) + "\n")
    return root


@pytest.mark.parametrize("given", ["the folder", "its parent"])
def test_images_and_labels_in_the_order_of_wnids(folder, given):
    dataset = tiny_imagenet.load(str(folder if given == "the folder" else folder.parent))
    assert dataset.train.images.shape == (12, 64, 64, 3)
    assert dataset.train.images.dtype == np.uint8
    assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert dataset.test.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert (dataset.num_classes, dataset.augment) == (4, True)
    for examples in (dataset.train, dataset.test):
        expected = np.array(COLORS)[examples.labels]
        np.testing.assert_allclose(examples.images.mean(axis=(1, 2)), expected, atol=3)


def test_images_are_decoded_once(folder, monkeypatch):
    first = tiny_imagenet.load(str(folder))
    monkeypatch.setattr(tiny_imagenet, "_decode", None)
    again = tiny_imagenet.load(str(folder))
    np.testing.assert_array_equal(first.train.images, again.train.images)


def test_changed_files_are_decoded_again(folder):
    tiny_imagenet.load(str(folder))
    write(folder / "train" / "n01" / "images" / "n01_9.JPEG", (0, 0, 0))
    assert len(tiny_imagenet.load(str(folder)).train.labels) == 13


@pytest.mark.parametrize("damage", [lambda x: b"", lambda x: x[:-200], lambda x: b"\0" * len(x)])
def test_a_damaged_cache_is_decoded_again(folder, damage):
    first = tiny_imagenet.load(str(folder))
    (cache,) = folder.glob("decoded-train.npz")
    cache.write_bytes(damage(cache.read_bytes()))
    again = tiny_imagenet.load(str(folder))
    np.testing.assert_array_equal(first.train.images, again.train.images)


def test_a_folder_that_cannot_be_written_is_read(folder, monkeypatch):
    monkeypatch.setattr(tiny_imagenet.os, "access", lambda *_: False)
    tiny_imagenet.load(str(folder))
    assert not list(folder.glob("*.npz"))


def test_a_broken_image_raises_with_its_path(folder):
    path = folder / "train" / "n03" / "images" / "n03_1.JPEG"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"n03_1\.JPEG"):
        tiny_imagenet.load(str(folder))


def test_an_image_of_another_size_raises(folder):
    write(folder / "val" / "images" / "val_1.JPEG", (0, 0, 0), size=32)
    with pytest.raises(ValueError, match=r"val_1\.JPEG.*64x64.*32x32"):
        tiny_imagenet.load(str(folder))


def test_an_unknown_class_raises(folder):
    with open(folder / "val" / "val_annotations.txt", "a") as file:
        file.write("val_0.JPEG\tn99\t0\t0\t63\t63\n")
    with pytest.raises(ValueError, match=r"n99.*val_0\.JPEG"):
        tiny_imagenet.load(str(folder))


@pytest.mark.parametrize("missing", ["val/val_annotations.txt", "train/n01/images", "wnids.txt"])
def test_missing_parts_raise_with_their_path(folder, missing):
    (folder / missing).rename(folder / "elsewhere")
    with pytest.raises(FileNotFoundError, match=missing.replace(".", r"\.")):
        data.load("tiny_imagenet", str(folder))
