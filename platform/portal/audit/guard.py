"""Tables whose lines are added and never changed: the database itself refuses the rest.

SQLite and PostgreSQL say it differently, so a migration calls `append_only(table)` instead of writing SQL.
"""

from typing import Any

from django.db import migrations

_SQLITE = """
CREATE TRIGGER {table}_no_{verb} BEFORE {VERB} ON {table}
BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END
"""
_POSTGRES_FUNCTION = """
CREATE OR REPLACE FUNCTION fourfold_append_only() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'check_violation'; END $$
"""
_POSTGRES = """
CREATE TRIGGER {table}_no_{verb} BEFORE {VERB} ON {table}
FOR EACH ROW EXECUTE FUNCTION fourfold_append_only()
"""


def append_only(table: str) -> migrations.RunPython:
    """A migration step after which UPDATE and DELETE on `table` fail."""

    def guard(apps: Any, schema_editor: Any) -> None:
        postgres = schema_editor.connection.vendor == "postgresql"
        if postgres:
            schema_editor.execute(_POSTGRES_FUNCTION, params=None)
        for verb in ("update", "delete"):
            template = _POSTGRES if postgres else _SQLITE
            schema_editor.execute(template.format(table=table, verb=verb, VERB=verb.upper()), params=None)

    def unguard(apps: Any, schema_editor: Any) -> None:
        on = f" ON {table}" if schema_editor.connection.vendor == "postgresql" else ""
        for verb in ("update", "delete"):
            schema_editor.execute(f"DROP TRIGGER IF EXISTS {table}_no_{verb}{on}", params=None)

    return migrations.RunPython(guard, unguard)
