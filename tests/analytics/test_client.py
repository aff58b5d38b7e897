"""The analyst's commands against a portal of a few lines."""

import json
import re

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import analytics.__main__ as command
from analytics import check, render
from analytics.check import agreed, security
from analytics.client import (
    Aborted,
    Client,
    Refused,
    RequestRejected,
    TimedOut,
    Unreachable,
    Unverified,
)
from analytics.query.approval import public_hex, sign
from analytics.query.model import digest
from tests.analytics.query.studies import a_codebook, some_facts

QUERY = "11111111-2222-4333-8444-555555555555"
KEYS = [Ed25519PrivateKey.from_private_bytes(bytes([i + 1] * 32)) for i in range(4)]
PARTIES = [{"party": i, "sign": public_hex(key), "seal": "00" * 32} for i, key in enumerate(KEYS)]


def signed(party, integers, **changes):
    report = {
        "type": "fourfold/1/result",
        "party": party,
        "query": QUERY,
        "attempt": 1,
        "order_hash": "a" * 64,
        "plan_hash": "b" * 64,
        "session": "c" * 64,
        "result_hash": digest({"type": "fourfold/1/integers", "integers": integers}),
        "rounds": 9,
    } | changes
    return {"party": party, "report": report, "signature": sign(report, KEYS[party])}


def result(*parties, integers=((42,),), **changes):
    integers = [list(row) for row in integers]
    group = {
        "by": {"arm": "imatinib"}, "value": 42, "low": 39, "high": 45, "level": 0.95, "n": 42,
        "noise_scale": {"released": 1.0, "value": 1.36, "n": 1.36}, "suppressed": False, "reason": None,
    }  # fmt: skip
    hidden = group | {"by": {"arm": "placebo"}, "value": None, "low": None, "high": None, "n": None,
                      "suppressed": True, "reason": "noised cohort below the minimum cohort of 11"}  # fmt: skip
    statement = {
        "text": "count() by arm", "statistic": "count", "columns": [], "where": None, "epsilon": "1.000000",
        "groups": [group, hidden],
    }  # fmt: skip
    return {
        "query": QUERY,
        "mode": "dp",
        "epsilon": "1.000000",
        "datasets": ["d" * 32],
        "plan_hash": "b" * 64,
        "statements": [statement],
        "integers": integers,
        "signatures": [signed(p, integers) for p in parties],
    } | changes


class Portal:
    """Answers from a list, one a request; keeps what it was asked and how long the client slept."""

    def __init__(self, *answers):
        self.answers, self.requests, self.slept, self.now = list(answers), [], [], 0.0

    def __call__(self, request):
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        status, body, *headers = answer
        return httpx.Response(status, json=body, headers=headers[0] if headers else None)

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds

    def client(self):
        return Client(
            "http://portal/",
            "T",
            transport=httpx.MockTransport(self),
            sleep=self.sleep,
            clock=lambda: self.now,
        )


def problem(status, code, detail="no", **more):
    return status, {
        "type": "about:blank",
        "title": "No",
        "status": status,
        "code": code,
        "detail": detail,
        **more,
    }


def test_asking_posts_the_program_with_the_token_and_returns_the_query():
    portal = Portal((201, {"id": QUERY, "state": "SUBMITTED"}))
    assert portal.client().ask("count()", ["d"], "1.0", "dp")["id"] == QUERY
    (request,) = portal.requests
    assert (request.method, request.url.path) == ("POST", "/api/queries/")
    assert request.headers["Authorization"] == "Token T"
    assert json.loads(request.content) == {
        "program": "count()",
        "datasets": ["d"],
        "epsilon": "1.0",
        "mode": "dp",
    }


def test_a_program_that_is_json_is_sent_as_an_object():
    portal = Portal((200, {"plan": {}}))
    portal.client().preview(' {"statements": []}', ["d"], "1", "dp")
    assert json.loads(portal.requests[0].content)["program"] == {"statements": []}
    assert portal.requests[0].url.path == "/api/queries/preview/"
    with pytest.raises(RequestRejected):
        portal.client().preview("{oops", ["d"], "1", "dp")


def test_polling_waits_as_long_as_the_portal_asks():
    waiting = (202, {"state": "RUNNING"}, {"Retry-After": "3"})
    portal = Portal((202, {"state": "SUBMITTED"}, {"Retry-After": "1"}), waiting, waiting, (200, result(0)))
    told = []
    assert portal.client().wait(QUERY, 60, told.append)["query"] == QUERY
    assert portal.slept == [1.0, 3.0, 3.0]
    assert told == ["SUBMITTED", "RUNNING"]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (problem(409, "refused", "too much"), Refused),
        (problem(409, "withdrawn"), Refused),
        (problem(409, "aborted"), Aborted),
        (problem(404, "not_found"), RequestRejected),
        (problem(401, "not_authenticated"), RequestRejected),
        ((202, {"state": "RUNNING"}, {"Retry-After": "5"}), TimedOut),
    ],
)
def test_every_end_of_a_query_is_its_own_error(answer, error):
    with pytest.raises(error):
        Portal(answer).client().wait(QUERY, 20)


def test_a_portal_that_is_away_for_a_while_is_waited_for():
    portal = Portal(
        httpx.ConnectError("refused"), (503, {}), (429, {}, {"Retry-After": "4"}), (200, result(0))
    )
    assert portal.client().wait(QUERY, 60)["mode"] == "dp"
    assert portal.slept == [2.0, 2.0, 4.0]


def test_a_portal_that_stays_away_ends_in_a_time_out():
    portal = Portal(httpx.ConnectError("refused"))
    with pytest.raises(TimedOut):
        portal.client().wait(QUERY, 10)
    assert sum(portal.slept) == 10


@pytest.mark.parametrize("wild", ["-5", "nan", "inf", "soon", "1e9", ""])
def test_a_wild_retry_after_neither_hammers_nor_hangs(wild):
    portal = Portal((202, {"state": "RUNNING"}, {"Retry-After": wild}), (200, result(0)))
    portal.client().wait(QUERY, 600)
    assert 0.1 <= portal.slept[0] <= 30


def test_a_rejection_says_place_reason_and_what_was_meant():
    portal = Portal(
        problem(
            400,
            "unknown_column",
            "there is no column agee",
            where={"line": 2, "column": 7},
            suggestions=["age"],
        )
    )
    with pytest.raises(RequestRejected) as caught:
        portal.client().ask("count()\ncount(agee)", ["d"], "1", "dp")
    assert str(caught.value) == "line 2, column 7: there is no column agee (did you mean age?)"
    assert (caught.value.code, caught.value.exit_code) == ("unknown_column", 2)


@pytest.mark.parametrize("answer", [(200, "hello"), (201, {"no": "id"}), (502, {}), (200, 5)])
def test_something_that_is_no_portal_is_said_in_one_line(answer):
    with pytest.raises(Unreachable) as caught:
        Portal(answer).client().ask("count()", ["d"], "1", "dp")
    assert "\n" not in str(caught.value)


def test_three_equal_signatures_are_enough():
    assert agreed(result(0, 1, 3), PARTIES) == [0, 1, 3]
    assert agreed(result(0, 1, 2, 3), PARTIES) == [0, 1, 2, 3]


def test_a_fourth_that_differs_takes_nothing_from_three_that_agree():
    body = result(0, 1, 2)
    body["signatures"].append(signed(3, [[41]]))
    assert agreed(body, PARTIES) == [0, 1, 2]


def forged_integers(body):
    body["integers"] = [[43]]


def two_only(body):
    del body["signatures"][2:]


def one_party_thrice(body):
    body["signatures"] = [body["signatures"][0]] * 3


def another_query(body):
    body["query"] = QUERY.replace("5", "6")


def another_plan(body):
    body["plan_hash"] = "e" * 64


def another_session(body):
    body["signatures"][2:] = [signed(2, body["integers"], session="9" * 64)]


def changed_after_signing(body):
    body["signatures"][2]["report"]["rounds"] = 8


def signed_with_anothers_key(body):
    report = signed(2, body["integers"])["report"]
    body["signatures"][2] = {"party": 2, "report": report, "signature": sign(report, KEYS[3])}


def another_type(body):
    body["signatures"][2] = signed(2, body["integers"], type="fourfold/1/refusal")


def a_stranger(body):
    body["signatures"][2]["report"]["party"] = 7


def nothing_signed(body):
    del body["signatures"]


def odd_shapes(body):
    body["signatures"] = [
        None,
        3,
        "x",
        {"report": [], "signature": None},
        {"report": {"party": []}, "signature": 1},
    ]


@pytest.mark.parametrize(
    "forge",
    [
        forged_integers, two_only, one_party_thrice, another_query, another_plan, another_session,
        changed_after_signing, signed_with_anothers_key, another_type, a_stranger, nothing_signed, odd_shapes,
    ],
    ids=lambda forge: forge.__name__,
)  # fmt: skip
def test_anything_short_of_three_parties_over_these_integers_is_refused(forge):
    body = json.loads(json.dumps(result(0, 1, 2)))
    forge(body)
    with pytest.raises(Unverified):
        agreed(body, PARTIES)


def test_two_names_for_one_key_count_for_nothing():
    twice = [*PARTIES[:3], {"party": 3, "sign": PARTIES[0]["sign"]}]
    with pytest.raises(Unverified):
        agreed(result(0, 1, 2), twice)


def test_an_answer_from_the_store_is_signed_for_the_query_that_ran():
    body = result(0, 1, 2, query="99999999-2222-4333-8444-555555555555", stored_from=QUERY)
    assert agreed(body, PARTIES) == [0, 1, 2]


def passive(*parties, missing=2, **changes):
    """An answer among three, signed as such."""
    body = result(*parties, missing=missing, security="three-party, passive")
    body["signatures"] = [signed(p, body["integers"], missing=missing, **changes) for p in parties]
    return body


def test_an_answer_among_three_needs_all_three_and_says_so():
    assert agreed(passive(0, 1, 3), PARTIES) == [0, 1, 3]
    assert security(passive(0, 1, 3)) == "three-party, passive: party 2 was missing"
    assert security(result(0, 1, 2, 3)) == ""
    with pytest.raises(Unverified, match="2 equal signatures"):
        agreed(passive(0, 1), PARTIES)


def test_a_portal_that_hides_or_invents_that_a_party_was_missing_is_refused():
    hidden = passive(0, 1, 3) | {"missing": None, "security": "four-party, active"}
    with pytest.raises(Unverified, match="three parties computed, without party 2"):
        agreed(hidden, PARTIES)
    with pytest.raises(Unverified, match="four parties computed"):
        agreed(result(0, 1, 3) | {"missing": 2}, PARTIES)
    with pytest.raises(Unverified, match="said to be missing"):
        agreed(passive(0, 1, 2), PARTIES)


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a command line against a Portal; returns exit code, stdout, stderr."""

    def run(portal, *arguments):
        monkeypatch.setattr(command, "Client", lambda url, token: portal.client())
        code = command.main(arguments)
        return code, *capsys.readouterr()

    return run


def asked(*answers):
    return Portal((201, {"id": QUERY, "state": "SUBMITTED"}), *answers)


ASK = ("ask", "--url", "http://portal", "--token", "T", "--dataset", "d", "--epsilon", "1")


def test_ask_says_the_query_on_stderr_and_prints_a_table(run):
    code, out, err = run(asked((200, result(0))), *ASK, "count() by arm")
    assert code == 0
    assert err.splitlines()[0] == f"query {QUERY}"
    assert "imatinib  42     39 to 45       42" in out
    assert "noised cohort below the minimum cohort of 11" in out
    assert "None" not in out


def test_ask_with_json_prints_the_body_alone(run):
    code, out, _ = run(asked((200, result(0))), *ASK, "--json", "count() by arm")
    assert code == 0
    assert json.loads(out) == result(0)


@pytest.mark.parametrize(
    ("answers", "code"),
    [
        ([problem(409, "refused")], 3),
        ([problem(409, "withdrawn")], 3),
        ([problem(409, "aborted")], 4),
        ([(202, {"state": "RUNNING"})], 5),
    ],
)
def test_ask_ends_with_the_code_of_what_happened(run, answers, code):
    seen, out, err = run(asked(*answers), *ASK, "--timeout", "30", "count()")
    assert (seen, out) == (code, "")
    assert "Traceback" not in err


def test_a_bad_program_and_a_dead_portal_are_one_line_each(run):
    code, out, err = run(Portal(problem(400, "syntax", "a name is expected")), *ASK, "count(")
    assert (code, out, err) == (2, "", "syntax: a name is expected\n")
    code, out, err = run(Portal(httpx.ConnectError("Connection refused")), *ASK, "count()")
    assert (code, out, len(err.splitlines())) == (1, "", 1)


def test_a_program_may_stand_in_a_file(run, tmp_path):
    file = tmp_path / "program.txt"
    file.write_text("\ufeffcount()\nmean(x)\n", encoding="utf-8")
    portal = asked((200, result(0)))
    assert run(portal, *ASK, str(file))[0] == 0
    assert json.loads(portal.requests[0].content)["program"] == "count()\nmean(x)\n"
    file.write_bytes(b"\xff\xfe\x00")
    assert run(portal, *ASK, str(file))[0] == 2
    assert run(asked((200, result(0))), *ASK, "count() # " + "x" * 5000)[0] == 0


def test_ask_with_party_keys_prints_only_what_three_signed_and_follows_from_it(run, tmp_path, monkeypatch):
    keys = tmp_path / "access.json"
    keys.write_text(json.dumps({"url": "u", "parties": PARTIES}))
    seen = []
    monkeypatch.setattr(check, "recomputed", lambda *arguments: seen.append(arguments))
    options = (*ASK, "--parties", str(keys), "count()")
    code, out, err = run(asked((200, result(0, 1, 2)), (200, {"id": "d"})), *options)
    assert (code, "parties 0, 1, 2 signed" in err) == (0, True)
    assert seen == [(result(0, 1, 2), "count()", "1", "dp", [{"id": "d"}], None)]
    code, out, err = run(asked((200, result(0, 1))), *options)
    assert (code, out) == (1, "")
    assert "2 equal signatures" in err


def test_verify_and_the_printed_answer_say_that_a_party_was_missing(run, tmp_path):
    keys, saved = tmp_path / "parties.json", tmp_path / "result.json"
    keys.write_text(json.dumps(PARTIES))
    saved.write_text(json.dumps(passive(0, 1, 3)))
    _, out, _ = run(None, "verify", str(saved), "--parties", str(keys))
    assert out.strip().endswith("(three-party, passive: party 2 was missing)")
    assert render.answer(passive(0, 1, 3)).startswith("three-party, passive: party 2 was missing\n")
    assert "passive" not in render.answer(result(0, 1, 2))


def test_preview_says_when_an_order_now_would_be_passive(run):
    body = {"plan": {"epsilon": "1"}, "missing": 2, "security": "three-party, passive"}
    _, _, err = run(Portal((200, body)), "preview", *ASK[1:], "count()")
    assert "party 2 is lost" in err and "three-party, passive" in err


def test_verify_needs_no_portal(run, tmp_path):
    keys, saved = tmp_path / "parties.json", tmp_path / "result.json"
    keys.write_text(json.dumps(PARTIES))
    saved.write_text(json.dumps(result(1, 2, 3)))
    code, out, _ = run(None, "verify", str(saved), "--parties", str(keys))
    assert (code, out) == (0, "verified: parties 1, 2, 3 signed these integers\n")
    saved.write_text(json.dumps(result(1, 2, 3) | {"integers": [[1]]}))
    assert run(None, "verify", str(saved), "--parties", str(keys))[0] == 1
    for content in ("[]", "{", "{}", "5"):
        saved.write_text(content)
        assert run(None, "verify", str(saved), "--parties", str(keys))[0] in (1, 2)
    assert run(None, "verify", str(tmp_path / "absent"), "--parties", str(keys))[0] == 2


def test_preview_prints_the_plan_as_lines_or_json(run):
    body = {
        "plan": {"epsilon": "1", "statements": [{"text": "count()", "cells": 1, "noise": {"scale": 1.0}}]}
    }
    arguments = ("preview", *ASK[1:], "count()")
    code, out, _ = run(Portal((200, body)), *arguments)
    assert (code, out) == (
        0,
        "epsilon: 1\nstatements:\n  text: count()\n  cells: 1\n  noise:\n    scale: 1\n",
    )
    assert json.loads(run(Portal((200, body)), *arguments, "--json")[1]) == body


@pytest.mark.parametrize("name", ["ask", "preview"])
def test_a_delta_goes_beside_epsilon_and_only_where_it_is_named(run, name):
    portal = Portal(
        (400, {"code": "delta_not_offered", "detail": "a plan with delta has more than 12 tables"})
    )
    code, _, err = run(portal, name, *ASK[1:], "--delta", "1e-6", "count()")
    assert (code, err.strip()) == (2, "delta_not_offered: a plan with delta has more than 12 tables")
    sent = json.loads(portal.requests[0].content)
    assert (sent["epsilon"], sent["delta"]) == ("1", "1e-6")
    portal = Portal((400, {"code": "x", "detail": "x"}))
    run(portal, name, *ASK[1:], "count()")
    assert "delta" not in json.loads(portal.requests[0].content)


def test_an_answer_with_delta_says_what_it_means():
    body = {"mode": "dp", "epsilon": "2.000000", "delta": "1e-6", "means": "in words", "statements": []}
    assert render.answer(body) == "epsilon 2, delta 1e-6: in words"
    assert render.answer({**body, "delta": "0"}) == ""


def test_wrong_options_end_with_code_2(capsys):
    with pytest.raises(SystemExit) as caught:
        command.main(["ask", "count()"])
    assert caught.value.code == 2


def test_a_table_is_printed_with_chi_square_and_dashes_for_what_is_hidden():
    group = {
        "by": {}, "value": 0.1, "low": 0.0, "high": 0.2, "n": 60, "noise_scale": {"value": 0.01}, "reason": None,
        "table": {"rows": ["a", "b"], "columns": ["c", "d"], "counts": [[12, None], [13, 14]]},
        "chi2": 1.5, "df": 1, "p": 0.22, "cramers_v": 0.1,
    }  # fmt: skip
    body = {"mode": "exact", "statements": [{"text": "correlate(p, q)", "statistic": "correlate", "groups": [group],
                                             "resolution": {"x": 0.5}}]}  # fmt: skip
    out = render.answer(body)
    assert "a  12  -" in out
    assert "chi-square 1.5, df 1, p 0.22, cramers v 0.1" in out
    assert "x at a resolution of 0.5" in out


def test_what_is_supposed_goes_with_a_preview(run):
    portal = Portal((200, {"plan": {"epsilon": "1"}}))
    arguments = ["--assume", "sd=10,rate=0.3", "--assume", "2:n=746", "count()"]
    assert run(portal, "preview", *ASK[1:], *arguments)[0] == 0
    sent = json.loads(portal.requests[0].content)
    assert sent["assumptions"] == {"all": {"sd": "10", "event_rate": "0.3"}, "2": {"n": "746"}}
    for wrong in ("sd", "sd=", "=3", "sd=1,,n=2"):
        code, _, err = run(Portal((200, {})), "preview", *ASK[1:], "--assume", wrong, "count()")
        assert code == 2 and "write name=value" in err


def test_a_figure_that_is_not_useful_is_asked_for_only_when_confirmed(run):
    refused = Portal(problem(409, "not_useful", "statement 1, count(): too wide", confirm=["not_useful"]))
    code, out, err = run(refused, *ASK, "count()")
    assert (code, out) == (2, "") and "too wide" in err and "--confirm" in err
    assert "confirm" not in json.loads(refused.requests[0].content)
    portal = asked((200, result(0, 1, 2)))
    assert run(portal, *ASK, "--confirm", "count()")[0] == 0
    assert json.loads(portal.requests[0].content)["confirm"] == ["not_useful"]


def test_a_twin_answers_in_place_of_the_parties_and_nothing_is_submitted(run):
    facts = some_facts()
    body = {
        "manifest": {
            "dataset": facts.id,
            "version": 1,
            "codebook_hash": facts.schema.hash,
            "capacity": facts.capacity,
            "policy": dict(facts.policy),
        },
        "codebook": a_codebook(),
    }
    portal = Portal((200, body))
    code, out, _ = run(portal, *ASK, "--twin", "count() by smoker")
    assert code == 0 and out.startswith("dummy twin") and "count() by smoker" in out
    assert [(r.method, r.url.path) for r in portal.requests] == [("GET", "/api/datasets/d/")]
    portal = Portal((200, {"plan": {"epsilon": "1"}}), (200, body))
    code, out, _ = run(portal, "preview", *ASK[1:], "--twin", "--json", "count() by smoker")
    answered = json.loads(out)
    assert answered["plan"] == {"epsilon": "1"} and "no patient" in answered["twin"]["twin"]


def figure(by, n=60, reason=None, **extra):
    return {"by": by, "value": None, "low": None, "high": None, "level": 0.95, "n": n, "noise_scale": {"value": None},
            "suppressed": False, "reason": reason, **extra}  # fmt: skip


def test_what_goes_with_a_figure_is_printed_by_its_shape_whatever_the_statistic():
    rows = [{"time": "0 to 6", "survival": 0.91234, "low": 0.85, "high": 0.95, "at_risk": 60},
            {"time": "6 to 12", "survival": None, "low": None, "high": None, "at_risk": None}]  # fmt: skip
    hidden = [{"time": "0 to 6", "survival": None, "low": None, "high": None, "at_risk": None}]
    groups = [
        figure({"arm": "a"}, curve=rows, p=0.03, method="log-rank"),
        figure({"arm": "b"}, curve=hidden, p=None),
    ]
    out = render.answer(
        {"mode": "exact", "statements": [{"text": "t()", "statistic": "t", "groups": groups}]}
    )
    assert [line.split("  ") for line in re.sub(r"  +", "  ", out).splitlines()[3:6]] == [
        ["", "time", "survival", "95 % interval", "at risk"],
        ["", "0 to 6", "0.91234", "0.85 to 0.95", "60"],
        ["", "6 to 12", "-", "-", "-"],
    ]
    assert "p 0.03, method log-rank" in out
    assert out.count("0 to 6") == 1 and out.count("survival") == 1, "a table without a number is not printed"


def test_margins_and_layers_are_printed_with_their_table_and_reasons_at_the_end_of_a_row():
    table = {"rows": ["a", "b"], "columns": ["c", "d"], "counts": [[1, 2], [3, 4]]}
    margins = {"row_sums": [3, 7], "column_sums": [4, 6], "all": 10}
    layers = [{"level": "old", "counts": [[1, 0], [0, 4]], "margins": margins}]
    pairs = [{"pair": "x", "value": 1.5, "low": 1, "high": 2, "reason": None, "noise_scale": {"value": 1}},
             {"pair": "y", "value": None, "low": None, "high": None, "reason": "too few", "noise_scale": {"value": None}}]  # fmt: skip
    group = figure({}, table=table, margins=margins, layers=layers, pairs=pairs)
    out = render.answer(
        {"mode": "exact", "statements": [{"text": "t()", "statistic": "t", "groups": [group]}]}
    )
    assert [re.split("  +", line.strip()) for line in out.splitlines()[3:]] == [
        ["c", "d", "all"], ["a", "1", "2", "3"], ["b", "3", "4", "7"], ["all", "4", "6", "10"],
        ["old"],
        ["c", "d", "all"], ["a", "1", "0", "3"], ["b", "0", "4", "7"], ["all", "4", "6", "10"],
        ["pair", "value", "95 % interval"], ["x", "1.5", "1 to 2"], ["y", "-", "-", "too few"],
    ]  # fmt: skip


def test_a_stratum_is_printed_by_what_it_is_called():
    strata = [
        {"stratum": {"dataset": "Trial A", "sex": "female"}, "value": 1.5, "low": 1.0, "high": 2.0, "n": 60}
    ]
    groups = [figure({}, strata=strata)]
    out = render.answer({"mode": "dp", "statements": [{"text": "t()", "statistic": "t", "groups": groups}]})
    assert re.search(r"Trial A and female +1.5 +1 to 2 +60", out)


def test_rows_with_a_format_are_told_in_it_with_the_groups_side_by_side():
    def rows(mean, sd):
        return [{"characteristic": "age", "level": None, "mean": mean, "sd": sd, "format": "{mean} ({sd})"},
                {"characteristic": "sex", "level": "male", "mean": 1, "sd": None, "format": "{mean} {mean.__class__}"}]  # fmt: skip

    groups = [
        figure({"arm": "a"}, rows=rows(61.23456, 9.5)),
        figure({"arm": "b"}, rows=rows(None, None), reason="few"),
    ]
    out = render.answer(
        {"mode": "exact", "statements": [{"text": "t()", "statistic": "t", "groups": groups}]}
    )
    assert [re.split("  +", line.strip()) for line in out.splitlines()[1:]] == [
        ["characteristic", "level", "a", "b"],
        ["n", "60", "60"],
        ["age", "61.23 (9.5)", "-"],
        ["sex", "male", "1 {mean.__class__}", "1 {mean.__class__}"],
        ["b: few"],
    ]
