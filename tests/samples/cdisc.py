"""The made-up CDISC tables for tests: as CSV, as SAS transport files, and as data frames of the standard alone."""

from __future__ import annotations

import importlib.util
import json
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from tests.providers import formats

FOLDER = Path(__file__).resolve().parents[2] / "samples/cdisc"
TEMPLATES = {
    "adsl": ["adsl"],
    "adtte": ["adtte"],
    "adae": ["adsl", "adae"],
    "study": ["adsl", "adtte", "adae"],
}


def _generator():
    spec = importlib.util.spec_from_file_location("samples_cdisc_generate", FOLDER / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generator = _generator()


def template(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{name}.json").read_text())


def sas_number(day: str) -> int:
    return (datetime.strptime(day, "%d%b%Y").date() - date(1960, 1, 1)).days


def xport(name: str, *, dated: bool = True) -> bytes:
    """One table as a SAS transport file, its days as numbers; without `dated` they have no format to say so."""
    rows = generator.tables()[name]
    variables = []
    for column in generator.COLUMNS[name]:
        texts = [row[column] for row in rows]
        if column in generator.DAYS:
            cells: list[Any] = [sas_number(text) if text else "." for text in texts]
            variables.append(formats.Variable(column, form="DATE" if dated else "", cells=cells))
        elif column in generator.NUMBERS:
            variables.append(formats.Variable(column, cells=[float(text) if text else "." for text in texts]))
        else:
            variables.append(formats.Variable(column, width=max(map(len, texts)) or 1, cells=texts))
    return formats.xport(variables)


def frames() -> dict[str, pd.DataFrame]:
    """The tables with numbers as numbers, days as days since 1960 and None for missing."""
    made = {}
    for name, rows in generator.tables().items():
        frame = pd.DataFrame(rows).replace("", None)
        for column in frame.columns.intersection(list(generator.NUMBERS)):
            frame[column] = frame[column].astype(float)
        for column in frame.columns.intersection(list(generator.DAYS)):
            frame[column] = [sas_number(text) if isinstance(text, str) else None for text in frame[column]]
        made[name] = frame
    return made


def per_patient() -> pd.DataFrame:
    """What the analysis of this study would compute, one row a patient of ADSL: written with pandas alone."""
    tables = frames()
    adsl, adtte, adae = (tables[name].set_index("USUBJID") for name in ("adsl", "adtte", "adae"))
    for code in ("OS", "PFS"):
        one = adtte[adtte["PARAMCD"] == code]
        adsl[f"{code}_DAYS"], adsl[f"{code}_CNSR"] = one["AVAL"], one["CNSR"]
    adae["GRADE"] = adae["AETOXGR"].astype(float)
    emergent = adae[adae["TRTEMFL"] == "Y"]
    by_patient = emergent.groupby(level=0)
    adsl["AE_COUNT"] = by_patient.size().reindex(adsl.index, fill_value=0)
    adsl["AE_WORST"] = by_patient["GRADE"].max().reindex(adsl.index)
    adsl.loc[adsl["AE_COUNT"] == 0, "AE_WORST"] = 0
    adsl["AE_SERIOUS"] = (
        by_patient["AESER"].agg(lambda flags: (flags == "Y").any()).reindex(adsl.index, fill_value=False)
    )
    for organ in generator.TERMS:
        having = emergent[emergent["AEBODSYS"] == organ].index
        adsl[organ] = adsl.index.isin(having)
    return adsl
