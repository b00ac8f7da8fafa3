import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments.data.text.tokens import PAD
from experiments.models.sequence.transformer import PADDING, Transformer, sinusoids
from experiments.tasks.translation import shift_right
from tests.experiments.translation.tiny import SIZES, cached_forward, forward, make_model, sentences

pytestmark = pytest.mark.usefixtures("float64")

CLOSE = {"rtol": 1e-11, "atol": 1e-11}
NORMS = pytest.mark.parametrize("pre_norm", [False, True], ids=["post_norm", "pre_norm"])


def test_data_and_model_agree_on_padding():
    assert PADDING == PAD


def count_params(*sizes, **options):
    model = nnx.eval_shape(lambda: Transformer(*sizes, rngs=nnx.Rngs(0), **options))
    return sum(w.size for w in jax.tree.leaves(nnx.state(model, nnx.Param)))


def test_the_recipe_of_fairseq_has_its_number_of_parameters():
    assert count_params(8848, 6632) == 39_469_056


def test_shared_embeddings_save_one_of_them():
    assert count_params(1000, 1000) - count_params(1000, 1000, share_embeddings=True) == 512_000


def test_initial_embeddings_have_the_variance_of_fairseq_and_no_padding():
    model = Transformer(3000, 50, width=64, layers=1, rngs=nnx.Rngs(0))
    rows = np.asarray(model.source_embedding.embedding[...])
    assert np.std(rows[1:]) == pytest.approx(64**-0.5, rel=0.02)
    np.testing.assert_array_equal(rows[PAD], 0)


def test_sinusoids_are_those_of_fairseq():
    """By the loop of fairseq's SinusoidalPositionalEmbedding, in NumPy."""
    half = 4
    scale = np.log(10_000) / (half - 1)
    angles = np.arange(6)[:, None] * np.exp(np.arange(half) * -scale)[None]
    expected = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    np.testing.assert_allclose(sinusoids(jnp.arange(6), 8), expected, **CLOSE)


@NORMS
def test_a_cached_step_equals_the_full_forward_pass_at_every_position(pre_norm):
    model = make_model(pre_norm=pre_norm, layers=2)
    source, target = sentences([5, 3], 6), sentences([6, 4], 6, seed=1)
    inputs = shift_right(target)
    found = cached_forward(model, source, inputs[:, None])
    np.testing.assert_allclose(found[:, 0], forward(model, source, inputs), **CLOSE)


def test_each_beam_of_a_cached_step_has_its_own_past():
    model = make_model()
    source, targets = sentences([5, 3], 6), sentences([4] * 6, 6, seed=1).reshape(2, 3, 6)
    found = cached_forward(model, source, targets)
    for beam in range(3):
        expected = forward(model, source, targets[:, beam])
        np.testing.assert_allclose(found[:, beam], expected, **CLOSE)


@NORMS
def test_logits_do_not_depend_on_later_target_tokens(pre_norm):
    model = make_model(pre_norm=pre_norm)
    source, target = sentences([6], 6), sentences([6], 6, seed=1)
    other = target.copy()
    other[0, 3:] = 4 + (target[0, 3:] + 1) % 7
    before, after = forward(model, source, target), forward(model, source, other)
    np.testing.assert_array_equal(before[:, :3], after[:, :3])
    assert not np.allclose(before[:, 3:], after[:, 3:])


def test_every_logit_depends_on_every_source_token():
    model = make_model()
    source, target = sentences([6], 6), sentences([6], 6, seed=1)
    before = forward(model, source, target)
    for position in range(6):
        other = source.copy()
        other[0, position] = 4 + (source[0, position] + 1) % 7
        assert not np.isclose(forward(model, other, target), before).all(-1).any()


def test_a_sentence_does_not_depend_on_its_neighbours_or_padding():
    model, lengths = make_model(), [5, 3, 6]
    source, target = sentences(lengths, 9), sentences(lengths, 9, seed=1)
    together = forward(model, source, target)
    alone = forward(model, source[2:, :6], target[2:, :6])
    np.testing.assert_allclose(alone[0], together[2, :6], **CLOSE)


def test_dropout_is_drawn_from_the_key_of_the_call():
    model = make_model(dropout=0.3)
    source, target = sentences([5], 5), sentences([4], 4, seed=1)
    model.train()

    @nnx.jit
    def dropped(model, source, target, key):
        return model(source, target, nnx.Rngs(dropout=key))

    first, again, other = (
        dropped(model, source, target, jax.random.key(seed)) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_bfloat16_leaves_weights_and_logits_in_float32():
    def logits(tokens):
        model = Transformer(11, 11, dtype=jnp.bfloat16, **SIZES, rngs=nnx.Rngs(0))
        model.eval()
        return model(tokens, tokens), nnx.state(model, nnx.Param)

    shapes = jax.eval_shape(logits, sentences([3], 3))
    assert {x.dtype for x in jax.tree.leaves(shapes)} == {jnp.float32.dtype}


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"heads": 3}, "heads must divide the width 8, got 3"),
        ({"width": 7, "heads": 1}, "got 7"),
        ({"share_embeddings": True}, "11 source and 12 target"),
    ],
)
def test_impossible_sizes_are_errors(options, named):
    sizes = {"width": 8, "hidden": 12, "heads": 2, "layers": 1} | options
    with pytest.raises(ValueError, match=named):
        Transformer(11, 12, rngs=nnx.Rngs(0), **sizes)
