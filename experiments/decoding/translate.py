"""Translation of tokenized sentences by beam search, in batches of similar length."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.data.text.tokens import BOS, EOS, PAD
from experiments.decoding.beam_search import beam_search
from experiments.decoding.cached_decoder import decode_step, empty_cache, make_memory


class Search(NamedTuple):
    """Settings of the search for a translation.

    Attributes:
      beam: number of hypotheses per sentence; 1 is greedy.
      length_penalty: exponent of the length by which log probabilities are divided.
      max_ratio: a translation has at most ``max_ratio * source tokens + max_extra`` tokens.
      max_extra: see ``max_ratio``; the defaults are those of fairseq's recipe.
      max_tokens: largest number of padded source tokens of a batch.
    """

    beam: int = 5
    length_penalty: float = 1.0
    max_ratio: float = 1.2
    max_extra: int = 10
    max_tokens: int = 4096


def translate(
    model: nnx.Module, source: Sequence[np.ndarray], search: Search, lengths: Sequence[int]
) -> list[np.ndarray]:
    """The best translation of each sentence, as tokens that end with the end token.

    Args:
      model: a Transformer in eval mode.
      source: tokens of each sentence, end token included.
      search: its settings.
      lengths: source lengths to pad to, ascending, the last one enough for every sentence; one
        program is compiled for each that is needed.
    """
    graphdef, state = nnx.split(model)
    bucket = np.searchsorted(lengths, [len(sentence) for sentence in source])
    if source and bucket.max() == len(lengths):
        longest = max(map(len, source))
        raise ValueError(f"lengths must reach {longest} tokens, got {tuple(lengths)}.")
    translations: list[np.ndarray] = [np.empty(0, np.int32)] * len(source)
    for i in np.unique(bucket):
        length, rows = lengths[i], np.flatnonzero(bucket == i)
        size = min(len(rows), max(1, search.max_tokens // length))
        for start in range(0, len(rows), size):
            chunk = rows[start : start + size]
            batch = np.full((size, length), PAD, np.int32)
            for row, sentence in zip(batch, chunk, strict=False):
                row[: len(source[sentence])] = source[sentence]
            best = np.asarray(_translate(graphdef, state, batch, search))
            for tokens, sentence in zip(best, chunk, strict=False):
                translations[sentence] = tokens[: int(np.argmax(tokens == EOS)) + 1]
    return translations


@partial(jax.jit, static_argnames=("graphdef", "search"))
def _translate(
    graphdef: nnx.GraphDef, state: nnx.State, source: jax.Array, search: Search
) -> jax.Array:
    """The best hypothesis for ``[sentence, position]`` tokens, padded with 0."""
    model = nnx.merge(graphdef, state)
    memory = make_memory(model, source)

    def allowed(source_length: jax.Array | int) -> jax.Array:
        return jnp.int32(search.max_ratio * source_length + search.max_extra)

    length = int(search.max_ratio * source.shape[1] + search.max_extra)
    beams = beam_search(
        partial(decode_step, model, memory),
        empty_cache(memory, search.beam, length),
        jnp.minimum(allowed((source != PAD).sum(-1)), length),
        length=length,
        beam=search.beam,
        first=BOS,
        end=EOS,
        length_penalty=search.length_penalty,
    )
    return beams.tokens[:, 0]
