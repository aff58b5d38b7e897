"""What must hold of a chain; apart from the data's own step, since PostgreSQL does not alter a table it just filled."""

from django.db import migrations, models
from django.db.models import F, Q


class Migration(migrations.Migration):
    dependencies = [("registry", "0002_versions")]

    operations = [
        migrations.RemoveConstraint(model_name="dataset", name="dataset_ready_has_when"),
        migrations.AddConstraint(
            model_name="dataset",
            constraint=models.CheckConstraint(
                condition=Q(
                    ("state__in", ["READY", "SUPERSEDED", "WITHDRAWN"]),
                    ("ready_at__isnull", True),
                    _connector="OR",
                ),
                name="dataset_ready_has_when",
            ),
        ),
        migrations.AddConstraint(
            model_name="dataset",
            constraint=models.CheckConstraint(
                condition=Q(version=1, chain=F("id")) | (Q(version__gt=1) & ~Q(chain=F("id"))),
                name="dataset_first_version_names_its_chain",
            ),
        ),
        migrations.AddConstraint(
            model_name="dataset",
            constraint=models.UniqueConstraint(
                condition=~Q(state="REJECTED"), fields=("chain", "version"), name="dataset_version_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="dataset",
            constraint=models.UniqueConstraint(
                condition=Q(state="READY"), fields=("chain",), name="dataset_one_version_answers"
            ),
        ),
    ]
