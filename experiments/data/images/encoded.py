"""Images that stay encoded until they are needed."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any, Self

import numpy as np
from PIL import Image


class EncodedImages:
    """An array ``[example, height, width, channel]`` of uint8 whose images are encoded files.

    Indexing the first axis selects images without decoding them; ``np.asarray`` decodes.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, files: Sequence[bytes], source: str):
        """Holds the files' contents; ``source`` is named in errors."""
        self._files = np.empty(len(files), object)
        self._files[:] = files
        self._source = source

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, rows: Any) -> Self:
        return type(self)(self._files[rows], self._source)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the decoded array."""
        return (len(self), *(_decode(self._files[0], self._source).shape if len(self) else ()))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        images = np.stack([_decode(file, self._source) for file in self._files])
        return images if dtype is None else images.astype(dtype)


def _decode(file: bytes, source: str) -> np.ndarray:
    try:
        return np.asarray(Image.open(BytesIO(file)))
    except (OSError, SyntaxError) as error:  # Pillow raises both
        raise ValueError(f"{source}: an image cannot be decoded: {error}.") from error
