"""Reads parallel text: two files per split, one sentence per line, plain or gzipped."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

EMBEDDED = Path(__file__).parent / "openstack"  # the README there has source and licence

# The names that a split's files have: prepare-iwslt14.sh's, then Multi30k's.
_NAMES = {
    "train": ("train",),
    "valid": ("valid", "val"),
    "test": ("test", "test_2016_flickr"),
}


class Sentences(NamedTuple):
    """Sentences and their translations, in the order of the files.

    Attributes:
      source: the sentences to translate.
      target: their translations.
    """

    source: list[str]
    target: list[str]


class Corpus(NamedTuple):
    """The splits of a parallel text.

    Attributes:
      train: training pairs, without those of which a side is blank.
      valid: pairs for choosing hyperparameters.
      test: pairs for the final evaluation.
    """

    train: Sentences
    valid: Sentences
    test: Sentences


def read_corpus(
    folder: str | Path | None, source: str, target: str, *, lowercase: bool = False
) -> Corpus:
    """Reads ``train``, ``valid`` and ``test`` in two languages.

    Args:
      folder: holds e.g. ``train.de`` and ``train.en``, each possibly with ``.gz`` appended. Default
        None: the embedded OpenStack messages.
      source: the language to translate from, as the files' names end.
      target: the language to translate to.
      lowercase: lowercase all text.

    Raises:
      ValueError: if a file is missing, empty, not UTF-8, or has another number of lines than its
        translation.
    """
    folder = EMBEDDED if folder is None else Path(folder)
    if source == target:
        raise ValueError(f"source_language and target_language must differ, both are {source!r}.")
    train, valid, test = (_read_split(folder, split, source, target, lowercase) for split in _NAMES)
    return Corpus(_without_blanks(train), valid, test)


def _read_split(folder: Path, split: str, source: str, target: str, lowercase: bool) -> Sentences:
    paths = [_find(folder, split, language) for language in (source, target)]
    sentences = Sentences(*(_read_lines(path, lowercase) for path in paths))
    counts = [len(lines) for lines in sentences]
    if counts[0] != counts[1]:
        raise ValueError(
            f"{paths[0].name} and {paths[1].name} in {folder} must have the same number of lines, "
            f"got {counts[0]} and {counts[1]}."
        )
    return sentences


def _find(folder: Path, split: str, language: str) -> Path:
    names = [f"{name}.{language}{gz}" for name in _NAMES[split] for gz in ("", ".gz")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise ValueError(f"data_dir {str(folder)!r} has none of the files {', '.join(names)}.")


def _read_lines(path: Path, lowercase: bool) -> list[str]:
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ValueError(f"{path} is not UTF-8: line {line} ({error.reason}).") from error
    except (gzip.BadGzipFile, EOFError) as error:
        raise ValueError(f"{path} is not a whole gzip file: {error}.") from error
    # Not splitlines(), which also breaks lines at characters such as U+2028.
    lines = text.removesuffix("\n").split("\n")
    if not text.strip():
        raise ValueError(f"{path} is empty.")
    return [line.strip().lower() if lowercase else line.strip() for line in lines]


def _without_blanks(sentences: Sentences) -> Sentences:
    kept: Iterator[tuple[str, str]] = (pair for pair in zip(*sentences, strict=True) if all(pair))
    return Sentences(*map(list, zip(*kept, strict=True)))
