"""The commands of docs/operations.md, run as they stand there: the portal comes back, on SQLite and on PostgreSQL.

And a database of the oldest state of the migrations, with rows in every table, comes to the newest.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.postgres_server import postgres

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/operations.md"

# A portal with one row of everything that an operator would miss, made by the portal's own actions.
FILL = """
import json
from django.conf import settings
from portal.keys import ensure_portal_key
from tests.portal import factories
ensure_portal_key()
crew = [factories.Party(n) for n in range(4)]
settings.FOURFOLD_PARTIES_FILE.write_text(json.dumps([p.public for p in crew]))
settings.SECURE_SSL_REDIRECT = False
settings.FOURFOLD_RELEASE_GRACE = 0
from portal.registry import bundles
dataset = factories.dataset(state="UPLOADING")
for party in range(4):
    bundles.store(dataset, party=party, number=0, of=1, content=b"sealed for %d" % party)
type(dataset).objects.update(state="READY")
query = factories.released(crew, dataset)
"""
# Everything that a person could see, and that the tables which only grow still only grow.
SHOW = """
import hashlib, json
from django.apps import apps
from django.db import DatabaseError, connection, transaction
from portal.registry import bundles
from portal.registry.models import Chunk
rows = {m._meta.label: [[str(v) for v in row] for row in m.objects.order_by("pk").values_list()]
        for m in apps.get_models() if m.__module__.startswith("portal.")}
sealed = [bundles.read(chunk).decode() for chunk in Chunk.objects.order_by("party")]
guarded = []
for table in ("audit_event", "budgets_line", "queries_report", "queries_result", "queries_queryevent", "queries_order"):
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {table}")
    except DatabaseError as refused:
        guarded.append(table if "append-only" in str(refused) else str(refused))
print(json.dumps({"rows": rows, "sealed": sealed, "guarded": guarded}))
"""
OURS = 'OURS = ("accounts", "registry", "queries", "budgets", "audit")\n'
OLDEST = """
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
MigrationExecutor(connection).migrate([(app, "0001_initial") for app in OURS])
executor = MigrationExecutor(connection)
old = executor.loader.project_state([(app, "0001_initial") for app in OURS]).apps
"""
# One row of each table as it was then, by the models as they were then.
FILL_OLD = """
from django.utils import timezone
now = timezone.now()
home = old.get_model("accounts", "Organisation").objects.create(name="Hospital")
user = old.get_model("accounts", "User").objects.create(username="ann", role="provider", organisation=home)
dataset = old.get_model("registry", "Dataset").objects.create(
    id="d" * 32, title="A trial", provider=home, uploaded_by="ann", state="READY", capacity=256, provider_key="a" * 64,
    codebook="{}", codebook_hash="b" * 64, manifest="{}", manifest_hash="c" * 64, signature="e" * 128, ready_at=now)
old.get_model("registry", "Chunk").objects.create(dataset=dataset, party=1, number=0, of=1, size=5, sha256="f" * 64)
old.get_model("registry", "Receipt").objects.create(
    dataset=dataset, party=1, manifest_hash="c" * 64, report="{}", signature="e" * 128, time=5)
old.get_model("registry", "PartyState").objects.create(
    party=1, last_seen=now, said_at=5, code_version="0.1", ledger_length=3, ledger_head="9" * 64, busy=False)
query = old.get_model("queries", "Query").objects.create(
    analyst=user, program="count()", mode="dp", micro_epsilon=7, minimum_cohort=11, plan={}, plan_hash="1" * 64,
    description={}, state="RELEASED", approved_at=now, approved_by="op", released_at=now)
old.get_model("queries", "QueryDataset").objects.create(query=query, dataset=dataset)
old.get_model("queries", "Order").objects.create(
    query=query, body="{}", hash="2" * 64, signature="e" * 128, approval="{}", approval_signature="e" * 128,
    max_attempts=2, expires=9)
attempt = old.get_model("queries", "Attempt").objects.create(query=query, number=1, state="RELEASED", ended_at=now)
old.get_model("queries", "Report").objects.create(
    attempt=attempt, party=1, kind="result", body="{}", signature="e" * 128, integers="[[1]]")
old.get_model("queries", "Result").objects.create(query=query, body='{"answer": 1}', etag="3" * 64)
old.get_model("queries", "QueryEvent").objects.create(query=query, was="RUNNING", now="RELEASED", by="parties")
account = old.get_model("budgets", "Account").objects.create(dataset=dataset, total=100, spent=7)
old.get_model("budgets", "Line").objects.create(account=account, query=query.pk, attempt=1, kind="SPENT", micro_epsilon=7)
old.get_model("audit", "Event").objects.create(kind="released", by="parties", subject="query")
"""
SHOW_OLD = """
import json
print(json.dumps({m._meta.label: [{f.attname: str(getattr(row, f.attname)) for f in m._meta.concrete_fields}
                                  for row in m.objects.all()]
                  for m in MODELS if m._meta.app_label in OURS and not m._meta.proxy}))
"""


class Portal:
    """A portal's own environment: a VAR, a database, programs run in it."""

    def __init__(self, var, database=""):
        self.var = var
        clean = {k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "PORT", "REDIS_URL")}
        self.environ = clean | {
            "VAR": str(var), "SECRET_KEY": "s" * 60, "DJANGO_SETTINGS_MODULE": "portal.settings", "DEBUG": "false",
            "PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}", "LOG_LEVEL": "ERROR", "FOURFOLD_HTTPS": "false",
            "FOURFOLD_HOSTS": "testserver",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "REDIS_URL": "redis://127.0.0.1:1/0",
        }  # fmt: skip
        if database:
            self.environ["DATABASE_URL"] = database
        (var / "portal").mkdir(parents=True, exist_ok=True)

    def run(self, *argv, **more):
        done = subprocess.run(
            argv, cwd=ROOT, env=self.environ | more, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{argv}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def python(self, code):
        return self.run(sys.executable, "-c", "import django\ndjango.setup()\n" + code)

    def block(self, name, backup):
        """Run a block of the page as a shell would, stopping at the first command that fails."""
        text = PAGE.read_text(encoding="utf-8")
        (found,) = re.findall(rf"```sh {name}\n(.*?)```", text, re.DOTALL)
        self.run("sh", "-euc", found, BACKUP=str(backup))

    def migrate(self):
        self.run(sys.executable, "manage.py", "migrate", "--noinput", "-v", "0")

    def shown(self):
        return json.loads(self.python(SHOW).splitlines()[-1])


BOTH = pytest.mark.parametrize("engine", ["sqlite", "postgresql"], indirect=True)
SQLITE_FIRST = pytest.mark.parametrize(
    "engine", ["sqlite", pytest.param("postgresql", marks=pytest.mark.nightly)], indirect=True
)


@pytest.fixture
def engine(request):
    with postgres() if request.param == "postgresql" else nullcontext("") as url:
        yield request.param, url


def database(engine, name):
    kind, url = engine
    if kind == "sqlite":
        return ""
    subprocess.run(["createdb", "--maintenance-db", f"{url}/postgres", name], check=True)
    return f"{url}/{name}"


@BOTH
def test_a_lost_portal_comes_back_with_the_commands_of_the_page(engine, tmp_path):
    portal = Portal(tmp_path / "var", database(engine, "first"))
    portal.migrate()
    portal.python(FILL)
    before = portal.shown()
    assert len(before["guarded"]) == 6 and before["sealed"] == [f"sealed for {n}" for n in range(4)]
    assert len(before["rows"]["queries.Report"]) == 4 and len(before["rows"]["budgets.Line"]) >= 2
    portal.block(f"backup {engine[0]}", tmp_path / "copy")
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o700

    shutil.move(tmp_path / "var", tmp_path / "gone")
    restored = Portal(tmp_path / "var", database(engine, "second"))
    restored.block(f"restore {engine[0]}", tmp_path / "copy")
    assert restored.shown() == before


@SQLITE_FIRST
def test_a_database_of_the_oldest_state_comes_to_the_newest_with_its_rows(engine, tmp_path):
    portal = Portal(tmp_path / "var", database(engine, "old"))
    then = portal.python(OURS + OLDEST + FILL_OLD + "MODELS = old.get_models()\n" + SHOW_OLD)
    portal.migrate()
    now = portal.python(OURS + "from django.apps import apps\nMODELS = apps.get_models()\n" + SHOW_OLD)
    then, now = (json.loads(said.splitlines()[-1]) for said in (then, now))
    assert len(then) >= 14 and all(len(rows) == 1 for rows in then.values())
    for label, (row,) in then.items():
        (kept,) = now[label]
        assert {name: kept[name] for name in row if name in kept} == {
            n: v for n, v in row.items() if n in kept
        }
        assert set(row) <= set(kept), f"{label} lost {set(row) - set(kept)}"
    complete = "from django.core.management import call_command as call\n"
    complete += "call('makemigrations', check=True, dry_run=True)\ncall('check')\n"
    complete += "from portal.registry import bundles\nbundles.read = lambda chunk: b''\n"
    assert sorted(json.loads(portal.python(complete + SHOW).splitlines()[-1])["guarded"]) == [
        "audit_event", "budgets_line", "queries_order", "queries_queryevent", "queries_report", "queries_result"
    ]  # fmt: skip
