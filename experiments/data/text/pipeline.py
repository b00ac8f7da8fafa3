"""Input pipeline of parallel text: buckets in memory, batches of a number of tokens."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import count, islice
from math import lcm
from operator import mul
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from experiments.data.pipeline import Epoch, Pipeline
from experiments.data.text.buckets import (
    Pairs,
    epoch_batches,
    extended,
    make_buckets,
    plan,
    steps_per_epoch,
    take_rows,
)
from experiments.data.text.corpus import Corpus, Sentences
from experiments.data.text.subwords import Subwords
from experiments.data.text.tokens import PAD
from experiments.parallel.mesh import batch_sharding, to_devices


class TextInfo(NamedTuple):
    """Static properties of a tokenized text.

    Attributes:
      num_examples: number of pairs of an epoch.
      num_long: number of training pairs that are skipped because they exceed the longest bucket.
      vocabulary: number of tokens, the same for source and target.
    """

    num_examples: int
    num_long: int
    vocabulary: int


def text_pipeline(
    corpus: Corpus,
    subwords: Subwords,
    mesh: Mesh,
    key: jax.Array,
    *,
    lengths: Sequence[int],
    max_tokens: int,
    num_minibatches: int = 1,
    num_microbatches: int = 1,
    eval_test: bool = False,
) -> Pipeline:
    """Returns a pipeline of :class:`Pairs`; each bucket's batches have one shape.

    Args:
      corpus: the text.
      subwords: its encoding.
      mesh: devices that divide each batch.
      key: PRNG key of the order of the pairs.
      lengths: longest pair of each bucket, in tokens; longer ones are not trained on.
      max_tokens: largest number of padded tokens of a minibatch, per language.
      num_minibatches: number of minibatches of a training step, all of one bucket.
      num_microbatches: number of parts that each minibatch is divided into.
      eval_test: whether to evaluate on the test set in addition to the validation set.
    """
    source, target = (subwords.encode(side) for side in corpus.train)
    buckets = make_buckets(source, target, lengths)
    multiple = lcm(mesh.size, num_microbatches)
    plans = [plan(b, max_tokens, multiple=multiple, grouped=num_minibatches) for b in buckets]
    steps = steps_per_epoch(plans, num_minibatches)
    num_examples = sum(len(bucket.source) for bucket in buckets)
    num_tokens = sum(int((bucket.target != PAD).sum()) for bucket in buckets)
    sharding = batch_sharding(mesh, axis=1 if num_minibatches > 1 else 0)

    def train(first_epoch: int, first_step: int = 0) -> Iterator[Epoch]:
        for epoch in count(first_epoch):
            seed = np.asarray(jax.random.key_data(jax.random.fold_in(key, epoch)))
            batches = epoch_batches(
                buckets, plans, np.random.default_rng(seed), grouped=num_minibatches
            )
            rest = islice(batches, first_step, None)
            yield (to_devices(batch, sharding) for batch in rest)
            first_step = 0

    splits = {"val": corpus.valid, "test": corpus.test} if eval_test else {"val": corpus.valid}
    evaluation = {
        name: [
            to_devices(batch, batch_sharding(mesh))
            for batch in _eval_batches(split, subwords, lengths, max_tokens, mesh.size)
        ]
        for name, split in splits.items()
    }
    return Pipeline(
        TextInfo(num_examples, len(source) - num_examples, subwords.size),
        partial(mul, steps),
        num_tokens // steps,
        train,
        {name: partial(iter, batches) for name, batches in evaluation.items()},
        unit="tokens",
    )


def _eval_batches(
    split: Sentences, subwords: Subwords, lengths: Sequence[int], max_tokens: int, multiple: int
) -> Iterator[Pairs]:
    """All pairs of a split in their order within buckets, the longest ones too."""
    source, target = (subwords.encode(side) for side in split)
    longest = max(map(len, [*source, *target]))
    for bucket in make_buckets(source, target, extended(lengths, longest)):
        minibatches, rows = plan(bucket, max(max_tokens, longest * multiple * 2), multiple=multiple)
        order = np.full(minibatches * rows, -1)
        order[: len(bucket.source)] = np.arange(len(bucket.source))
        for batch_rows in order.reshape(minibatches, rows):
            yield take_rows(bucket, batch_rows)
