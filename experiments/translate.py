r"""Translates text with the newest checkpoint of a run.

For example::

    python -m experiments.translate runs/mine --output=mine.txt
    python -m experiments.translate runs/mine --input=sentences.de

Without ``--input`` it translates the test set of the run, and prints BLEU and chrF with sacrebleu's
signatures. The outputs of two runs can be compared with ``sacrebleu --paired-bs``.
"""

import argparse
import os
import sys
from pathlib import Path

import jax
from flax import nnx
from ml_collections import ConfigDict

from experiments.cli import interruptions, plain, user_errors
from experiments.storage.disk import user_path
from experiments.tasks.bleu import score
from experiments.tasks.translation_setup import load_text, make_model, translate_text
from experiments.training import run_dir
from experiments.training.weights import read_newest_weights


def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and translates."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.translate", description=plain(__doc__)
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("workdir", type=user_path, help="folder of a run of the translation task")
    parser.add_argument(
        "--input", type=user_path, metavar="FILE", help="text, one sentence per line"
    )
    parser.add_argument(
        "--output", type=user_path, metavar="FILE", help="where to write translations"
    )
    parser.add_argument(
        "--data_dir",
        type=os.path.expanduser,
        metavar="DIR",
        help="folder of the run's text, if it moved",
    )
    options = parser.parse_args(arguments)
    with user_errors():
        config = read_config(options.workdir)
        if options.data_dir is not None:
            config.data_dir = options.data_dir
        corpus, subwords = load_text(config)
        model = read_model(config, options.workdir, subwords.size)
        if options.input is None:
            text = corpus.test.source
        else:
            text = options.input.read_text(encoding="utf-8").splitlines()
            text = [line.lower() for line in text] if config.lowercase else text
        translations = translate_text(config, subwords, model, text)
        lines = "".join(f"{line}\n" for line in translations)
        if options.output is not None:
            options.output.write_text(lines, encoding="utf-8")
        else:
            sys.stdout.write(lines)
    if options.input is None:
        scores = score(translations, corpus.test.target, lowercase=config.lowercase)
        print(f"BLEU {scores.bleu:.2f} ({scores.signatures['bleu']})", file=sys.stderr)
        print(f"chrF2 {scores.chrf:.2f} ({scores.signatures['chrf']})", file=sys.stderr)


def read_config(workdir: Path) -> ConfigDict:
    """The config of a run of the translation task."""
    config = run_dir.read_config(workdir)
    if config.task != "translation":
        raise ValueError(f"{workdir} must hold a run of translation, got {config.task!r}.")
    return config


def read_model(config: ConfigDict, workdir: Path, vocabulary: int) -> nnx.Module:
    """The model of the newest checkpoint, in eval mode."""
    model = nnx.eval_shape(lambda: make_model(config, vocabulary, jax.random.key(0)))
    weights, _ = read_newest_weights(config, workdir / run_dir.CHECKPOINTS, model)
    model = nnx.merge(nnx.graphdef(model), weights)
    model.eval()
    return model


if __name__ == "__main__":
    with interruptions():
        main()
