# SPDX-License-Identifier: MIT
"""Creates the table."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """The first one."""

    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            name="Note",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("title", models.CharField(max_length=100, unique=True)),
                ("body", models.TextField()),
                ("changed", models.DateTimeField(auto_now=True, db_index=True)),
            ],
        )
    ]
