"""The database itself refuses to change or delete these lines."""

from django.db import migrations

from portal.audit.guard import append_only


class Migration(migrations.Migration):
    dependencies = [("budgets", "0001_initial")]

    operations = [
        append_only("budgets_line"),
    ]
