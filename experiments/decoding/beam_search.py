"""Beam search over any step function, compiled as one loop."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

StepFn = Callable[[jax.Array, jax.Array, Any], tuple[jax.Array, Any]]


class Beams(NamedTuple):
    """The finished hypotheses of each sentence, best first.

    Attributes:
      tokens: ``[sentence, beam, position]``, with the end token and zeros behind it.
      scores: ``[sentence, beam]``, log probability / length^penalty; -inf where fewer hypotheses
        than beams ended.
    """

    tokens: jax.Array
    scores: jax.Array


class _State(NamedTuple):
    position: jax.Array
    tokens: jax.Array  # of live hypotheses, [sentence, beam, position]
    log_probs: jax.Array  # of live hypotheses, [sentence, beam]
    cache: Any
    finished: Beams
    num_finished: jax.Array  # [sentence]


def beam_search(
    step_fn: StepFn,
    cache: Any,
    limits: jax.Array,
    *,
    length: int,
    beam: int,
    first: int,
    end: int,
    length_penalty: float = 1.0,
) -> Beams:
    """Finds likely sequences under an autoregressive model, as fairseq's generator does.

    In each step the 2 ``beam`` best continuations are candidates. Those of the best ``beam`` that
    end are finished; the best ``beam`` that do not end stay live. A sentence is done when
    ``beam`` hypotheses are finished, so a beam of 1 is greedy decoding. Sentences do not affect
    each other.

    Args:
      step_fn: ``(tokens [sentence, beam], position, cache) -> (logits [sentence, beam, token],
        cache)``: the tokens at a position to the logits of the next.
      cache: a pytree of arrays ``[sentence, beam, ...]``, reordered as hypotheses are selected.
      limits: ``[sentence]``, largest number of tokens of a hypothesis, the end token included, in
        [1, length].
      length: the largest of all limits (static).
      beam: number of hypotheses.
      first: token at position 0, not part of the result.
      end: token that ends a hypothesis.
      length_penalty: exponent of the length in the score; 0 prefers short outputs.

    Returns:
      The finished hypotheses. At least one per sentence: at its limit only ``end`` is possible.
    """
    (sentences,) = limits.shape
    tokens = jnp.zeros((sentences, beam, length), jnp.int32)
    # All beams start as the same hypothesis: only one of them counts.
    log_probs = jnp.where(jnp.arange(beam) == 0, 0.0, -jnp.inf)
    log_probs = jnp.broadcast_to(log_probs, (sentences, beam))
    state = _State(
        position=jnp.int32(0),
        tokens=tokens,
        log_probs=log_probs,
        cache=cache,
        finished=Beams(tokens, jnp.full_like(log_probs, -jnp.inf)),
        num_finished=jnp.zeros(sentences, jnp.int32),
    )

    def is_done(state: _State) -> jax.Array:
        return (state.num_finished >= beam) | jnp.isneginf(state.log_probs).all(-1)

    def step(state: _State) -> _State:
        previous = jax.lax.dynamic_index_in_dim(
            state.tokens, state.position - 1, axis=2, keepdims=False
        )
        previous = jnp.where(state.position == 0, first, previous)
        logits, cache = step_fn(previous, state.position, state.cache)
        log_probs = jax.nn.log_softmax(logits.astype(state.log_probs.dtype))
        at_limit = state.position + 1 >= limits
        ends = jnp.arange(logits.shape[-1]) == end
        log_probs = jnp.where(at_limit[:, None, None] & ~ends, -jnp.inf, log_probs)

        candidates = _best_continuations(state, log_probs, 2 * beam)
        ended = candidates.last == end
        scores = candidates.log_probs / (state.position + 1.0) ** length_penalty
        accepted = ended & (jnp.arange(2 * beam) < beam) & ~is_done(state)[:, None]
        scores = jnp.where(accepted, scores, -jnp.inf)
        num_finished = state.num_finished + (scores > -jnp.inf).sum(-1, dtype=jnp.int32)
        finished = _merge(state.finished, Beams(candidates.tokens, scores), beam)

        log_probs, live = jax.lax.top_k(jnp.where(ended, -jnp.inf, candidates.log_probs), beam)
        return _State(
            position=state.position + 1,
            tokens=_gather(candidates.tokens, live),
            log_probs=log_probs,
            cache=_gather(cache, _gather(candidates.parent, live)),
            finished=finished,
            num_finished=num_finished,
        )

    def continues(state: _State) -> jax.Array:
        return (state.position < length) & ~is_done(state).all()

    return jax.lax.while_loop(continues, step, state).finished


class _Candidates(NamedTuple):
    tokens: jax.Array  # [sentence, candidate, position]
    last: jax.Array  # [sentence, candidate]
    parent: jax.Array  # [sentence, candidate]
    log_probs: jax.Array  # [sentence, candidate], best first


def _best_continuations(state: _State, log_probs: jax.Array, number: int) -> _Candidates:
    """The most probable live hypotheses, each continued by one token."""
    sentences, _, vocabulary = log_probs.shape
    totals = (state.log_probs[..., None] + log_probs).reshape(sentences, -1)
    missing = max(0, number - totals.shape[1])  # of a tiny vocabulary
    totals = jnp.pad(totals, ((0, 0), (0, missing)), constant_values=-jnp.inf)
    best, index = jax.lax.top_k(totals, number)
    parent, last = index // vocabulary, index % vocabulary  # beyond all beams where it is missing
    tokens = _gather(state.tokens, parent)
    tokens = jax.lax.dynamic_update_slice_in_dim(tokens, last[..., None], state.position, axis=2)
    return _Candidates(tokens, last, parent, best)


def _merge(old: Beams, new: Beams, beam: int) -> Beams:
    """The best of two sets of finished hypotheses."""
    both = jax.tree.map(lambda *x: jnp.concatenate(x, axis=1), old, new)
    scores, index = jax.lax.top_k(both.scores, beam)
    return Beams(_gather(both.tokens, index), scores)


def _gather(tree: Any, index: jax.Array) -> Any:
    """Selects ``[sentence, selected]`` entries of the second axis of each array."""
    rows = jnp.arange(index.shape[0])[:, None]
    return jax.tree.map(lambda x: x[rows, index], tree)
