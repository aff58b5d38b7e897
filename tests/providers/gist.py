"""A codebook for the shape of a real adjuvant trial, for tests against files that lie beside the project."""

from __future__ import annotations

from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "gist"
IDENT, EFFSEN, AEV = (FOLDER / f"syn_a_{name}.csv" for name in ("ident", "effsen", "aev"))
RECURRENCE = 'E_TEXT == "RFS by CRF documented recurrence"'


def codebook(**settings: Any) -> dict[str, Any]:
    """The four lines' columns, body mass index, arm, event-free survival and severe adverse events."""
    yes_no = [{"value": "0", "label": "no"}, {"value": "1", "label": "yes"}]
    fields = [
        {
            "name": "time_till_death",
            "type": "number",
            "unit": "months",
            "source": "FUTIME_N",
            "where": "DTH_C == 1",
            "missingValues": ["", "NA"],
            "constraints": {"minimum": 0, "maximum": "65.535"},
            "resolution": "0.001",
        },
        {
            "name": "time_since_diagnosis",
            "type": "integer",
            "unit": "days",
            "source": "RESTIM_N",
            "missingValues": ["", "NA"],
            "constraints": {"minimum": 0, "maximum": 127},
        },
        {
            "name": "region",
            "type": "string",
            "source": "REGION_C",
            "categories": [
                "West",
                "Midwest",
                "South",
                "Northeast",
                {"value": "5", "label": "Canada"},
            ],
        },
        {
            "name": "death_flag",
            "type": "string",
            "source": "DTH_C",
            "recodes": {"99": "0"},
            "categories": [{"value": "0", "label": "alive or not known"}, {"value": "1", "label": "dead"}],
        },
        {
            "name": "bmi",
            "type": "number",
            "unit": "kg/m2",
            "source": "BMI",
            "missingValues": ["", "NA", "0"],
            "constraints": {"minimum": 10, "maximum": 60},
            "resolution": "0.01",
        },
        {
            "name": "arm",
            "type": "string",
            "source": "TRTN",
            "categories": [{"value": "1", "label": "imatinib"}, {"value": "2", "label": "placebo"}],
        },
        {"name": "itt", "type": "string", "source": "ITT", "categories": yes_no},
        {
            "name": "efs_time",
            "type": "integer",
            "unit": "days",
            "source": "TT_EVENT",
            "missingValues": ["", "NA"],
            "reduce": {"how": "only", "where": RECURRENCE},
            "role": "time",
            "event": "efs_event",
            "constraints": {"minimum": 0, "maximum": 2047},
        },
        {
            "name": "efs_event",
            "type": "string",
            "source": "EVENT",
            "missingValues": ["", "NA"],
            "reduce": {"how": "only", "where": RECURRENCE},
            "role": "event",
            "occurred": "1",
            "categories": yes_no,
        },
        {
            "name": "severe_adverse_event",
            "type": "string",
            "source": "AEVGRD1C",
            "missingValues": ["", "NA"],
            "reduce": {"how": "any", "test": ">= 3"},
        },
    ]
    policy = {"epsilon": "1000", "epsilon_per_query": "20", "minimum_cohort": 1, "expires": "2030-01-01"}
    policy["modes"] = ["dp", "exact"]
    return {"primaryKey": "MASK_ID", "capacity": 1024, "fields": fields, "policy": policy} | settings
