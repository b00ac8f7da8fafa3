"""Batches of pairs of similar length: few shapes to compile, and little padding."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.data.text.tokens import PAD


class Pairs(NamedTuple):
    """Tokens of sentences and their translations, as NumPy or as JAX arrays.

    Attributes:
      source: ``[pair, position]``, int32, each sentence with an end token and padded with 0.
      target: the same for the translations. Rows of padding only complete a batch.
    """

    source: Any
    target: Any


class BucketPlan(NamedTuple):
    """The batches that a bucket is divided into, whose numbers of pairs differ by at most one.

    Attributes:
      minibatches: number of minibatches in an epoch.
      rows: pairs in a minibatch, those of padding included.
    """

    minibatches: int
    rows: int


def make_buckets(
    source: Sequence[np.ndarray], target: Sequence[np.ndarray], lengths: Sequence[int]
) -> list[Pairs]:
    """Sorts pairs into buckets by the longer of the two sentences.

    Args:
      source: tokens of each sentence.
      target: tokens of each translation.
      lengths: tokens of the longest sentence of each bucket, ascending; longer pairs are skipped.

    Returns:
      The buckets that are not empty, padded to their lengths.

    Raises:
      ValueError: if ``lengths`` is not ascending and positive, or all pairs are longer.
    """
    if list(lengths) != sorted(set(lengths)) or not lengths or lengths[0] < 1:
        raise ValueError(f"buckets must be positive and ascending, got {tuple(lengths)}.")
    longest = np.array([max(map(len, pair)) for pair in zip(source, target, strict=True)])
    bucket = np.searchsorted(lengths, longest)
    buckets = []
    for i, length in enumerate(lengths):
        rows = np.flatnonzero(bucket == i)
        if len(rows):
            buckets.append(Pairs(*(_pad(side, rows, length) for side in (source, target))))
    if not buckets:
        raise ValueError(
            f"buckets end at {lengths[-1]} tokens, but the shortest pair has {longest.min()}."
        )
    return buckets


def plan(pairs: Pairs, max_tokens: int, *, multiple: int = 1, grouped: int = 1) -> BucketPlan:
    """Divides a bucket into minibatches of at most ``max_tokens`` padded tokens per language.

    Args:
      pairs: the bucket.
      max_tokens: upper bound on the number of pairs times their padded length.
      multiple: a divisor of the number of pairs of a minibatch: devices or microbatches.
      grouped: a divisor of the number of minibatches: the minibatches of one step.

    Raises:
      ValueError: if not even ``multiple`` pairs fit in ``max_tokens``.
    """
    count, length = pairs.source.shape
    # The most pairs of a minibatch that the devices and microbatches divide.
    fit = max_tokens // length // multiple * multiple
    if fit < 1:
        raise ValueError(
            f"max_tokens must be >= {length * multiple} for pairs of {length} tokens in multiples "
            f"of {multiple}, got {max_tokens}."
        )
    # Rounded up to whole steps. Then as few rows as hold all pairs: minibatches that are equally
    # full, rather than full ones and a rest, all of one shape.
    minibatches = -(-count // (fit * grouped)) * grouped
    rows = -(-count // (minibatches * multiple)) * multiple
    return BucketPlan(minibatches, rows)


def epoch_batches(
    buckets: Sequence[Pairs],
    plans: Sequence[BucketPlan],
    rng: np.random.Generator,
    *,
    grouped: int = 1,
) -> Iterator[Pairs]:
    """All pairs once, in random batches of one bucket each, in random order.

    With ``grouped`` > 1 a batch is that many stacked minibatches, ``[minibatch, pair, position]``.
    """
    steps = []
    for i, (bucket, (minibatches, rows)) in enumerate(zip(buckets, plans, strict=True)):
        order = rng.permutation(len(bucket.source))
        # Padding is spread over the minibatches: none has two pairs more than another.
        parts = np.array_split(order, minibatches)
        padded = [np.pad(part, (0, rows - len(part)), constant_values=-1) for part in parts]
        # Minibatches of a step come from one bucket, so that they can be stacked.
        shape = (-1, grouped, rows) if grouped > 1 else (-1, rows)
        steps += [(i, step_rows) for step_rows in np.reshape(padded, shape)]
    for index in rng.permutation(len(steps)):
        i, step_rows = steps[index]
        yield take_rows(buckets[i], step_rows)


def take_rows(pairs: Pairs, rows: np.ndarray) -> Pairs:
    """The pairs of an array of rows; padding where it is -1."""
    return Pairs(*(np.where(rows[..., None] < 0, PAD, side[rows]) for side in pairs))


def steps_per_epoch(plans: Sequence[BucketPlan], grouped: int = 1) -> int:
    """Number of batches."""
    return sum(p.minibatches for p in plans) // grouped


def extended(lengths: Sequence[int], longest: int) -> list[int]:
    """The lengths of buckets with one more, if needed, for sentences of ``longest`` tokens."""
    if longest <= lengths[-1]:
        return list(lengths)
    return [*lengths, -(-longest // 8) * 8]


def _pad(side: Sequence[np.ndarray], rows: np.ndarray, length: int) -> np.ndarray:
    padded = np.full((len(rows), length), PAD, np.int32)
    for i, row in enumerate(rows):
        padded[i, : len(side[row])] = side[row]
    return padded
