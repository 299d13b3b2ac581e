"""What a vector must be like before it is committed. Pure.

Vectors are looked at as they are stored, in half precision. Where a model's vectors are unit length, half precision moves a norm by 2⁻¹¹ at
most (5e-4), so 0.01 is twenty times that and still far from anything a mistake makes. Other models have no such norm, so theirs is bounded
by what half precision can hold, as the root mean square of the components: from 2⁻¹⁴, its smallest normal number, below which components
lose digits, to 2¹², because single components of transformers stand out by a factor of up to about 16 (Kovaleva et al., BERT Busters, 2021)
and 2¹⁶ is beyond the largest number. Norms that change within these bounds are seen against history (`vector_norms`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vector_assets.errors import ModelError

Stored = npt.NDArray[np.float16]

UNIT_TOLERANCE = 0.01
SMALLEST_RMS, LARGEST_RMS = 2.0**-14, 2.0**12
_CONSTANT = 2.0**-10  # one step of half precision: components that differ by less are the same number
_FEW_DIMENSIONS = 4  # below, equal components are a direction like any other

NOT_FINITE = "finite: the model gave a vector that is not finite"
ZERO = "zero: the model gave a vector of zeros"
CONSTANT = "constant: the model gave a vector whose components are all the same"
UNIT_NORM = "norm: the model's vectors have norm 1, and this one has not"
NORM = "norm: the model gave a vector so short or so long that half precision does not hold it"


def as_stored(vectors: object, *, rows: int, dimension: int) -> Stored:
    """What an encoder gave, in half precision: shape (rows, dimension). What it cannot hold becomes infinite.

    Raises ModelError for anything but a float32 array of that shape.
    """
    if not isinstance(vectors, np.ndarray) or vectors.dtype != np.float32 or vectors.shape != (rows, dimension):
        found = f"{vectors.dtype} of {vectors.shape}" if isinstance(vectors, np.ndarray) else type(vectors).__name__
        raise ModelError(
            f"the encoder gave {found}, and float32 of {(rows, dimension)} was asked for: the model is not what its configuration says; "
            "register an intact one with `vector-assets models register`"
        )
    with np.errstate(over="ignore"):
        return vectors.astype(np.float16)


def flaws(stored: Stored, *, unit_length: bool) -> list[str | None]:
    """Per vector, shape (n, dimension): the check that it fails, with what that means, or None."""
    count, dimension = stored.shape
    values = stored.astype(np.float32)
    finite = np.isfinite(values).all(axis=1)
    values[~finite] = 1
    norms = np.linalg.norm(values, axis=1)
    largest = np.abs(values).max(axis=1, initial=0)
    spread = values.max(axis=1, initial=-np.inf) - values.min(axis=1, initial=np.inf)
    low, high = (1 - UNIT_TOLERANCE, 1 + UNIT_TOLERANCE) if unit_length else (SMALLEST_RMS * dimension**0.5, LARGEST_RMS * dimension**0.5)
    found = np.full(count, None, dtype=object)
    found[(norms < low) | (norms > high)] = UNIT_NORM if unit_length else NORM
    if dimension >= _FEW_DIMENSIONS:
        found[spread <= _CONSTANT * largest] = CONSTANT
    found[norms == 0] = ZERO
    found[~finite] = NOT_FINITE
    reasons: list[str | None] = found.tolist()
    return reasons
