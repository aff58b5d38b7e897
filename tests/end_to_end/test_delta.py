"""A plan with delta through a whole stack: asked in a terminal, approved, computed by four processes, verified."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise

import pytest

from tests.end_to_end.conftest import codebook
from tests.end_to_end.running import ROOT, run
from workers.ledger import Ledger

PROGRAM = "\n".join(f"count() where age >= {age}" for age in range(50, 70))  # twenty tables


@pytest.fixture(scope="module")
def dataset(world):
    book = codebook("dp") | {"title": "samples (dp, delta)"}
    book["policy"] = book["policy"] | {"delta": "1e-6"}
    return world.stack.upload("provider", book, world.tables[0])


def command(world, name, dataset, *options):
    stack = world.stack
    words = ["-m", "analytics", name, "--url", stack.url, "--token", stack.access["tokens"]["analyst"]]
    return [*words, "--dataset", dataset, "--epsilon", "2", "--delta", "1e-7", "--json", *options, PROGRAM]


def test_a_plan_with_delta_is_asked_computed_charged_and_verified(world, dataset, tmp_path):
    previewed = run(command(world, "preview", dataset))
    assert previewed.returncode == 0, previewed.stderr
    plan = json.loads(previewed.stdout)["plan"]
    assert (plan["epsilon"], plan["delta"], plan["worst_delta"]) == ("2.000000", "1e-7", "2e-7")
    assert float(plan["composition"]["sum"]) > 2

    parties = str(world.stack.var / "access.json")
    asking = subprocess.Popen(
        [sys.executable, *command(world, "ask", dataset, "--timeout", "60", "--parties", parties)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    query = asking.stderr.readline().removeprefix("query ").strip()
    world.stack.approve(query)
    out, err = asking.communicate(timeout=90)
    assert asking.returncode == 0, err
    assert "plan and figures computed again here are the same" in err
    result = json.loads(out)
    assert (result["delta"], result["charged"], result["charged_delta"]) == ("1e-7", "2.000000", "1e-7")
    counts = [statement["groups"][0]["n"] for statement in result["statements"]]
    noise = plan["statements"][0]["noise"]["standard_deviation"]
    assert len(counts) == 20 and counts[0] > counts[-1]
    assert all(later < earlier + 15 * noise for earlier, later in pairwise(counts))

    saved = tmp_path / "result.json"
    saved.write_text(out)
    assert run(["-m", "analytics", "verify", str(saved), "--parties", parties]).returncode == 0
    for number in range(4):
        ledger = Ledger(world.stack.var / "parties" / str(number) / "party.sqlite3")
        ledger.verify()
        balance = ledger.balance(dataset)
        assert (balance.spent, balance.atto_delta, balance.delta_cap) == (2_000_000, 10**11, 10**12)
        assert balance.squares > (2_000_000 / 20) ** 2 * 20
    with world.stack.client("analyst") as analyst:
        [told] = analyst.get(f"budget/?dataset={dataset}").json()
    assert told["accounting"]["delta"]["spent"] == "1e-7"
    assert (told["spent"], told["reserved"]) == ("2.000000", "0.000000")


def test_a_question_of_epsilon_alone_on_the_same_budget_goes_on_as_ever(world, dataset):
    result = world.stack.ask("count() by region", [dataset], epsilon="1")
    assert (result["delta"], result["charged"], result["charged_delta"]) == ("0", "1.000000", "0")
    with world.stack.client("analyst") as analyst:
        [told] = analyst.get(f"budget/?dataset={dataset}").json()
    assert told["spent"] == "3.000000"
