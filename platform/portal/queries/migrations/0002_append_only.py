"""The database itself refuses to change or delete these lines."""

from django.db import migrations

from portal.audit.guard import append_only


class Migration(migrations.Migration):
    dependencies = [("queries", "0001_initial")]

    operations = [
        append_only("queries_report"),
        append_only("queries_result"),
        append_only("queries_queryevent"),
        append_only("queries_order"),
    ]
