"""Data sets that TFDS has prepared on disk, read without TensorFlow."""

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow_datasets as tfds


def open_split(
    name: str,
    split: str,
    data_dir: str | None = None,
    decoders: Mapping[str, tfds.decode.Decoder] | None = None,
) -> Sequence[Mapping[str, Any]]:
    """Opens a split for reading in any order.

    Args:
      name: the data set's name in TFDS.
      split: the split's name in TFDS.
      data_dir: where TFDS keeps its data; unset, its default: ``$TFDS_DATA_DIR``, or else
        ``~/tensorflow_datasets``.
      decoders: for features that are not to be decoded as TFDS does it.

    Returns:
      The examples, as a dictionary of features each.

    Raises:
      FileNotFoundError: if the data set is not there, or in a format without random access.
    """
    builder = tfds.builder(name, data_dir=data_dir)
    if not builder.is_prepared():
        raise FileNotFoundError(_how_to_prepare(builder, "nothing is there"))
    file_format = builder.info.file_format
    if file_format not in tfds.core.FileFormat.with_random_access():
        raise FileNotFoundError(_how_to_prepare(builder, f"it is there as {file_format.value}"))
    return builder.as_data_source(split, decoders=decoders)


def _how_to_prepare(builder: tfds.core.DatasetBuilder, found: str) -> str:
    path, name = builder.data_path, builder.name
    by_hand = builder.MANUAL_DOWNLOAD_INSTRUCTIONS
    return (
        f"no data set {name} with random access in {path}: {found}. Prepare it with\n"
        f"  tfds build {name} --file_format=array_record --data_dir={path.parents[1]}\n"
        f"which needs TensorFlow and may run in another environment or on another machine."
        + (f"\nFirst get by hand: {by_hand.strip()}" if by_hand else "")
    )
