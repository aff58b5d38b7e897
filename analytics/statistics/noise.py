"""What is still known of the true totals once the noised ones are out.

The noise is discrete Laplace: the difference of two geometric variables with ratio a = exp(-1/t), so
P(z) = (1-a)/(1+a) a**|z| (Ghosh, Roughgarden, Sundararajan, STOC 2009). `behind` draws true totals that
may stand behind a released number: the law of the released number read backwards, over totals >= 0.
Every draw follows from the released integers alone: portal and analyst compute the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LEVEL = 0.95
TAIL = 0.025
DRAWS = 4096
EXPECTED = 16384  # noises behind an expected error
MOST_EXPECTED = 2**18  # numbers of one such simulation, which bounds its time
FEWEST_EXPECTED = 1024
FEWEST = 64  # draws that must be left for an interval to mean anything


def variance(t: float) -> float:
    """The variance of one noise of scale t (2 t**2 for large t)."""
    if t <= 0:
        return 0.0
    return float(2 * math.exp(-1 / t) / math.expm1(-1 / t) ** 2)


def reach(t: float) -> int:
    """The smallest q with P(|z| <= q) >= LEVEL: the half-width of the interval of a count."""
    if t <= 0:
        return 0
    # P(|z| > q) = 2 a**(q+1) / (1+a); rounded, so that no last bit of a logarithm moves an integer
    return max(0, math.ceil(round(t * math.log(2 / ((1 - LEVEL) * (1 + math.exp(-1 / t)))), 9)) - 1)


def generator(label: str, released: Sequence[int]) -> np.random.PCG64:
    """The random bits that belong to these released integers and to this use of them."""
    text = json.dumps([label, [str(x) for x in released]]).encode()
    return np.random.PCG64(int.from_bytes(hashlib.sha256(text).digest()[:16], "big"))


def uniforms(bits: np.random.PCG64, shape: tuple[int, ...]) -> Floats:
    """Uniform numbers in the open interval (0, 1): no logarithm of them is infinite."""
    # Not numpy's own floats: raw words of a bit generator are the same in every numpy version.
    words = np.asarray(bits.random_raw(math.prod(shape)), dtype=np.uint64) >> np.uint64(11)
    return np.asarray(words.reshape(shape) * 2.0**-53 + 2.0**-54, dtype=np.float64)


def noise(t: float, u: Floats) -> Floats:
    """Discrete Laplace noise of scale t, from uniforms by the inverse of its distribution function."""
    if t <= 0:
        return np.zeros_like(u)
    rest = math.log1p(math.exp(-1 / t))
    low = np.ceil(t * (np.log(u) + rest))
    high = np.ceil(-t * (np.log1p(-u) + rest)) - 1
    return np.where(low < 0, low, np.maximum(high, 0.0))


def behind(released: int, t: float, u: Floats) -> Floats:
    """True totals >= 0 that may stand behind a released number, one for each uniform."""
    if t <= 0:
        return np.full_like(u, max(0.0, float(released)))
    if released < 0:
        return np.asarray(np.floor(-t * np.log(u)))  # geometric: it forgets how far below zero it starts
    most = 1 - math.exp(-(released + 1) / t) / (1 + math.exp(-1 / t))  # P(z <= released), which is given
    return np.maximum(float(released) - noise(t, u * most), 0.0)


@lru_cache(maxsize=16)
def simulated(t: float, noises: int, normals: int) -> tuple[Floats, Floats]:
    """Noises of scale t and standard normals (how many, draws), the same at every call: for what a preview expects.

    EXPECTED draws, fewer where one needs many numbers.
    """
    from scipy.special import ndtri

    draws = max(FEWEST_EXPECTED, min(EXPECTED, MOST_EXPECTED // (noises + normals)))
    u = uniforms(generator("expected", [noises, normals]), (noises + normals, draws))
    return noise(t, u[:noises]), ndtri(u[noises:])


def cohorts(planned: Floats, normals: Floats) -> Floats:
    """Patients in the cells of cohorts drawn at random: multinomial, in its normal approximation.

    Shapes  planned (cells,); normals and result (cells, draws)
    """
    root = np.sqrt(planned / planned.sum())[:, None]
    apart = normals - root * (root * normals).sum(0)
    return np.asarray(np.maximum(np.rint(planned[:, None] + np.sqrt(planned)[:, None] * apart), 0.0))


def interval(draws: Floats) -> tuple[float, float]:
    """The central interval that holds LEVEL of the draws."""
    low, high = np.quantile(draws, [TAIL, 1 - TAIL])
    return float(low), float(high)
