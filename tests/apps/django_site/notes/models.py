# SPDX-License-Identifier: MIT
"""The one table of the site's own."""

from django.db import models


class Note(models.Model):
    """A text with a title."""

    title = models.CharField(max_length=100, unique=True)
    body = models.TextField()
    changed = models.DateTimeField(auto_now=True, db_index=True)

    def __str__(self):
        return self.title
