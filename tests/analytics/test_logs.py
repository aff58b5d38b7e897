"""A line of the log: one event, its ids, and nothing that an exception quotes."""

import json
import logging
import subprocess
import sys
import threading
from datetime import datetime
from pathlib import Path

import pytest

from analytics import logs

ROOT = Path(__file__).parents[2]
SECRET = "patient-4711"


@pytest.fixture(autouse=True)
def nobody(monkeypatch):
    monkeypatch.setattr(logs, "_process", {})


def record(message="done", *args, error=None, level=logging.INFO):
    info = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord("portal.test", level, __file__, 1, message, args, info)


def line(*args, kind="json", **how):
    text = logs.formatter(kind).format(record(*args, **how))
    assert len(text.splitlines()) == 1
    return json.loads(text) if kind == "json" else text


def failed():
    """An exception whose words, cause and locals all hold what no log may hold."""
    secret = SECRET

    def inner():
        share = [secret]
        return {}[share[0]]

    try:
        try:
            inner()
        except KeyError as cause:
            raise ValueError(f"cannot read {secret}") from cause
    except ValueError as error:
        return error


def test_a_json_line_has_time_in_utc_level_logger_and_message():
    found = line("%d of %d", 3, 4)
    assert set(found) == {"time", "level", "logger", "message"}
    assert (found["level"], found["logger"], found["message"]) == ("INFO", "portal.test", "3 of 4")
    assert found["time"].endswith("Z")
    assert datetime.fromisoformat(found["time"]).utcoffset().total_seconds() == 0


@pytest.mark.parametrize("kind", logs.KINDS)
def test_a_line_names_the_process_and_the_ids_bound_around_it(kind):
    logs.identify(role="party", party=2)
    with logs.bound(request="r1"), logs.bound(query="q1", attempt=1):
        inside = line(kind=kind)
    after = line(kind=kind)
    if kind == "json":
        assert {k: inside[k] for k in logs.IDS if k in inside} == {
            "role": "party", "party": 2, "request": "r1", "query": "q1", "attempt": 1,
        }  # fmt: skip
        assert "query" not in after and after["party"] == 2
    else:
        assert inside.endswith("[role=party party=2 request=r1 query=q1 attempt=1]")
        assert after.endswith("[role=party party=2]")


def test_what_is_bound_later_ends_with_the_block_it_was_bound_in():
    with logs.bound(request="r1"):
        logs.bind(query="q1")
        assert line()["query"] == "q1"
    assert "query" not in line()


def test_a_thread_has_ids_of_its_own():
    seen = []
    with logs.bound(query="q1"):
        thread = threading.Thread(target=lambda: seen.append(logs.ids()))
        thread.start()
        thread.join()
    assert seen == [{}]


def test_only_ids_have_a_place_in_a_line():
    with pytest.raises(TypeError, match="program"), logs.bound(program="count()"):
        pass


@pytest.mark.parametrize("kind", logs.KINDS)
def test_an_exception_is_logged_by_kind_and_place_without_words_or_locals(kind):
    text = logs.formatter(kind).format(record("failed", error=failed()))
    assert SECRET not in text and "cannot read" not in text and "share" not in text
    assert "ValueError" in text and "KeyError" in text
    assert "test_logs.py:" in text and " inner" in text


@pytest.mark.parametrize("kind", logs.KINDS)
def test_celery_s_line_of_a_failed_task_names_the_kind_of_error_alone(kind):
    context = {"name": "workers.run", "id": "t1", "exc": f"ValueError('{SECRET}')", "traceback": SECRET,
               "description": "raised unexpected", "args": SECRET, "kwargs": SECRET}  # fmt: skip
    failing = record("Task %(name)s[%(id)s] %(description)s: %(exc)s", context, error=failed())
    text = logs.formatter(kind).format(failing)
    assert "Task workers.run[t1] raised unexpected: ValueError" in text
    assert SECRET not in text


@pytest.mark.parametrize("kind", logs.KINDS)
def test_whoever_writes_line_ends_into_a_message_writes_no_second_line(kind):
    text = logs.formatter(kind).format(record("GET /%s", "x\r\n2026 ERROR forged\u2028\x1b[2J"))
    assert len(text.splitlines()) == 1
    assert "\x1b" not in text


@pytest.mark.parametrize("offered", ["a", "A-1_b.c", "x" * 64])
def test_a_request_id_that_is_one_is_kept(offered):
    assert logs.request_id(offered) == offered


@pytest.mark.parametrize("offered", ["", "x" * 65, "a b", "a\n", "é", "-a", "a/b", "١"])
def test_another_request_id_is_replaced(offered):
    made = logs.request_id(offered)
    assert made != offered and logs.request_id(made) == made


def test_an_unknown_format_is_named():
    with pytest.raises(ValueError, match="LOG_FORMAT"):
        logs.formatter("xml")


def test_it_needs_neither_django_nor_celery_nor_numpy():
    code = (
        "import sys, analytics.logs; sys.exit(any(m in sys.modules for m in ('django', 'celery', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
