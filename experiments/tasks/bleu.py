"""BLEU and chrF of translations, by sacrebleu."""

from collections.abc import Sequence
from typing import NamedTuple

from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF


class Scores(NamedTuple):
    """Scores of a set of translations.

    Attributes:
      bleu: BLEU (Papineni et al., 2002), from 0 to 100.
      chrf: chrF2 (Popović, 2015), from 0 to 100.
      signatures: sacrebleu's, which a reported score needs (Post, 2018).
    """

    bleu: float
    chrf: float
    signatures: dict[str, str]


def score(
    translations: Sequence[str], references: Sequence[str], *, lowercase: bool = False
) -> Scores:
    """Scores detokenized translations, one reference each.

    sacrebleu tokenizes by itself: its BLEU is not comparable with one of tokenized text.
    """
    metrics = {"bleu": BLEU(lowercase=lowercase), "chrf": CHRF(lowercase=lowercase)}
    values = {
        name: metric.corpus_score(translations, [list(references)]).score
        for name, metric in metrics.items()
    }
    signatures = {name: str(metric.get_signature()) for name, metric in metrics.items()}
    return Scores(**values, signatures=signatures)
