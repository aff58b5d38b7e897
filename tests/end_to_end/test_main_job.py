"""The main job: two hospitals' tables in, approved questions answered by four processes, answers out."""

from __future__ import annotations

import csv
import hmac
import json
import math
import re
import sqlite3
import subprocess
import sys
import time
from base64 import b64encode
from pathlib import Path

import httpx
import pytest
import redis

from analytics.query.approval import load_private_key, verify
from analytics.query.model import digest
from mpcnode.sharing import expand
from portal.stack.showing import nonsense
from providers.bundle import provider_secret
from tests.end_to_end.conftest import codebook
from tests.end_to_end.running import ROOT, run

QUESTIONS = (ROOT / "samples/questions.txt").read_text()


@pytest.fixture(scope="module")
def noised(world):
    return world.stack.ask(QUESTIONS, world.datasets["dp"], epsilon="4")


@pytest.fixture(scope="module")
def exact(world):
    return world.stack.ask(QUESTIONS, world.datasets["exact"], mode="exact")


def test_with_noise_each_of_the_four_lines_is_near_the_truth_within_its_interval(world, noised):
    assert nonsense(noised["statements"], world.truth, "dp") == []
    assert all(statement["groups"][0]["noise_scale"] for statement in noised["statements"])


def test_without_noise_each_of_the_four_lines_is_the_truth(world, exact):
    assert nonsense(exact["statements"], world.truth, "exact") == []


def test_the_contingency_table_counts_each_patient_once(world, exact):
    group = exact["statements"][3]["groups"][0]
    counts = {
        (row.casefold(), column.casefold()): number
        for row, line in zip(group["table"]["rows"], group["table"]["counts"], strict=True)
        for column, number in zip(group["table"]["columns"], line, strict=True)
    }
    wanted = {
        (region.casefold(), flag): number
        for region, line in world.truth[3]["counts"].items()
        for flag, number in line.items()
    }
    assert counts == wanted
    assert group["chi2"] == pytest.approx(world.truth[3]["chi2"], rel=1e-9)


def test_three_or_four_parties_signed_the_very_integers_that_are_shown(world, noised):
    keys = {party["party"]: party["sign"] for party in world.stack.access["parties"]}
    integers = digest({"type": "fourfold/1/integers", "integers": noised["integers"]})
    signed = [(entry["report"], entry["signature"]) for entry in noised["signatures"]]
    for report, signature in signed:
        verify(report, signature, keys[report["party"]])
        assert report["result_hash"] == integers
    assert len({report["party"] for report, _ in signed}) >= 3


def test_what_leaves_with_noise_is_not_the_exact_total(world, noised, exact):
    def figures(result):
        groups = [statement["groups"][0] for statement in result["statements"]]
        return [group["value"] for group in groups] + [groups[3]["table"]["counts"]]

    # Any one of them may be right by chance; all of them never.
    assert all(one != other for one, other in zip(figures(noised)[:3], figures(exact)[:3], strict=True))
    assert figures(noised) != figures(exact)


def test_an_identical_question_gets_the_stored_answer_and_costs_nothing(world, noised):
    before = budget(world)
    query = world.stack.submit("\n\n" + QUESTIONS.replace(", ", " ,  "), world.datasets["dp"], epsilon="4")
    # Nobody approves it: what was released once is released.
    again = world.stack.result(query).json()
    assert again["integers"] == noised["integers"]
    assert [s["groups"] for s in again["statements"]] == [s["groups"] for s in noised["statements"]]
    assert budget(world) == before


def test_the_budget_says_what_one_attempt_cost_and_keeps_nothing_reserved(world, noised):
    for line in budget(world):
        assert line["spent"] == "4.000000"
        assert line["reserved"] == "0.000000"
        assert line["left"] == "16.000000"


def test_exact_mode_charges_nothing(world, exact):
    with world.stack.client("analyst") as analyst:
        lines = [analyst.get("budget/", params={"dataset": i}).json()[0] for i in world.datasets["exact"]]
    assert {line["spent"] for line in lines} == {"0.000000"}


def test_an_analysis_plan_is_answered_with_its_labels(world):
    program = "mean(bmi) by arm primary\nsd(bmi) by arm\ncount(bmi) by region"
    result = world.stack.ask(program, world.datasets["exact"], mode="exact")
    assert [s["label"] for s in result["statements"]] == ["primary", "exploratory", "exploratory"]
    assert result["statements"][0]["text"].endswith("primary")
    assert all(group["value"] is not None for s in result["statements"] for group in s["groups"])


def test_statistics_on_grids_arms_and_strata_go_the_whole_way(world, noised):
    """Tables with edges, tables that statements share, effects within each of two datasets."""
    program = (
        "histogram(age)\nmedian(age) by sex\ntable_one(age, sex) by arm\nsurvival(time_till_death, 12) by arm\n"
        "logrank(time_till_death, arm)\ncox(time_till_death, arm)\nrisk_ratio(death_flag, arm, Dead)\n"
        "difference(bmi, arm)\nmean(age) by dataset"
    )
    result = world.stack.ask(program, world.datasets["dp"], mode="dp", epsilon="4")
    groups = {s["statistic"]: s["groups"] for s in result["statements"]}
    assert len(groups) == 9 and all(group["n"] > 500 for found in groups.values() for group in found)
    assert {len(groups[name]) for name in ("median", "table_one", "survival", "mean")} == {2}
    assert 1 < groups["risk_ratio"][0]["value"] < 1.7 and len(groups["risk_ratio"][0]["strata"]) == 2
    assert 40 < groups["median"][0]["value"] < 80


def test_a_dataset_that_answers_with_noise_is_never_asked_without(world, noised):
    question = {"program": "count()", "datasets": world.datasets["dp"], "epsilon": "1", "mode": "exact"}
    with world.stack.client("analyst") as analyst:
        answer = analyst.post("queries/", json=question)
    assert 400 <= answer.status_code < 500
    assert answer.headers["content-type"].startswith("application/problem+json")


def test_a_repeated_upload_changes_nothing_and_prints_the_same_dataset(world):
    again = world.stack.upload("provider", codebook("dp"), world.tables[0])
    assert again == world.datasets["dp"][0]


def test_groups_of_every_kind_agree_with_the_rows(world):
    program = """
    count() where age >= 65 and arm = imatinib
    average(bmi) by arm
    proportion(death_flag, dead) by region
    correlate(age, bmi)
    sum(tumour_size) where region in (Northeast, West) and ecog is not missing
    """
    answer = world.stack.ask(program, world.datasets["exact"], mode="exact")
    rows = clear_rows(world.tables)
    first, bmi, dead, correlation, total = (s["groups"] for s in answer["statements"])
    assert first[0]["value"] == sum(
        1 for r in rows if r["age"] and int(r["age"]) >= 65 and r["arm"] == "imatinib"
    )
    for group in bmi:
        arm = str(group["by"]["arm"]).casefold().split()[0]
        values = [float(r["bmi"]) for r in rows if r["arm"] == arm and r["bmi"]]
        assert group["n"] == len(values)
        assert group["value"] == pytest.approx(sum(values) / len(values), rel=1e-9)
    for group in dead:
        flags = [
            r["death_flag"]
            for r in rows
            if r["region"] == group["by"]["region"].casefold() and r["death_flag"]
        ]
        assert group["value"] == pytest.approx(flags.count("dead") / len(flags), rel=1e-9)
    pairs = [(float(r["age"]), float(r["bmi"])) for r in rows if r["age"] and r["bmi"]]
    assert correlation[0]["value"] == pytest.approx(pearson(pairs), rel=1e-9)
    sizes = [
        int(r["tumour_size"])
        for r in rows
        if r["region"] in ("northeast", "west") and r["ecog"] and r["tumour_size"]
    ]
    assert total[0]["value"] == pytest.approx(sum(sizes), rel=1e-12)


def test_the_command_line_asks_and_prints_what_the_interface_says(world, noised):
    argv = [
        "-m",
        "analytics",
        "ask",
        "--url",
        world.stack.url,
        "--token",
        world.stack.access["tokens"]["analyst"],
    ]
    for dataset in world.datasets["dp"]:
        argv += ["--dataset", dataset]
    argv += ["--epsilon", "4", "--timeout", "60", "--json", str(ROOT / "samples/questions.txt")]
    asking = subprocess.Popen(
        [sys.executable, *argv],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    query = asking.stderr.readline().removeprefix("query ").strip()
    if world.stack.state(query) == "SUBMITTED":
        world.stack.approve(query)
    out, err = asking.communicate(timeout=90)
    assert asking.returncode == 0, err
    assert json.loads(out)["integers"] == noised["integers"]


def test_a_refused_question_never_reaches_the_parties(world):
    query = world.stack.submit("count()", world.datasets["dp"], epsilon="0.5")
    with world.stack.client("operator") as operator:
        assert operator.post(f"queries/{query}/refuse/", json={"reason": "not now"}).is_success
    answer = world.stack.result(query)
    assert answer.status_code == 409
    assert answer.json()["code"] == "refused"
    assert not any(query in log.read_text() for log in (world.stack.var / "log").glob("party*.log"))


# --- nothing of a row anywhere it does not belong


def everything_written(var: Path) -> dict[str, bytes]:
    """Logs, databases, Redis' file, stores, sealed bundles: all that a stack keeps, by name."""
    kept = {}
    for path in var.rglob("*"):
        if path.is_file() and "hospitals" not in path.parts:
            kept[str(path.relative_to(var))] = path.read_bytes()
    return kept


def test_no_row_value_and_no_exact_number_of_patients_is_kept_anywhere(world, noised, exact):
    numbers = {row["patient_id"].encode() for row in clear_rows(world.tables)}
    kept = everything_written(world.stack.var)
    assert {name.split("/")[0] for name in kept} >= {"log", "portal", "parties", "valkey"}
    everything = b"\n".join(kept.values())
    pattern = re.compile(rb"NG\d{6}|SF-\d{6}")
    assert numbers == set(pattern.findall(b"".join(path.read_bytes() for path in world.tables)))
    assert numbers & set(pattern.findall(everything)) == set()
    # The rows of one hospital as codes, in any order of columns, would show as runs of its values.
    for table in world.tables:
        for line in table.read_bytes().splitlines()[1:50]:
            assert line.split(b",", 1)[1] not in everything
    logs = b"\n".join(content for name, content in kept.items() if name.startswith("log/"))
    for count in (1640, 1520, 3160):
        assert re.search(rb"(?<![\w.:-])%d(?![\w.:-])" % count, logs) is None


def test_no_share_of_a_table_is_kept_in_clear_anywhere(world, noised):
    kept = everything_written(world.stack.var)
    for account, dataset in zip(("provider", "provider2"), world.datasets["dp"], strict=True):
        secret = provider_secret(load_private_key(world.stack.var / "hospitals" / account / "key.pem"))
        for component in range(3):
            seed = hmac.digest(secret, b"seed" + bytes.fromhex(dataset) + bytes([component]), "sha256")
            stream = expand(seed, (64, 64)).astype("<u8").tobytes()
            needles = [seed, *(stream[at : at + 24] for at in range(0, len(stream), 4096))]
            needles += [form(needle) for needle in needles[:3] for form in (bytes.hex, b64encode, repr)]
            for needle in (n.encode() if isinstance(n, str) else n for n in needles):
                assert [name for name, content in kept.items() if needle in content] == []


def test_the_portal_keeps_sealed_bytes_that_look_like_chance(world):
    sizes = []
    for chunk in (world.stack.var / "portal" / "bundles").rglob("*"):
        if chunk.is_file() and chunk.stat().st_size > 20_000:
            sealed = chunk.read_bytes()
            sizes.append(len(sealed))
            share = [sealed.count(value) / len(sealed) for value in (0, 1, 255)]
            assert all(math.isclose(s, 1 / 256, rel_tol=0.5) for s in share), chunk
    assert len(sizes) >= 4


def test_celery_carried_ids_and_nothing_else(world, noised):
    with redis.Redis.from_url((world.stack.var / "valkey/admin.url").read_text().strip()) as client:
        patience = time.monotonic() + 30  # the slowest party may still be ending its session
        while left := [key.decode() for key in client.scan_iter("mpc:*")]:
            assert time.monotonic() < patience, f"lists of a session that ended are deleted: {left}"
            time.sleep(0.2)
    written = b"\n".join(path.read_bytes() for path in (world.stack.var / "valkey").rglob("*.aof"))
    arguments = set(re.findall(rb'\\"task\\": \\"(workers\.\w+)\\"', written)) | set(
        re.findall(rb'"task": "(workers\.\w+)"', written)
    )
    assert arguments <= {b"workers.run", b"workers.ingest", b"workers.cancel"}
    assert arguments


def test_the_portals_database_holds_no_word_of_a_row(world):
    database = sqlite3.connect(f"file:{world.stack.var / 'portal/portal.sqlite3'}?mode=ro", uri=True)
    dump = "\n".join(database.iterdump())
    database.close()
    assert "codebook" in dump
    assert not {row["patient_id"] for row in clear_rows(world.tables)} & set(
        re.findall(r"NG\d{6}|SF-\d{6}", dump)
    )


def test_an_error_body_says_nothing_of_the_data(world):
    said = set()
    for program in (
        "average(bmi) where age = 17",
        "average(bmi) where region = Canada",
        "mean(nothing)",
        "count(",
    ):
        with world.stack.client("analyst") as analyst:
            answer = analyst.post(
                "queries/preview/",
                json={"program": program, "datasets": world.datasets["dp"], "epsilon": "1", "mode": "dp"},
            )
        said.add(answer.status_code)
        assert not re.search(r"\b(1640|1520|3160)\b|NG\d{6}|SF-\d{6}|Traceback", answer.text)
    assert said <= {200, 400, 422}


def clear_rows(tables):
    words = {
        "region": {"NE": "northeast", "MW": "midwest", "S": "south", "W": "west"},
        "arm": {"1": "imatinib", "2": "placebo"},
        "death_flag": {"0": "alive", "1": "dead"},
        "sex": {"F": "female", "M": "male"},
    }
    rows = []
    for table in tables:
        with table.open(encoding="utf-8-sig", newline="") as file:
            for row in csv.DictReader(file):
                row = {name: "" if value == "NA" else value for name, value in row.items()}
                said = {name: words.get(name, {}).get(value, value) for name, value in row.items()}
                rows.append(said | {"region": said["region"].casefold()})
    return rows


def pearson(pairs):
    n = len(pairs)
    mx, my = (sum(pair[side] for pair in pairs) / n for side in (0, 1))
    sxy = sum((x - mx) * (y - my) for x, y in pairs)
    sxx, syy = (sum((pair[side] - m) ** 2 for pair in pairs) for side, m in ((0, mx), (1, my)))
    return sxy / math.sqrt(sxx * syy)


def budget(world):
    with world.stack.client("analyst") as analyst:
        return [
            analyst.get("budget/", params={"dataset": dataset}).json()[0] for dataset in world.datasets["dp"]
        ]


def test_a_wrong_token_opens_nothing(world):
    for path in ("queries/", "datasets/", "budget/", "audit/"):
        answer = httpx.get(
            f"{world.stack.url}/api/{path}", headers={"Authorization": "Token wrong"}, trust_env=False
        )
        assert answer.status_code in (401, 403)


def test_the_check_of_a_table_needs_no_portal(world):
    done = run(
        ["-m", "providers", "check", "--codebook", str(ROOT / "samples/codebook.json"), str(world.tables[0])]
    )
    assert done.returncode == 0, done.stdout
