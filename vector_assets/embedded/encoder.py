"""The seam to an embedding model: texts in, unit-free vectors out.

`Encoder` is what the stage and search need; `SentenceTransformerEncoder` is the real one (safetensors only, CPU or CUDA, loaded on first use).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt


class Encoder(Protocol):
    """One loaded embedding model."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""

    @property
    def max_tokens(self) -> int:
        """Tokens of a passage at most, special tokens not counted."""

    def spans(self, text: str) -> list[tuple[int, int]]:
        """(start, end) character offsets of the text's tokens, in order, special tokens left out."""

    def encode(self, passages: Sequence[str]) -> npt.NDArray[np.float32]:
        """Vectors of shape (n, dimension), float32, in the order of the passages. A row that could not be encoded is NaN."""

    def encode_query(self, query: str) -> npt.NDArray[np.float32]:
        """The vector of a query, shape (dimension,), with the model's query prompt."""
