"""Accounts and lines of before have a delta of nothing, and epsilon alone decides as it did."""

from django.db import migrations, models
from django.db.models import F, Q

from portal.audit.guard import append_only

GUARD = append_only("budgets_line")


class Migration(migrations.Migration):
    dependencies = [("budgets", "0002_append_only")]

    operations = [
        # SQLite makes a table anew to add a column, and its triggers go with the old one.
        migrations.RunPython(GUARD.reverse_code or migrations.RunPython.noop, GUARD.code),
        migrations.RemoveConstraint(model_name="account", name="account_never_over_its_total"),
        migrations.RemoveConstraint(model_name="account", name="account_counts_up_from_nothing"),
        migrations.RemoveConstraint(model_name="line", name="line_is_not_negative"),
        migrations.AddField(
            model_name="account",
            name="delta_total",
            field=models.BigIntegerField(
                default=0, help_text="10^-18, from the signed policy; 0 without delta"
            ),
        ),
        migrations.AddField(
            model_name="account", name="delta_spent", field=models.BigIntegerField(default=0)
        ),
        migrations.AddField(
            model_name="account", name="delta_reserved", field=models.BigIntegerField(default=0)
        ),
        migrations.AddField(
            model_name="account",
            name="squares_total",
            field=models.BigIntegerField(default=0, help_text="twice rho, in square micro-epsilon"),
        ),
        migrations.AddField(
            model_name="account", name="squares_spent", field=models.BigIntegerField(default=0)
        ),
        migrations.AddField(
            model_name="account", name="squares_reserved", field=models.BigIntegerField(default=0)
        ),
        migrations.AddField(model_name="line", name="atto_delta", field=models.BigIntegerField(default=0)),
        migrations.AddField(model_name="line", name="squares", field=models.BigIntegerField(default=0)),
        migrations.AddConstraint(
            model_name="account",
            constraint=models.CheckConstraint(
                name="account_never_over_its_total",
                condition=Q(
                    total__gte=F("spent") + F("reserved") + 0,
                    delta_total__gte=2 * (F("delta_spent") + F("delta_reserved") + 0),
                )
                | Q(delta_total__gt=0, squares_total__gte=F("squares_spent") + F("squares_reserved") + 0),
            ),
        ),
        migrations.AddConstraint(
            model_name="account",
            constraint=models.CheckConstraint(
                name="account_counts_up_from_nothing",
                condition=Q(spent__gte=0, reserved__gte=0, delta_spent__gte=0, delta_reserved__gte=0)
                & Q(squares_spent__gte=0, squares_reserved__gte=0),
            ),
        ),
        migrations.AddConstraint(
            model_name="line",
            constraint=models.CheckConstraint(
                name="line_is_not_negative",
                condition=Q(micro_epsilon__gte=0, atto_delta__gte=0, squares__gte=0),
            ),
        ),
        append_only("budgets_line"),
    ]
