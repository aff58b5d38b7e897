"""The trail becomes a chain; its lines and the parties' signatures under it are append-only too."""

import django.db.models.deletion
from django.db import migrations, models

from portal.audit.guard import append_only


class Migration(migrations.Migration):
    dependencies = [("audit", "0002_append_only")]

    operations = [
        migrations.CreateModel(
            name="Line",
            fields=[
                ("number", models.PositiveBigIntegerField(primary_key=True, serialize=False)),
                ("digest", models.CharField(help_text="of the event", max_length=64)),
                ("hash", models.CharField(help_text="of number, line before and digest", max_length=64)),
                (
                    "event",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT, related_name="line", to="audit.event"
                    ),
                ),
            ],
            options={"ordering": ["number"]},
        ),
        migrations.CreateModel(
            name="Witnessed",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("party", models.PositiveSmallIntegerField(db_index=True)),
                ("number", models.PositiveBigIntegerField()),
                ("hash", models.CharField(max_length=64)),
                ("report", models.TextField(help_text="canonical JSON, as signed by the party")),
                ("signature", models.CharField(max_length=128)),
                ("created", models.DateTimeField(auto_now_add=True)),
            ],
            options={"ordering": ["id"]},
        ),
        append_only("audit_line"),
        append_only("audit_witnessed"),
    ]
