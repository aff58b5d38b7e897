"""A new version of a table, and the list of what became of all of them."""

# ruff: noqa: F811  (fixtures are imported)

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from analytics.query.approval import public_hex, sign, verify
from analytics.query.model import digest
from analytics.query.policy import loosened
from providers import __main__ as commands
from providers.bundle import FIRST, Place
from tests.providers.test_commands import CODEBOOK, portal, send, study  # noqa: F401
from tests.providers.world import POLICY, World, random_planes

EDITED = "id,age,weight,arm\n1,50,70.2,a\n"


@pytest.fixture
def sent(study, portal, capsys):
    """The id of the first version, uploaded from good.csv; edited.csv lies beside it."""
    assert send(study, "good.csv") == 0
    Path(study["folder"], "edited.csv").write_text(EDITED)
    study["edited.csv"] = study["folder"] + "/edited.csv"
    return capsys.readouterr().out.strip()


def book(study, **policy):
    changed = {**CODEBOOK, "policy": {**CODEBOOK["policy"], **policy}}
    Path(study["C.json"]).write_text(json.dumps(changed))


def test_the_same_table_at_another_place_of_a_chain_is_another_dataset_under_seeds_of_its_own():
    world, planes = World(), random_planes(3)
    first = world.dataset(planes)
    places = [Place(version=2, chain=first.id, previous=first.manifest_hash),
              Place(version=2, chain=first.id, previous="0" * 64),
              Place(version=3, chain=first.id, previous=first.manifest_hash),
              Place(version=2, chain="0" * 32, previous=first.manifest_hash)]  # fmt: skip
    made = [first, *(world.dataset(planes, place=place) for place in places)]
    for secret in ("id", "seeds", "salts", "last"):
        assert len({getattr(dataset, secret) for dataset in made}) == len(made)
    assert world.dataset(planes, place=places[0]) == made[1]
    assert world.dataset(planes, place=FIRST) == first and "chain" not in first.manifest


def test_a_new_version_names_its_chain_and_the_manifest_that_it_follows(study, portal, capsys, sent):
    assert send(study, "edited.csv", "--new-version-of", sent) == 0
    captured = capsys.readouterr()
    two = captured.out.strip()
    manifest, signature = portal.datasets[two]["manifest"], portal.datasets[two]["signature"]
    assert (manifest["version"], manifest["chain"]) == (2, sent)
    assert manifest["previous"] == digest(portal.datasets[sent]["manifest"])
    verify(manifest, signature, portal.datasets[sent]["manifest"]["provider_key"])
    assert "what was spent of its budget stays spent" in captured.err
    assert send(study, "good.csv", "--new-version-of", two) == 0
    three = portal.datasets[capsys.readouterr().out.strip()]["manifest"]
    assert (three["version"], three["chain"], three["previous"]) == (3, sent, digest(manifest))
    assert three["commitments"] != portal.datasets[sent]["manifest"]["commitments"]


def test_the_same_new_version_again_is_the_same_dataset_and_changes_nothing(study, portal, capsys, sent):
    assert send(study, "edited.csv", "--new-version-of", sent) == 0
    two, before = capsys.readouterr().out, dict(portal.chunks)
    portal.datasets[sent]["state"] = "SUPERSEDED"
    assert send(study, "edited.csv", "--new-version-of", sent) == 0
    assert send(study, "edited.csv", "--new-version-of", two.strip()) == 0
    captured = capsys.readouterr()
    assert captured.out == two + two and portal.chunks == before
    assert "no new version is needed" in captured.err


def test_a_superseded_table_that_is_sent_again_says_what_superseded_it(study, portal, capsys, sent):
    portal.datasets[sent] |= {"state": "SUPERSEDED", "superseded_by": "e" * 32}
    assert send(study, "good.csv") == 0
    captured = capsys.readouterr()
    assert captured.out.strip() == sent and f"superseded by {'e' * 32}" in captured.err


def test_a_new_chain_beside_one_with_the_same_columns_is_warned_of(study, portal, capsys, sent):
    assert send(study, "good.csv") == 0
    assert "warning" not in capsys.readouterr().err
    assert send(study, "edited.csv") == 0
    captured = capsys.readouterr()
    assert f"--new-version-of {sent}" in captured.err and captured.out.strip() != sent
    fewer = {**CODEBOOK, "fields": CODEBOOK["fields"][:2]}
    Path(study["C.json"]).write_text(json.dumps(fewer))
    assert send(study, "good.csv") == 0
    assert "budget of its own" not in capsys.readouterr().err


def test_a_larger_total_is_refused_before_anything_is_sent(study, portal, capsys, sent):
    book(study, epsilon=2.6)
    portal.seen.clear()
    assert send(study, "edited.csv", "--new-version-of", sent, "--looser-policy") == 1
    assert "a new version brings no more" in capsys.readouterr().err
    assert {method for method, _ in portal.seen} == {"GET"}
    book(study, epsilon=2.4)
    assert send(study, "edited.csv", "--new-version-of", sent) == 0


def test_more_delta_is_refused_before_anything_is_sent_and_less_is_taken(study, portal, capsys):
    book(study, delta="1e-7")
    assert send(study, "good.csv") == 0
    one = capsys.readouterr().out.strip()
    assert portal.datasets[one]["manifest"]["policy"]["atto_delta"] == 10**11
    book(study, delta="1e-6")
    portal.seen.clear()
    assert send(study, "good.csv", "--new-version-of", one, "--looser-policy") == 1
    assert "policy.delta is 1e-6, and that of this chain is 1e-7" in capsys.readouterr().err
    assert {method for method, _ in portal.seen} == {"GET"}
    book(study, delta="1e-8")
    assert send(study, "good.csv", "--new-version-of", one) == 0


def test_what_a_new_policy_allows_more_is_said_and_must_be_wanted(study, portal, capsys, sent):
    book(study, expires="2031-01-01", modes=["dp", "exact"])
    assert send(study, "edited.csv", "--new-version-of", sent) == 1
    refused = capsys.readouterr()
    assert refused.out == "" and "--looser-policy" in refused.err
    assert "last day from 2030-01-01 to 2031-01-01; modes with exact" in refused.err
    assert send(study, "edited.csv", "--new-version-of", sent, "--looser-policy") == 0
    assert "warning: the new version allows more: modes with exact" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "terms"),
    [
        ({}, []),
        ({"micro_epsilon": 20_000_000}, []),
        ({"micro_epsilon_per_query": 1_500_000}, ["epsilon per query from 1 to 1.5"]),
        ({"micro_epsilon_per_query": 500_000}, []),
        ({"minimum_cohort": 10}, ["minimum cohort from 11 to 10"]),
        ({"minimum_cohort": 12}, []),
        ({"modes": ["exact"]}, ["modes with exact"]),
        ({"statistics": ["count"]}, []),
        ({"expires": "2029-12-31"}, []),
        ({"expires": "2030-01-02"}, ["last day from 2030-01-01 to 2030-01-02"]),
    ],
)
def test_only_what_allows_more_is_looser(changes, terms):
    assert loosened(POLICY, POLICY | changes) == terms


def test_one_more_statistic_is_looser():
    few = POLICY | {"statistics": ["count"]}
    assert loosened(few, POLICY | {"statistics": ["count", "mean"]}) == ["statistics with mean"]
    assert loosened(few, POLICY) == ["statistics with *"]
    assert loosened(POLICY, few) == []


def test_a_dataset_that_is_not_there_or_was_signed_with_another_key_is_not_followed(
    study, portal, capsys, sent
):
    assert send(study, "edited.csv", "--new-version-of", "0" * 32) == 1
    assert "no dataset" in capsys.readouterr().err
    other = study["folder"] + "/other.pem"
    assert send(study, "edited.csv", "--new-version-of", sent, "--key", other) == 1
    assert "another key" in capsys.readouterr().err
    assert list(portal.datasets) == [sent]


def test_a_portal_that_shows_a_predecessor_we_did_not_sign_is_not_believed(study, portal, capsys, sent):
    known = portal.datasets[sent]
    known["manifest"] = {**known["manifest"], "version": 7}
    assert send(study, "edited.csv", "--new-version-of", sent) == 1
    assert "your key did not sign" in capsys.readouterr().err
    liar = Ed25519PrivateKey.generate()
    known["signature"] = sign(known["manifest"], liar)
    assert send(study, "edited.csv", "--new-version-of", sent) == 1
    known["manifest"] = {**known["manifest"], "provider_key": public_hex(liar)}
    assert send(study, "edited.csv", "--new-version-of", sent) == 1
    known["manifest"] = {**known["manifest"], "dataset": "0" * 32}
    assert send(study, "edited.csv", "--new-version-of", sent) == 1
    known["manifest"] = None
    assert send(study, "edited.csv", "--new-version-of", sent) == 1
    assert list(portal.datasets) == [sent]


A, B, C = "a" * 32, "b" * 32, "c" * 32


def listed(dataset, chain, version, state, created, title="trial"):
    by = B if state == "SUPERSEDED" else None
    return {"id": dataset, "chain": chain, "version": version, "state": state, "superseded_by": by,
            "created": created, "title": title}  # fmt: skip


class Shown:
    """A portal with two tables, one of them in two versions, and lists that come two entries a page."""

    def __init__(self):
        self.tables = [
            listed(C, C, 1, "UPLOADING", "2026-03-01T09:00:00Z", "pilot\n\x1b[31m"),
            listed(B, A, 2, "READY", "2026-02-01T09:00:00Z"),
            listed(A, A, 1, "SUPERSEDED", "2026-01-01T09:00:00Z"),
        ]
        self.queries = [
            {"id": f"q{n}", "state": "RELEASED", "mode": "dp", "epsilon": "1.000000", "created": "2026-01-02",
             "datasets": datasets, "program": "count()", "released": None}
            for n, datasets in enumerate([[A], [A, B], [B]])
        ]  # fmt: skip

    def answer(self, request: httpx.Request) -> httpx.Response:
        path, page = request.url.path, int(request.url.params.get("page", 1))
        if path == "/api/budget/":
            amounts = [
                ("2.500000", "1.000000", "0.500000", "1.000000"),
                ("10.000000", "0.000000", "0.000000", "10.000000"),
            ]
            names = ("total", "spent", "reserved", "left")
            return httpx.Response(200, json=[
                {"dataset": d, "chain": c, **dict(zip(names, a, strict=True))}
                for (d, c), a in zip([(B, A), (C, C)], amounts, strict=True)
            ])  # fmt: skip
        lists = {"/api/datasets/": self.tables, "/api/queries/": self.queries}
        if path in lists:
            found = lists[path]
            last = 2 * page >= len(found)
            return httpx.Response(200, json={
                "count": len(found), "previous": None, "next": None if last else "http://elsewhere.test/?page=9",
                "results": found[2 * page - 2 : 2 * page],
            })  # fmt: skip
        receipts = [{"party": n} for n in range(4)] if A in path or B in path else [{"party": 2}]
        return httpx.Response(200, json={"id": path, "receipts": receipts})


@pytest.fixture
def shown(monkeypatch):
    fake = Shown()

    def connect(url, token):
        return httpx.Client(transport=httpx.MockTransport(fake.answer), base_url=url)

    monkeypatch.setattr(commands, "connect", connect)
    return fake


def show(*more):
    return commands.main(["list", "--url", "http://portal.test", "--token", "t", *more])


def test_the_list_shows_every_version_with_the_chain_s_budget(shown, capsys):
    assert show("--json") == 0
    entries = json.loads(capsys.readouterr().out)
    assert [(e["id"], e["version"], e["state"]) for e in entries] == [
        (A, 1, "SUPERSEDED"), (B, 2, "READY"), (C, 1, "UPLOADING")]  # fmt: skip
    budget = {"total": "2.500000", "spent": "1.000000", "reserved": "0.500000", "left": "1.000000"}
    assert entries[0]["budget"] == entries[1]["budget"] == budget
    assert [[q["id"] for q in e["queries"]] for e in entries] == [["q0", "q1"], ["q1", "q2"], []]
    assert [e["receipts"] for e in entries] == [[0, 1, 2, 3], [0, 1, 2, 3], [2]]
    assert entries[0]["superseded_by"] == B and entries[1]["superseded_by"] is None
    assert set(entries[0]["queries"][0]) == {"id", "state", "mode", "epsilon", "created"}


def test_the_table_is_a_line_for_each_dataset_and_prints_nothing_that_moves_a_cursor(shown, capsys):
    assert show() == 0
    head, one, two, three = capsys.readouterr().out.splitlines()
    assert head.split() == [
        "dataset",
        "version",
        "state",
        "created",
        "receipts",
        "total",
        "spent",
        "left",
        "queries",
        "title",
    ]
    assert one.split() == [
        A,
        "1",
        "SUPERSEDED",
        "2026-01-01",
        "09:00",
        "0,1,2,3",
        "2.5",
        "1",
        "1",
        "2",
        "trial",
    ]
    assert two.split()[:3] == [B, "2", "READY"]
    assert three.split() == [
        C,
        "1",
        "UPLOADING",
        "2026-03-01",
        "09:00",
        "2",
        "10",
        "0",
        "10",
        "0",
        "pilot",
        "[31m",
    ]


def test_a_provider_without_datasets_sees_the_heads_alone(shown, capsys):
    shown.tables, shown.queries = [], []
    assert show("--json") == 0 and json.loads(capsys.readouterr().out) == []
    assert show() == 0 and len(capsys.readouterr().out.splitlines()) == 1


def test_an_answer_that_is_no_list_is_one_line(shown, capsys):
    shown.tables = None
    shown.answer = lambda request: httpx.Response(200, json=[])
    assert show() == 1
    assert capsys.readouterr().err == "error: the portal's answer at api/queries/ is not a list\n"
