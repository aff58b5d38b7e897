"""An edited table comes back as a new version: same budget at the portal and at every party, and the old one is over."""

from __future__ import annotations

import json

import pytest

from tests.end_to_end.conftest import codebook
from tests.end_to_end.running import run
from workers.ledger import Ledger


@pytest.fixture(scope="module")
def chain(world, tmp_path_factory):
    """Two versions of one table, the second without its last patient; 4 of 20 were spent on the first."""
    folder = tmp_path_factory.mktemp("versions")
    lines = world.tables[0].read_text(encoding="utf-8").splitlines(keepends=True)
    whole, edited = folder / "whole.csv", folder / "edited.csv"
    whole.write_text("".join(lines[:301]), encoding="utf-8")
    edited.write_text("".join(lines[:300]), encoding="utf-8")
    book = codebook("dp", title="a table in versions")
    one = world.stack.upload("provider", book, whole)
    answer = world.stack.ask("count()", [one], epsilon="4")
    two = world.stack.upload("provider", book, edited, options=["--new-version-of", one])
    return {"one": one, "two": two, "answer": answer, "book": book, "edited": edited}


def budget(world, dataset):
    with world.stack.client("analyst") as analyst:
        (line,) = analyst.get("budget/", params={"dataset": dataset}).json()
    return {name: line[name] for name in ("chain", "total", "spent", "reserved", "left")}


def test_the_new_version_has_the_budget_that_was_left(world, chain):
    left = {"total": "20.000000", "spent": "4.000000", "reserved": "0.000000", "left": "16.000000"}
    assert budget(world, chain["two"]) == budget(world, chain["one"]) == {"chain": chain["one"], **left}


def test_a_question_on_the_old_version_is_refused_with_the_id_of_the_new_one(world, chain):
    asked = {"program": "count() by arm", "datasets": [chain["one"]], "epsilon": "1", "mode": "dp"}
    with world.stack.client("analyst") as analyst:
        answer = analyst.post("queries/", json=asked)
    assert (answer.status_code, answer.json()["code"]) == (409, "superseded")
    assert chain["two"] in answer.json()["detail"]
    argv = [
        "-m",
        "analytics",
        "ask",
        "--url",
        world.stack.url,
        "--token",
        world.stack.access["tokens"]["analyst"],
    ]
    done = run([*argv, "--dataset", chain["one"], "--epsilon", "1", "count() by arm"])
    assert done.returncode in (2, 3) and chain["two"] in done.stderr


def test_what_was_answered_on_the_old_version_is_answered_again_at_no_charge(world, chain):
    query = world.stack.submit("count()", [chain["one"]], epsilon="4")
    assert world.stack.result(query).json()["integers"] == chain["answer"]["integers"]


def test_every_party_charges_the_chain_and_keeps_the_new_version_alone(world, chain):
    before = budget(world, chain["two"])["spent"]
    world.stack.ask("count()", [chain["two"]], epsilon="3")
    assert (before, budget(world, chain["two"])["spent"]) == ("4.000000", "7.000000")
    for number in range(4):
        folder = world.stack.var / "parties" / str(number)
        ledger = Ledger(folder / "party.sqlite3")
        ledger.verify()
        assert ledger.balance(chain["one"]).spent == 7_000_000 and ledger.balance(chain["two"]) is None
        stored = {path.name for path in (folder / "store" / "datasets").iterdir()}
        assert chain["two"] in stored and chain["one"] not in stored


def test_a_version_with_a_larger_budget_is_refused(world, chain):
    book = chain["book"]
    book = {**book, "policy": {**book["policy"], "epsilon": "21"}}
    done = world.stack.send("provider", book, chain["edited"], options=["--new-version-of", chain["two"]])
    assert done.returncode == 1 and "brings no more" in done.stderr and done.stdout == ""


def test_the_same_upload_again_is_the_same_version(world, chain):
    again = world.stack.upload(
        "provider", chain["book"], chain["edited"], options=["--new-version-of", chain["one"]]
    )
    assert again == chain["two"]


def test_the_provider_sees_both_versions_and_what_was_asked_of_each(world, chain):
    argv = [
        "-m",
        "providers",
        "list",
        "--url",
        world.stack.url,
        "--token",
        world.stack.access["tokens"]["provider"],
    ]
    done = run([*argv, "--json"])
    assert done.returncode == 0, done.stderr
    mine = [entry for entry in json.loads(done.stdout) if entry["chain"] == chain["one"]]
    assert [(e["id"], e["version"], e["state"], e["receipts"]) for e in mine] == [
        (chain["one"], 1, "SUPERSEDED", [0, 1, 2, 3]),
        (chain["two"], 2, "READY", [0, 1, 2, 3]),
    ]
    assert mine[0]["superseded_by"] == chain["two"] and mine[0]["budget"] == mine[1]["budget"]
    assert chain["answer"]["query"] in {query["id"] for query in mine[0]["queries"]}
    shown = run(argv).stdout
    assert all(entry["id"] in shown for entry in mine)
