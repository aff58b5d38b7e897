"""Codes to bit-planes: 64 rows a word, padded with zero rows to the public capacity.

Row r is bit r % 64 of word r // 64, little-endian. Per field come its bits, lowest first, and its present
plane; the first plane of all says which rows are patients. A missing value is zero in all of them, so the
planes of two tables of one layout differ nowhere but in what they hold.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from providers.codebook import Encoded

Planes = NDArray[np.uint64]


def to_planes(encoded: Encoded, names: Sequence[tuple[str, int | str]], capacity: int) -> Planes:
    """The planes of a table in the order of `names`.

    Shapes  result: uint64 (len(names), ceil(capacity / 64)).
    Raises  ValueError if there are more patients than capacity.
    """
    if encoded.patients > capacity:
        raise ValueError("more patients than the capacity holds")
    bits = np.zeros((64 * -(-capacity // 64),), dtype=np.uint8)
    planes = np.empty((len(names), len(bits) // 64), dtype=np.uint64)
    for row, (column, part) in enumerate(names):
        if part == "valid":
            values = np.ones(encoded.patients, dtype=np.int64)
        elif part == "present":
            values = encoded.columns[column].present.astype(np.int64)
        else:
            values = encoded.columns[column].codes >> int(part) & 1
        bits[: encoded.patients] = values
        planes[row] = np.packbits(bits, bitorder="little").view("<u8")
    return planes
