"""Risk difference, risk ratio, odds ratio, Mantel and Haenszel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.validity.scenario import Columns, Scenario, category

FLAG = {"role": "event", "occurred": "yes"}
FIELDS = (category("died", "no", "yes") | FLAG,)


def risks(*of_arms: float) -> Any:
    """Arms of equal size with these risks."""

    def population(rng: np.random.Generator, size: int) -> Columns:
        arm = np.arange(size) % len(of_arms)
        place = np.arange(size) // len(of_arms)
        died = place < np.rint(np.array(of_arms) * (size // len(of_arms)))[arm]
        return {"arm": arm, "died": died.astype(np.int64)}

    return population


def in_strata(ratio: float, of_strata: Sequence[float]) -> Any:
    """One odds ratio in three stages of different risk, arms not equally often in each."""

    def population(rng: np.random.Generator, size: int) -> Columns:
        stage = np.arange(size) % 3
        arm = (rng.random(size) < np.array([0.4, 0.5, 0.6])[stage]).astype(np.int64)
        odds = np.array(of_strata)[stage] / (1 - np.array(of_strata)[stage]) * np.where(arm == 1, ratio, 1.0)
        return {"stage": stage, "arm": arm, "died": (rng.random(size) < odds / (1 + odds)).astype(np.int64)}

    return population


def _scenarios() -> list[Scenario]:
    made = []
    for name in ("risk_difference", "risk_ratio", "odds_ratio"):
        said, program, log = name.replace("_", " "), f"{name}(died, arm)", name != "risk_difference"
        for what, population in (("none", risks(0.3, 0.3)), ("0.4 against 0.25", risks(0.4, 0.25))):
            made.append(
                Scenario(
                    name=f"{said}, {what}",
                    program=program,
                    population=population,
                    null=what == "none",
                    preview=what == "none",
                    supposed={"event_rate": 0.3},
                    log=log,
                    fields=FIELDS,
                )
            )
    return made


SCENARIOS = (
    *_scenarios(),
    Scenario(
        name="Mantel-Haenszel, odds ratio 1",
        program="mantel_haenszel(died, arm, stage)",
        population=in_strata(1.0, (0.2, 0.35, 0.5)),
        truth=1.0,
        log=True,
        null=True,
        fields=FIELDS,
    ),
    Scenario(
        name="Mantel-Haenszel, odds ratio 2",
        program="mantel_haenszel(died, arm, stage)",
        population=in_strata(2.0, (0.2, 0.35, 0.5)),
        truth=2.0,
        log=True,
        fields=FIELDS,
    ),
)
