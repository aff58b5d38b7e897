"""A portal with keys of its own, four parties' keys pinned, and a database in a file (threads need one)."""

import json

import pytest
from django.core.cache import cache
from django.core.management import call_command
from django.db import connection

from portal.dispatch import BrokerDown
from portal.keys import ensure_portal_key
from tests.redis_server import redis_url  # noqa: F401  (a fixture)

from .factories import Caller, Party

GUARDED = [
    "audit_event",
    "audit_line",
    "audit_witnessed",
    "budgets_line",
    "queries_report",
    "queries_result",
    "queries_queryevent",
    "queries_order",
]


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix, tmp_path_factory):
    from django.db import connections

    for alias in connections:
        settings = connections[alias].settings_dict
        if settings["ENGINE"].endswith("sqlite3"):
            settings["TEST"]["NAME"] = str(tmp_path_factory.mktemp("portal") / "portal.sqlite3")


@pytest.fixture(autouse=True)
def local(settings, tmp_path):
    """Local http, quick hashes, no throttle from one test to the next; everything kept in a folder of the test."""
    settings.SECURE_SSL_REDIRECT = False
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.PORTAL_DIR = tmp_path
    settings.FOURFOLD_PORTAL_KEY = tmp_path / "sign.pem"
    settings.FOURFOLD_PARTIES_FILE = tmp_path / "parties.json"
    settings.FOURFOLD_BUNDLES = tmp_path / "bundles"
    settings.FOURFOLD_RELEASE_GRACE = 3600
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    ensure_portal_key()
    cache.clear()


@pytest.fixture(autouse=True)
def crew(local, settings):
    """Four parties whose keys are pinned."""
    four = [Party(n) for n in range(4)]
    settings.FOURFOLD_PARTIES_FILE.write_text(json.dumps([p.public for p in four]))
    return four


@pytest.fixture
def unguarded(transactional_db):
    """A test with transactions of its own empties the tables afterwards, which their triggers forbid.

    So they go for this test alone, and come back over empty tables.
    """
    if connection.vendor == "postgresql":
        question = "SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal"
    else:
        question = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
    with connection.cursor() as cursor:
        cursor.execute(question)
        triggers = {name: sql for name, sql in cursor.fetchall() if name.startswith(tuple(GUARDED))}
        for name in triggers:
            table = name.rpartition("_no_")[0]
            cursor.execute(
                f"DROP TRIGGER {name}" + (f" ON {table}" if connection.vendor == "postgresql" else "")
            )
    yield
    call_command("flush", interactive=False, verbosity=0)
    with connection.cursor() as cursor:
        for sql in triggers.values():
            cursor.execute(sql)


@pytest.fixture
def as_(db):
    """`as_("analyst").get("queries/")`."""
    return Caller


class Recorder:
    """A sender that keeps what it was told; while `down` it fails like a broker."""

    def __init__(self):
        self.sent = []
        self.down = False

    def __getattr__(self, name):
        def keep(*args):
            if self.down:
                raise BrokerDown("ConnectionError")
            self.sent.append((name, *args))

        return keep

    def of(self, name):
        return [entry[1:] for entry in self.sent if entry[0] == name]


@pytest.fixture
def sender():
    return Recorder()
