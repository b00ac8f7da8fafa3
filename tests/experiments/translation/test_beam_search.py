import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.data.text.tokens import BOS, EOS
from experiments.decoding.beam_search import beam_search
from experiments.decoding.translate import Search, translate
from tests.experiments.translation.tiny import forward, make_model, sentences

pytestmark = pytest.mark.usefixtures("float64")

VOCABULARY, END, FIRST = 4, 2, 1


def random_language(sentences=2, seed=0):
    """Logits ``[sentence, position, previous token, next token]`` of a toy Markov model."""
    return np.random.default_rng(seed).normal(size=(sentences, 4, VOCABULARY, VOCABULARY)) * 2


@partial(jax.jit, static_argnames="beam")
def run(table, beam, limits, length_penalty=1.0):
    def step_fn(tokens, position, cache):
        rows = jnp.arange(len(table))[:, None]
        return table[rows, position, tokens], cache

    return beam_search(
        step_fn,
        {},
        limits,
        length=4,
        beam=beam,
        first=FIRST,
        end=END,
        length_penalty=length_penalty,
    )


def log_prob(table, tokens):
    """Of one hypothesis, as a loop over its tokens."""
    total, previous = 0.0, FIRST
    for position, token in enumerate(tokens):
        logits = table[position, previous]
        total += logits[token] - np.log(np.exp(logits).sum())
        previous = token
    return total


def all_hypotheses(table, limit, length_penalty):
    """Every sequence that ends within the limit, best first; at the limit the end is certain."""
    others = [token for token in range(VOCABULARY) if token != END]
    found = []
    for length in range(1, limit + 1):
        for prefix in itertools.product(others, repeat=length - 1):
            tokens = (*prefix, END)
            found.append((log_prob(table, tokens) / length**length_penalty, tokens))
    return sorted(found, reverse=True)


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_a_wide_beam_equals_exhaustive_search(length_penalty):
    table, limits = random_language(), [4, 3]
    beams = run(table, 40, np.array(limits), length_penalty)  # 1 + 3 + 9 + 27 hypotheses
    for sentence, limit in enumerate(limits):
        expected = all_hypotheses(table[sentence], limit, length_penalty)
        scores = np.asarray(beams.scores[sentence])
        assert np.isfinite(scores).sum() == len(expected)
        np.testing.assert_allclose(scores[: len(expected)], [s for s, _ in expected], rtol=1e-9)
        for row, (_, tokens) in zip(beams.tokens[sentence], expected, strict=False):
            assert tuple(row[: len(tokens)].tolist()) == tokens
            assert not row[len(tokens) :].any()


@pytest.mark.parametrize("seed", range(5))
def test_a_beam_of_1_is_greedy(seed):
    table = random_language(sentences=3, seed=seed)
    beams = run(table, 1, np.array([4, 4, 4]))
    for sentence in range(3):
        tokens, previous = [], FIRST
        while END not in tokens and len(tokens) < 3:
            previous = int(table[sentence, len(tokens), previous].argmax())
            tokens.append(previous)
        tokens += [] if END in tokens else [END]
        assert beams.tokens[sentence, 0, : len(tokens)].tolist() == tokens
        score = log_prob(table[sentence], tokens) / len(tokens)
        assert beams.scores[sentence, 0] == pytest.approx(score)


def test_sentences_do_not_affect_each_other():
    table, limits = random_language(sentences=5), [4, 2, 3, 1, 4]
    together = run(table, 3, np.array(limits))
    for i, limit in enumerate(limits):
        alone = run(table[i : i + 1], 3, np.array([limit]))
        np.testing.assert_array_equal(alone.tokens[0], together.tokens[i])
        np.testing.assert_allclose(alone.scores[0], together.scores[i], rtol=1e-12)


def test_hypotheses_end_within_the_limit_of_their_sentence():
    limits = [1, 2, 3, 4]
    beams = run(random_language(sentences=4), 2, np.array(limits))
    for tokens, limit in zip(beams.tokens[:, 0], limits, strict=True):
        assert END in tokens[:limit].tolist()
        assert not tokens[limit:].any()


def test_the_cache_follows_its_hypothesis():
    """The cache holds the tokens so far; a step that disagrees with them shows in the scores."""
    table = random_language(sentences=2, seed=3)

    def step_fn(tokens, position, cache):
        past = cache.at[:, :, position].set(tokens)
        # The last but one token matters too: only the right past gives the right logits.
        before = past[:, :, jnp.maximum(position - 1, 0)]
        rows = jnp.arange(2)[:, None]
        return jnp.asarray(table)[rows, position, (tokens + before) % VOCABULARY], past

    beams = beam_search(
        step_fn,
        jnp.zeros((2, 3, 4), jnp.int32),
        jnp.array([4, 4]),
        length=4,
        beam=3,
        first=FIRST,
        end=END,
    )
    for sentence in range(2):
        for row, score in zip(beams.tokens[sentence], beams.scores[sentence], strict=True):
            inputs = [FIRST, *row.tolist()]
            total, length = 0.0, row.tolist().index(END) + 1
            for i in range(length):
                logits = table[sentence, i, (inputs[i] + inputs[max(i - 1, 0)]) % VOCABULARY]
                total += logits[inputs[i + 1]] - np.log(np.exp(logits).sum())
            assert score == pytest.approx(total / length)


def test_translations_do_not_depend_on_batches_or_padding():
    model = make_model(pre_norm=True)
    lengths = [3, 7, 5, 6, 2, 7]
    source = [row[:length] for row, length in zip(sentences(lengths, 7), lengths, strict=True)]
    together = translate(model, source, Search(beam=3), [8])
    small = translate(model, source, Search(beam=3, max_tokens=32), [16])
    for one, two in zip(together, small, strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_translation_with_beam_1_is_greedy_by_the_full_forward_pass():
    model = make_model(seed=1)
    source = sentences([6], 6)
    (found,) = translate(model, [source[0]], Search(beam=1), [6])
    tokens = [BOS]
    while EOS not in tokens and len(tokens) < int(1.2 * 6 + 10):
        padded = np.pad([tokens], ((0, 0), (0, 17 - len(tokens))))
        tokens.append(int(forward(model, source, padded)[0, len(tokens) - 1].argmax()))
    tokens += [] if EOS in tokens else [EOS]
    assert found.tolist() == tokens[1:]


def test_a_sentence_longer_than_every_bucket_is_an_error():
    with pytest.raises(ValueError, match=r"reach 5 tokens, got \(4,\)"):
        translate(make_model(), [sentences([5], 5)[0]], Search(), [4])
