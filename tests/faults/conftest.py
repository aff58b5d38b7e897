"""Four real worker processes that can be told where to die, over a Redis that can be restarted."""

from __future__ import annotations

import pytest

from tests.faults.postgres import Postgres, binaries
from tests.faults.stage import Stage
from tests.redis_server import RedisServer


@pytest.fixture
def figure(record_property):
    """`figure("3 of 4 were answered")`: a line of what was measured, shown when all tests are done."""
    return lambda text: record_property("figure", text)


def pytest_terminal_summary(terminalreporter):
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, text in report.user_properties:
            if name == "figure":
                terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]}: {text}")


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    try:
        server = RedisServer().start()
    except FileNotFoundError as missing:
        pytest.skip(str(missing))
    made = Stage(tmp_path_factory.mktemp("faults"), server)
    try:
        yield made.wait_alive()
    finally:
        made.close()


@pytest.fixture
def postgres():
    found = binaries()
    if found is None:
        pytest.skip("PostgreSQL is not installed here; .ci/run installs it")
    made = Postgres(found)
    try:
        yield made.start()
    finally:
        made.close()
