"""Every table of before is the first version of a chain of its own."""

from typing import Any

from django.db import migrations, models
from django.db.models import F


def begin_chains(apps: Any, schema_editor: Any) -> None:
    apps.get_model("registry", "Dataset").objects.update(chain=F("id"))


class Migration(migrations.Migration):
    dependencies = [("registry", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="dataset",
            name="chain",
            field=models.CharField(
                db_index=True,
                default="",
                editable=False,
                help_text="id of the chain's first version",
                max_length=32,
            ),
            preserve_default=False,
        ),
        migrations.AlterField(
            model_name="dataset",
            name="state",
            field=models.CharField(
                choices=[
                    ("UPLOADING", "Uploading"),
                    ("CHECKING", "Checking"),
                    ("READY", "Ready"),
                    ("REJECTED", "Rejected"),
                    ("SUPERSEDED", "Superseded"),
                    ("WITHDRAWN", "Withdrawn"),
                ],
                db_index=True,
                default="UPLOADING",
                max_length=10,
            ),
        ),
        migrations.RunPython(begin_chains, migrations.RunPython.noop),
    ]
