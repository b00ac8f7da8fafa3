import gzip

import numpy as np
import pytest

from experiments.data.text.buckets import (
    Pairs,
    epoch_batches,
    extended,
    make_buckets,
    plan,
    steps_per_epoch,
)
from experiments.data.text.corpus import Sentences, read_corpus
from experiments.data.text.subwords import learn_subwords
from experiments.data.text.tokens import EOS, PAD


@pytest.fixture
def folder(tmp_path):
    """Three pairs for training, one for each of the others; the validation files are gzipped."""
    files = {
        "train.de": "Ein Haus\nZwei Häuser \n\nDrei\n",
        "train.en": "One house\nTwo houses\nblank\nThree\n",
        "test.de": "Vier\n",
        "test.en": "Four\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    for name, text in {"val.de.gz": "Fünf\n", "val.en.gz": "Five\n"}.items():
        (tmp_path / name).write_bytes(gzip.compress(text.encode()))
    return tmp_path


def test_reads_plain_and_gzipped_files_without_blank_training_pairs(folder):
    corpus = read_corpus(folder, "de", "en")
    assert corpus.train.source == ["Ein Haus", "Zwei Häuser", "Drei"]
    assert corpus.train.target == ["One house", "Two houses", "Three"]
    assert corpus.valid == (["Fünf"], ["Five"])
    assert corpus.test == (["Vier"], ["Four"])


def test_lowercases_and_reverses_on_request(folder):
    corpus = read_corpus(folder, "en", "de", lowercase=True)
    assert corpus.train.target == ["ein haus", "zwei häuser", "drei"]


def test_a_line_separator_within_a_sentence_is_no_line_end(folder):
    (folder / "test.de").write_text("Vier\u2028fünf\n", encoding="utf-8")
    assert read_corpus(folder, "de", "en").test.source == ["Vier\u2028fünf"]


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("test.en", b"Four\nFive\n", ["test.de", "test.en", "number of lines, got 1 and 2"]),
        ("train.de", b"", ["train.de", "empty"]),
        ("train.de", b"\n\n\n\n", ["train.de", "empty"]),
        ("train.en", b"One\nTwo\n\xff\nThree\n", ["train.en", "UTF-8", "line 3"]),
        ("val.en.gz", b"Five\n", ["val.en.gz", "gzip"]),
        ("val.en.gz", gzip.compress(b"Five\n" * 99, mtime=0)[:-12], ["val.en.gz", "gzip"]),
    ],
)
def test_a_bad_file_is_an_error_that_names_it(folder, name, content, named):
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=r".*".join(named)):
        read_corpus(folder, "de", "en")


def test_a_missing_file_is_an_error_with_the_names_that_it_may_have(folder):
    (folder / "val.de.gz").unlink()
    with pytest.raises(ValueError, match=r"valid\.de, valid\.de\.gz, val\.de, val\.de\.gz"):
        read_corpus(folder, "de", "en")


def test_the_embedded_text_has_no_pair_in_two_splits():
    corpus = read_corpus(None, "de", "en")
    assert [len(split.source) for split in corpus] == [3290, 200, 300]
    for side in (0, 1):
        sentences = [sentence.lower() for split in corpus for sentence in split[side]]
        assert len(set(sentences)) == len(sentences)


def test_encoding_is_lossless_and_learned_once(tmp_path):
    text = Sentences(*(side[:300] for side in read_corpus(None, "de", "en").train))
    subwords = learn_subwords(text, 300, tmp_path)
    tokens = subwords.encode(text.target)
    assert subwords.size == 300
    assert all(row[-1] == EOS and (row[:-1] > 3).all() for row in tokens)
    width = max(map(len, tokens)) + 2
    padded = np.stack([np.pad(row, (0, width - len(row))) for row in tokens])
    assert subwords.decode(padded) == text.target

    (model,) = tmp_path.iterdir()
    before = model.stat().st_mtime_ns
    assert learn_subwords(text, 300, tmp_path).encode(["Unable"])[0].tolist() == (
        subwords.encode(["Unable"])[0].tolist()
    )
    assert model.stat().st_mtime_ns == before
    learn_subwords(Sentences(text.source[1:], text.target[1:]), 300, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_what_follows_the_end_token_is_not_decoded(tmp_path):
    text = Sentences(*(side[:300] for side in read_corpus(None, "de", "en").train))
    subwords = learn_subwords(text, 300, tmp_path)
    (tokens,) = subwords.encode(["Unable"])
    assert subwords.decode(np.array([[*tokens, *tokens]])) == ["Unable"]


def test_a_vocabulary_that_the_text_cannot_fill_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"^vocabulary .*got 5000"):
        learn_subwords(Sentences(["ein Haus"], ["a house"]), 5000, tmp_path)


def ragged(lengths, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(4, 100, length).astype(np.int32) for length in lengths]


def test_buckets_hold_the_pairs_by_the_longer_side():
    source, target = ragged([2, 3, 9, 4, 20]), ragged([3, 2, 1, 5, 1], seed=1)
    short, long = make_buckets(source, target, [3, 6, 10])[0::2]
    assert short.source.shape == (2, 3)
    assert long.source.shape == (1, 10)
    np.testing.assert_array_equal(short.target[1], [*target[1], PAD])
    np.testing.assert_array_equal(long.source[0], [*source[2], PAD])


@pytest.mark.parametrize("lengths", [(), (5, 3), (3, 3), (0, 3)])
def test_buckets_must_ascend(lengths):
    with pytest.raises(ValueError, match="ascending"):
        make_buckets(ragged([2]), ragged([2]), lengths)


def test_buckets_that_are_all_too_short_are_an_error():
    with pytest.raises(ValueError, match="buckets end at 3 tokens, but the shortest pair has 4"):
        make_buckets(ragged([4, 9]), ragged([2, 2]), [3])


def bucket(count, length=5):
    rows = np.arange(1, 1 + count * length, dtype=np.int32).reshape(count, length)
    return Pairs(rows, rows)


@pytest.mark.parametrize(("count", "grouped", "multiple"), [(23, 1, 1), (23, 2, 1), (7, 3, 2)])
def test_minibatches_fit_the_budget_and_are_equally_full(count, grouped, multiple):
    minibatches, rows = plan(bucket(count), 25, multiple=multiple, grouped=grouped)
    assert rows * 5 <= 25
    assert rows % multiple == 0
    assert minibatches % grouped == 0
    assert minibatches * rows >= count


def test_a_budget_below_one_pair_is_an_error():
    with pytest.raises(ValueError, match=r"max_tokens must be >= 10 .* got 9"):
        plan(bucket(3), 9, multiple=2)


@pytest.mark.parametrize("grouped", [1, 2])
def test_an_epoch_has_every_pair_once(grouped):
    buckets = [bucket(23), Pairs(*(side + 1000 for side in bucket(8, 9)))]
    plans = [plan(b, 27, grouped=grouped) for b in buckets]
    batches = list(epoch_batches(buckets, plans, np.random.default_rng(0), grouped=grouped))
    assert len(batches) == steps_per_epoch(plans, grouped)
    first = [
        row[0] for batch in batches for row in batch.source.reshape(-1, batch.source.shape[-1])
    ]
    pairs = [token for token in first if token != PAD]
    assert sorted(pairs) == sorted(row[0] for b in buckets for row in b.source)
    if grouped > 1:
        assert all(batch.source.shape[0] == grouped for batch in batches)


def test_epochs_differ_in_order_and_follow_from_their_generator():
    def order(seed):
        plans = [plan(bucket(23), 25)]
        batches = epoch_batches([bucket(23)], plans, np.random.default_rng(seed))
        return np.concatenate([batch.source[:, 0] for batch in batches]).tolist()

    assert order(0) == order(0)
    assert order(0) != order(1)


def test_evaluation_has_a_bucket_for_the_longest_sentence():
    assert extended([8, 16], 13) == [8, 16]
    assert extended([8, 16], 17) == [8, 16, 24]
