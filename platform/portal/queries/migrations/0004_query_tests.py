from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("queries", "0003_waiting_query"),
    ]

    operations = [
        migrations.AddField(
            model_name="query",
            name="tests",
            field=models.PositiveIntegerField(default=0, help_text="p-values in the released answer"),
        ),
    ]
