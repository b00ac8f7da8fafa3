"""A joint byte-pair encoding of both languages (Sennrich et al., 2016), by sentencepiece."""

import hashlib
import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import sentencepiece

from experiments.data.text.corpus import Sentences
from experiments.data.text.tokens import BOS, EOS, PAD, UNK
from experiments.storage import disk


class Subwords:
    """A sentencepiece model: sentences to tokens and back.

    Attributes:
      size: number of tokens.
    """

    def __init__(self, model: bytes):
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.size = self._processor.vocab_size()

    def encode(self, sentences: Sequence[str]) -> list[np.ndarray]:
        """The tokens of each sentence, with the end token."""
        tokens = self._processor.encode(list(sentences), add_eos=True)
        return [np.asarray(sentence, np.int32) for sentence in tokens]

    def decode(self, tokens: np.ndarray) -> list[str]:
        """The sentences of ``[sentence, position]`` tokens, each up to its first end token."""
        ended = (tokens == EOS).cumsum(axis=1) > 0
        return self._processor.decode(
            [row[~end].tolist() for row, end in zip(tokens, ended, strict=True)]
        )


def learn_subwords(text: Sentences, size: int, cache: Path | None = None) -> Subwords:
    """Learns an encoding from the training text, or loads the one learned from it before.

    Args:
      text: the training text.
      size: number of tokens, the four special ones included.
      cache: folder of the models learned so far, each named after its text. Default None:
        ``optax-lookbehind`` in the user's cache folder.

    Raises:
      ValueError: if the text is too small for ``size`` tokens, or has more different characters.
    """
    cache = _default_cache() if cache is None else cache
    digest = hashlib.sha256(repr((size, *text)).encode()).hexdigest()[:16]
    path = cache / f"bpe-{size}-{digest}.model"
    if not path.exists():
        model = _train(text, size)
        cache.mkdir(parents=True, exist_ok=True)
        with disk.replacing(path) as draft:
            draft.write_bytes(model)
    return Subwords(path.read_bytes())


def _train(text: Sentences, size: int) -> bytes:
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter([*text.source, *text.target]),
            model_writer=model,
            model_type="bpe",
            vocab_size=size,
            character_coverage=1.0,
            pad_id=PAD,
            bos_id=BOS,
            eos_id=EOS,
            unk_id=UNK,
            minloglevel=2,
        )
    except RuntimeError as error:
        reason = str(error).rsplit(") ", 1)[-1]
        raise ValueError(f"vocabulary must fit the training text, got {size}: {reason}") from error
    return model.getvalue()


def _default_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "optax-lookbehind"
