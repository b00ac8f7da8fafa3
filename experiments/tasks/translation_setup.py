"""The translation task and its pipeline, made from a config."""

from collections.abc import Mapping, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from ml_collections import ConfigDict
from tqdm import tqdm

from experiments.data.pipeline import Pipeline
from experiments.data.text.buckets import extended
from experiments.data.text.corpus import Corpus, Sentences, read_corpus
from experiments.data.text.pipeline import text_pipeline
from experiments.data.text.subwords import Subwords, learn_subwords
from experiments.decoding.translate import Search, translate
from experiments.models.sequence.transformer import Transformer
from experiments.tasks.base import Task
from experiments.tasks.bleu import score
from experiments.tasks.translation import translation

_SAMPLES = 3  # translations that are shown at the end of a run


def make_translation(
    config: ConfigDict, mesh: Mesh, order_key: jax.Array, num_minibatches: int
) -> tuple[Task, Pipeline]:
    """Returns the task and the pipeline of the config's text."""
    corpus, subwords = load_text(config)
    pipeline = text_pipeline(
        corpus,
        subwords,
        mesh,
        order_key,
        lengths=config.buckets,
        max_tokens=config.max_tokens,
        num_minibatches=num_minibatches,
        num_microbatches=config.microbatches,
        eval_test=config.eval_test,
    )
    task = translation(
        partial(make_model, config, subwords.size),
        label_smoothing=config.label_smoothing,
        measure=partial(measure, config, corpus, subwords),
    )
    return task, pipeline


def load_text(config: ConfigDict) -> tuple[Corpus, Subwords]:
    """Reads the config's text and learns or loads its byte-pair encoding."""
    if config.validation:
        raise ValueError(
            f"validation must be 0 for parallel text, which has a validation file, "
            f"got {config.validation}."
        )
    corpus = read_corpus(
        config.data_dir,
        config.source_language,
        config.target_language,
        lowercase=config.lowercase,
    )
    if config.train_examples is not None:
        if not 1 <= config.train_examples <= len(corpus.train.source):
            raise ValueError(
                f"train_examples must be in [1, {len(corpus.train.source)}], "
                f"got {config.train_examples}."
            )
        first = Sentences(*(side[: config.train_examples] for side in corpus.train))
        corpus = corpus._replace(train=first)
    return corpus, learn_subwords(corpus.train, config.vocabulary)


def make_model(config: ConfigDict, vocabulary: int, key: jax.Array) -> Transformer:
    """A freshly initialized Transformer."""
    if config.model != "transformer":
        raise ValueError(f"model must be 'transformer' for translation, got {config.model!r}.")
    return Transformer(
        vocabulary,
        vocabulary,
        width=config.width,
        hidden=config.hidden,
        heads=config.heads,
        layers=config.layers,
        dropout=config.dropout,
        pre_norm=config.pre_norm,
        share_embeddings=config.share_embeddings,
        dtype=jnp.dtype(config.dtype),
        rngs=nnx.Rngs(key),
    )


def measure(
    config: ConfigDict, corpus: Corpus, subwords: Subwords, model: nnx.Module
) -> Mapping[str, float]:
    """BLEU and chrF of the validation and the test set; prints a few translations."""
    metrics: dict[str, float] = {}
    for name, split in {"val": corpus.valid, "test": corpus.test}.items():
        translations = translate_text(config, subwords, model, split.source)
        scores = score(translations, split.target, lowercase=config.lowercase)
        metrics |= {f"{name}_bleu": scores.bleu, f"{name}_chrf": scores.chrf}
    if jax.process_index() == 0:
        texts = zip(split.source, translations, split.target, strict=True)
        for lines in list(texts)[:_SAMPLES]:
            tqdm.write("source: {}\n  translation: {}\n  reference: {}".format(*lines))
        tqdm.write(f"test BLEU {scores.bleu:.2f} ({scores.signatures['bleu']})")
    return metrics


def translate_text(
    config: ConfigDict, subwords: Subwords, model: nnx.Module, text: Sequence[str]
) -> list[str]:
    """Translates sentences with the config's beam search."""
    source = subwords.encode(text)
    search = Search(config.beam, config.length_penalty)
    lengths = extended(config.buckets, max(map(len, source)))
    translations = translate(model, source, search, lengths)
    longest = max(map(len, translations))
    padded = [np.pad(tokens, (0, longest - len(tokens))) for tokens in translations]
    return subwords.decode(np.stack(padded))
