from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [
        ("queries", "0004_query_tests"),
    ]

    operations = [
        migrations.AddField(
            model_name="query",
            name="atto_delta",
            field=models.BigIntegerField(default=0, help_text="10^-18, likewise; 0 for epsilon alone"),
        ),
        migrations.AddConstraint(
            model_name="query",
            constraint=models.CheckConstraint(
                name="query_delta_fits_its_mode",
                condition=Q(mode="dp", atto_delta__gte=0) | Q(mode="exact", atto_delta=0),
            ),
        ),
    ]
