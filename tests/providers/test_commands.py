"""The commands: exit status, what goes to stdout, one line for every error, and names kept for later."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from providers import __main__ as commands
from tests.providers.world import FakePortal, World

CODEBOOK = {
    "primaryKey": "id",
    "title": "A small trial",
    "capacity": 64,
    "fields": [
        {"name": "age", "type": "integer", "constraints": {"minimum": 0, "maximum": 127}},
        {
            "name": "weight",
            "type": "number",
            "constraints": {"minimum": 30, "maximum": 157.5},
            "resolution": 0.5,
        },
        {"name": "arm", "type": "string", "categories": ["a", "b"]},
    ],
    "policy": {"epsilon": 2.5, "epsilon_per_query": "0.5", "expires": "2030-01-01"},
}
GOOD = "id,age,weight,arm\n1,50,70.2,a\n2,61,81,b\n"
BAD = "id,age,weight,arm\n1,50,70.2,a\n2,sixty,81,c\n"


@pytest.fixture
def study(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "C.json").write_text(json.dumps(CODEBOOK))
    (tmp_path / "good.csv").write_text(GOOD)
    (tmp_path / "bad.csv").write_text(BAD)
    names = {
        name: str(tmp_path / name) for name in ("C.json", "good.csv", "bad.csv", "key.pem", "access.json")
    }
    return names | {"folder": str(tmp_path)}


@pytest.fixture
def portal(monkeypatch) -> FakePortal:
    fake = FakePortal(World())

    def connect(url: str, token: str) -> httpx.Client:
        headers = {"Authorization": f"Token {token}"}
        return httpx.Client(transport=fake.transport, base_url=url, headers=headers)

    monkeypatch.setattr(commands, "connect", connect)
    return fake


def check(study: dict[str, str], *more: str, codebook: str = "C.json") -> int:
    return commands.main(["check", "--codebook", study.get(codebook, codebook), *more])


def send(study: dict[str, str], file: str, *more: str) -> int:
    given = [
        "upload",
        "--url",
        "http://portal.test",
        "--token",
        "secret-token",
        "--codebook",
        study["C.json"],
    ]
    return commands.main([*given, "--key", study["key.pem"], *more, study[file]])


def test_check_accepts_a_good_table(study, capsys):
    assert check(study, study["good.csv"]) == 0
    assert "0 errors, 0 warnings" in capsys.readouterr().out
    assert check(study, "--json", study["good.csv"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_check_refuses_a_bad_table_and_names_every_place(study, capsys):
    assert check(study, "--json", study["bad.csv"]) == 1
    problems = json.loads(capsys.readouterr().out)
    assert {"file", "line", "column", "rule", "message", "remedy"} <= set(problems[0])
    assert [(p["file"], p["line"], p["column"], p["rule"]) for p in problems] == [
        ("bad.csv", 3, "age", "not_a_number"),
        ("bad.csv", 3, "arm", "unknown_level"),
    ]
    assert check(study, study["bad.csv"]) == 1
    out = capsys.readouterr().out
    assert "bad.csv:3:age: error:" in out
    assert "sixty" not in out


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("{", "json"),
        ("[]", "json"),
        ("{}", "required"),
        (json.dumps(CODEBOOK | {"colour": 1}), "unknown_key"),
        (json.dumps(CODEBOOK | {"fields": [{"name": "d", "type": "date"}]}), "unknown_type"),
    ],
)
def test_a_codebook_that_breaks_rules_is_reported_like_a_table(study, tmp_path, capsys, text, rule):
    (tmp_path / "C.json").write_text(text)
    assert check(study, "--json", study["good.csv"]) == 1
    problems = json.loads(capsys.readouterr().out)
    assert rule in [p["rule"] for p in problems]
    assert all(p["file"] == "C.json" and p["remedy"] for p in problems)


def test_a_codebook_that_wastes_codes_is_warned_of_and_still_good(study, tmp_path, capsys):
    for maximum, rules in ((102, []), (101, ["unused_codes"])):
        fields = [{"name": "age", "type": "integer", "constraints": {"minimum": 0, "maximum": maximum}}]
        (tmp_path / "C.json").write_text(json.dumps(CODEBOOK | {"fields": fields}))
        assert check(study, "--json", study["good.csv"]) == 0
        problems = json.loads(capsys.readouterr().out)
        assert [(p["rule"], p["severity"]) for p in problems] == [(rule, "warning") for rule in rules]


def test_missing_files_are_one_line_each(study, capsys):
    assert check(study, "--json", "/nowhere/t.csv", codebook="/nowhere/C.json") == 1
    assert [p["rule"] for p in json.loads(capsys.readouterr().out)] == ["codebook_unreadable"]
    assert check(study, "--json", "/nowhere/t.csv") == 1
    assert [p["rule"] for p in json.loads(capsys.readouterr().out)] == ["unreadable"]


def test_upload_prints_the_dataset_id_alone(study, portal, capsys):
    assert send(study, "good.csv") == 0
    captured = capsys.readouterr()
    assert captured.out.strip() in portal.datasets
    assert captured.out.count("\n") == 1
    assert "receipt of party 3" in captured.err or "(4 of 4)" in captured.err
    assert portal.tokens == {"Token secret-token"}
    assert "secret-token" not in captured.err
    manifest = portal.datasets[captured.out.strip()]["manifest"]
    assert manifest["title"] == "A small trial"
    assert manifest["policy"] == {
        "micro_epsilon": 2_500_000,
        "micro_epsilon_per_query": 500_000,
        "minimum_cohort": 11,
        "modes": ["dp"],
        "statistics": ["*"],
        "expires": "2030-01-01",
    }


def test_the_same_table_again_is_the_same_dataset_and_changes_nothing(study, portal, capsys):
    assert send(study, "good.csv") == 0
    first, before = capsys.readouterr().out, dict(portal.chunks)
    assert send(study, "good.csv") == 0
    assert capsys.readouterr().out == first
    assert portal.chunks == before
    assert send(study, "good.csv", "--key", study["folder"] + "/other.pem") == 0
    assert capsys.readouterr().out != first


def test_upload_sends_nothing_when_the_table_has_a_problem(study, portal, capsys):
    assert send(study, "bad.csv") == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "bad.csv:3:age" in captured.err
    assert "nothing was sent" in captured.err
    assert portal.seen == []


def test_no_row_leaves_in_clear(study, portal):
    """Requests hold no raw cell and no name of a file on the provider's machine."""
    sent: list[bytes] = []
    portal.fault = lambda n, request: sent.append(request.content)
    assert send(study, "good.csv") == 0
    assert sent
    for local in (b"70.2", b"good.csv", b"key.pem"):
        assert not any(local in content for content in sent)


def test_given_party_keys_are_used_without_asking_the_portal(study, portal, capsys):
    Path(study["access.json"]).write_text(json.dumps(portal.world.access()))
    assert send(study, "good.csv", "--parties", study["access.json"]) == 0
    assert ("GET", "/api/parties/") not in portal.seen
    capsys.readouterr()
    assert commands.main(["keys", "--key", study["key.pem"]]) == 0
    assert portal.world.deployment().fingerprints["party 3"] in capsys.readouterr().out


def test_a_portal_that_changes_a_partys_key_is_refused_before_anything_is_sent(study, portal, capsys):
    assert send(study, "good.csv") == 0
    old = portal.world.deployment()
    portal.world = World()
    portal.seen.clear()
    capsys.readouterr()
    assert send(study, "good.csv") == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert old.fingerprints["party 1"] in captured.err
    assert portal.world.deployment().fingerprints["party 1"] in captured.err
    assert portal.seen == [("GET", "/api/parties/")]


def test_keys_shows_the_public_key_and_never_the_private_one(study, capsys):
    assert commands.main(["keys", "--key", study["key.pem"], "--json"]) == 0
    shown: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert len(shown["provider"]["sign"]) == 64
    assert len(shown["provider"]["fingerprint"]) == 32
    assert "PRIVATE" not in json.dumps(shown)
    assert shown["pinned"] == {}


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["check"],
        ["check", "t.csv"],
        ["draft"],
        ["draft", "--json", "t.csv"],
        ["upload", "--codebook", "c", "t"],
        ["list"],
        ["x"],
    ],
)
def test_a_command_line_that_is_not_understood_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        commands.main(arguments)
    assert ended.value.code == 2


def test_an_unforeseen_error_is_one_line_without_its_text(study, capsys, monkeypatch):
    def explode(*given: Any) -> None:
        raise RuntimeError("patient 4711")

    monkeypatch.setattr(commands, "read_study", explode)
    assert check(study, study["good.csv"]) == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "RuntimeError" in captured.err
    assert "4711" not in captured.err


def test_an_exposed_key_and_a_dead_portal_are_one_line(study, capsys):
    Path(study["key.pem"]).write_text("x")
    Path(study["key.pem"]).chmod(0o644)
    assert send(study, "good.csv") == 1
    assert "chmod 600" in capsys.readouterr().err
    Path(study["key.pem"]).unlink()
    assert send(study, "good.csv", "--url", "nowhere") == 1
    assert capsys.readouterr().err.strip().endswith("nowhere is not an http or https address")


def test_the_module_runs_as_a_command(study):
    root = Path(commands.__file__).parents[1]
    ran = subprocess.run(
        [sys.executable, "-m", "providers", "check", "--codebook", study["C.json"], study["bad.csv"]],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert "Traceback" not in ran.stderr
    assert "2 errors" in ran.stdout
