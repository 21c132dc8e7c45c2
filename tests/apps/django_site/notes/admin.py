# SPDX-License-Identifier: MIT
"""Notes in the admin."""

from django.contrib import admin

from .models import Note


@admin.register(Note)
class NoteAdmin(admin.ModelAdmin):
    """With a list that can be searched."""

    list_display = ["title", "changed"]
    search_fields = ["title", "body"]
