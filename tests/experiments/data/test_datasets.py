"""Splits, subsets and label noise: fixed, balanced, and of the requested size."""

import numpy as np
import pytest

from experiments import data


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


def test_digits_are_whole_and_split_by_class(digits):
    train, test = digits.train, digits.test
    assert train.images.shape == (1437, 8, 8, 1)
    assert test.images.shape == (360, 8, 8, 1)
    assert train.images.dtype == test.images.dtype == np.uint8
    fraction = np.bincount(test.labels) / np.bincount(np.concatenate([train.labels, test.labels]))
    np.testing.assert_allclose(fraction, 0.2, atol=0.005)


def test_the_split_is_the_same_every_time(digits):
    np.random.seed(1)
    again = data.load("digits")
    np.testing.assert_array_equal(again.test.images, digits.test.images)
    np.testing.assert_array_equal(again.train.labels, digits.train.labels)


def test_normalized_training_images_have_mean_zero_and_variance_one(digits):
    images = (digits.train.images - digits.mean) / digits.std
    np.testing.assert_allclose(images.mean(), 0, atol=1e-5)
    np.testing.assert_allclose(images.std(), 1, atol=1e-5)


def test_label_noise_flips_the_share_and_nothing_else(digits):
    noisy = data.flip_labels(digits, 0.2, seed=3)
    flipped = noisy.train.labels != digits.train.labels
    assert flipped.sum() == round(0.2 * 1437)
    assert noisy.train.labels.dtype == digits.train.labels.dtype
    np.testing.assert_array_equal(noisy.train.images, digits.train.images)
    np.testing.assert_array_equal(noisy.test.labels, digits.test.labels)


def test_label_noise_is_uniform_over_the_other_classes(digits):
    noisy = data.flip_labels(digits, 1.0)
    shift = (noisy.train.labels - digits.train.labels) % 10
    counts = np.bincount(shift, minlength=10)
    assert counts[0] == 0
    np.testing.assert_allclose(counts[1:], 1437 / 9, rtol=0.25)


def test_label_noise_follows_its_seed(digits):
    first, again, other = (data.flip_labels(digits, 0.2, seed).train.labels for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_hold_out_takes_validation_from_training_only(digits):
    held = data.hold_out(digits, 0.1)
    assert len(held.val.labels) == 144
    assert len(held.train.labels) + len(held.val.labels) == 1437
    assert held.test is digits.test
    together = np.concatenate([held.train.images, held.val.images]).reshape(1437, -1)
    expected = digits.train.images.reshape(1437, -1)
    np.testing.assert_array_equal(
        together[np.lexsort(together.T)], expected[np.lexsort(expected.T)]
    )


def test_the_folds_test_every_example_once_and_train_on_the_others(digits):
    folds = [data.refold(digits, fold, seed=3) for fold in range(5)]
    tested = np.concatenate([fold.test.images for fold in folds])
    everything = np.concatenate([digits.train.images, digits.test.images])
    np.testing.assert_array_equal(
        np.sort(tested.reshape(len(tested), -1), axis=0),
        np.sort(everything.reshape(len(everything), -1), axis=0),
    )
    for fold in folds:
        assert len(fold.train.labels) + len(fold.test.labels) == 1797
        counts = np.bincount(fold.test.labels)
        assert counts.max() - counts.min() <= 3
    other = data.refold(digits, 0, seed=4)
    assert not np.array_equal(other.test.images, folds[0].test.images)


def test_no_fold_keeps_the_published_test_set(digits):
    assert data.refold(digits, None, seed=3) is digits
    with pytest.raises(ValueError, match=r"fold must be in \[0, 4\], got 5"):
        data.refold(digits, 5)


def test_shrunk_images_have_the_means_of_blocks_of_pixels(digits):
    shrunk = data.shrink(data.hold_out(digits, 0.2), 2)
    assert shrunk.test.images.shape == (360, 4, 4, 1)
    assert shrunk.val.images.shape[1:] == (4, 4, 1)
    assert shrunk.test.images.dtype == np.uint8
    block = digits.test.images[7, 2:4, 4:6, 0].astype(float)
    assert shrunk.test.images[7, 1, 2, 0] == np.round(block.mean())
    with pytest.raises(ValueError, match="shrink must divide height and width, 8 and 8, got 3"):
        data.shrink(digits, 3)


def test_a_subset_has_equally_many_of_each_class(digits):
    few = data.take(digits, 200)
    np.testing.assert_array_equal(np.bincount(few.train.labels), 20)
    np.testing.assert_array_equal(few.test.images, digits.test.images)
    assert len(np.unique(few.train.images.reshape(200, -1), axis=0)) == 200


def test_a_smaller_subset_is_the_start_of_a_larger_one(digits):
    few, many = data.take(digits, 55), data.take(digits, 300)
    np.testing.assert_array_equal(few.train.images, many.train.images[:55])
    np.testing.assert_array_equal(few.train.labels, many.train.labels[:55])


def test_a_subset_of_everything_or_of_no_stated_size_is_everything(digits):
    assert data.take(digits, None) is digits
    everything = np.bincount(data.take(digits, 1437).train.labels)
    np.testing.assert_array_equal(everything, np.bincount(digits.train.labels))


@pytest.mark.parametrize("examples", [0, 1438])
def test_an_invalid_subset_size_raises(digits, examples):
    with pytest.raises(ValueError, match=rf"train_examples must be in \[1, 1437\], got {examples}"):
        data.take(digits, examples)


@pytest.mark.parametrize("edit", [data.hold_out, data.flip_labels])
def test_an_invalid_fraction_raises(digits, edit):
    with pytest.raises(ValueError, match=r"must be a fraction in .* got 1\.5"):
        edit(digits, 1.5)


def test_an_unknown_data_set_lists_the_valid_ones():
    with pytest.raises(
        ValueError, match=r"unknown dataset 'mnist'.*; valid ones: cifar10, cifar100, digits"
    ):
        data.load("mnist")
