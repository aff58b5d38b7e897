"""Which column says who a row belongs to: in every file, never empty, and one row of its own in at least one file.

Names help where values leave it open, as in a file with many rows of each patient. A codebook has one key
column: a key of two is refused with the two named.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd

from providers.headers import PATIENT, is_identifier, names_key, words
from providers.proposal import is_name
from providers.report import ProviderError
from providers.study import Joined
from providers.table import Table

FRACTION = re.compile(r"[+-]?[0-9]*[.,][0-9]*")
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}.*|[0-9]{1,2}[-/.].*[-/.][0-9]{2,4}")
MOST_PAIRED = 16


class DraftRefused(ProviderError):
    """No codebook can be proposed for these files."""

    code = "draft_refused"


def find_key(files: Sequence[Joined], said: str | None) -> str:
    """The key's column; `said` is what a person says it is.

    Raises  DraftRefused if no column can be the key.
    """
    common = [name for name in files[0].table.headers if all(name in f.table.columns for f in files)]
    if said is not None:
        if said not in common:
            raise DraftRefused(
                f"not every file has a column {said}: give the key's column the same name in all"
            )
        if not all(_filled(file, said) for file in files):
            raise DraftRefused(f"the key {said} is empty in some rows: give every row the key of its patient")
        return said
    best, key = 0, None
    for name in common:
        score = _score(name, files)
        if score > best:
            best, key = score, name
    if key is not None:
        return key
    if not common:
        raise DraftRefused("the files have no column in common: give the patient's key the same name in all")
    pair = _pair(files, common)
    if pair is not None:
        raise DraftRefused(
            f"no column alone tells patients apart, but {pair[0]} and {pair[1]} together do: "
            "join them into one column of the file"
        )
    raise DraftRefused("no column tells patients apart: add one, or name it with --primary-key")


def with_patients(files: Sequence[Joined], key: str) -> list[Joined]:
    """The files with their rows' patients numbered, as in `study.join`."""
    keys = [np.array(file.texts(key).distinct, dtype=object)[file.texts(key).index] for file in files]
    known, _ = pd.factorize(np.concatenate(keys))
    made, start = [], 0
    for file in files:
        patient = known[start : start + file.table.rows].astype(np.int64)
        start += file.table.rows
        several = np.flatnonzero(pd.Series(patient).duplicated().to_numpy())
        made.append(replace(file, patient=patient, several=several))
    return made


def unnumbered(table: Table) -> Joined:
    """A table before anyone knows whose its rows are."""
    none = np.array([], dtype=np.int64)
    return Joined(table, np.full(table.rows, -1, dtype=np.int64), none)


def _score(name: str, files: Sequence[Joined]) -> int:
    """0 for what cannot be the key; a patient's word counts most, then being unique, then an identifier's word."""
    if not is_name(name) or not all(_filled(file, name) for file in files):
        return 0
    unique = any(len(file.texts(name).distinct) == file.table.rows for file in files)
    patient, identifier = bool(words(name) & PATIENT), is_identifier(name)
    constant = all(len(file.texts(name).distinct) == 1 for file in files)
    if constant and max(file.table.rows for file in files) > 1:
        return 0
    if not unique and not names_key(name):
        return 0
    sample = [text for file in files for text in file.texts(name).distinct[:100]]
    if not patient and any(FRACTION.fullmatch(text) or DAY.fullmatch(text) for text in sample):
        return 0
    everywhere = all(len(file.texts(name).distinct) == file.table.rows for file in files)
    return 8 * patient + 4 * unique + 2 * identifier + everywhere


def _filled(file: Joined, name: str) -> bool:
    return "" not in file.texts(name).distinct


def _pair(files: Sequence[Joined], common: Sequence[str]) -> tuple[str, str] | None:
    likely = [name for name in common if all(_filled(file, name) for file in files)][:MOST_PAIRED]
    for first, second in combinations(likely, 2):
        for file in files:
            one, other = file.texts(first), file.texts(second)
            pairs = one.index * len(other.distinct) + other.index
            if len(pd.unique(pairs)) == file.table.rows > 1:
                return first, second
    return None
