"""What a column's name says of it: its words, and what words of hospitals' headers usually mean.

A hint and never a proof: whatever is concluded from a name is shown to a person.
"""

from __future__ import annotations

import re
import unicodedata


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|%")
PATIENT = _set(
    "patient pat patientid patid subject subj subjid usubjid participant proband person mask maskid pid ptid"
)
IDENTIFIER = _set("id ident identifier key uid record case code number no nr")
SITE = _set("site siteid centre center clinic hospital country")
PERSONAL = _set(
    "email mail phone telephone mobile fax address street surname firstname lastname initials postcode zip zipcode "
    "ssn nhs mrn passport"
)
BIRTH = _set("birth dob birthdate birthday brthdtc brthdt")
MEASURE = _set(
    "age time days day months weeks years dur duration count dose size weight height bmi score value result temp "
    "temperature pulse visit"
)
ORDER = _set("visit visitnum vis day dy date dat dt dtc week month cycle time tpt seq")
DEATH = _set("dead died deceased")
FOLLOW_UP = _set("fu futime fup followup follow")
TIME = _set("time tt tte days months weeks years dur duration survival")
PERCENT = _set("percent pct perc percentage %")


def words(header: str) -> frozenset[str]:
    """The words of a header, in lower case: TT_EVENT and ttEvent are both tt and event."""
    plain = unicodedata.normalize("NFKD", header)
    found = [word.casefold() for word in WORD.findall(plain)]
    return frozenset([*found, "".join(found)])


def names_key(header: str) -> bool:
    """Whether a header says that the column is a key, even where its values come several times."""
    own = words(header)
    return bool(own & PATIENT) or (
        not own & SITE and ("id" in own or header.strip().casefold().endswith("id"))
    )


def of_death(named: frozenset[str]) -> bool:
    return bool(named & DEATH) or any(word.startswith(("death", "dth")) for word in named)


def is_identifier(header: str) -> bool:
    return names_key(header) or bool(words(header) & IDENTIFIER)
