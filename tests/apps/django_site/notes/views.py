# SPDX-License-Identifier: MIT
"""The pages for everybody."""

from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.html import format_html, format_html_join

from .models import Note


def index(_request):
    """The notes that were changed last."""
    notes = Note.objects.order_by("-changed")[:20]
    items = format_html_join(
        "\n", '<li><a href="/{}/">{}</a></li>', ((note.pk, note.title) for note in notes)
    )
    return HttpResponse(format_html("<h1>Notes</h1>\n<ul>{}</ul>", items))


def detail(_request, pk):
    """One note."""
    note = get_object_or_404(Note, pk=pk)
    return HttpResponse(format_html("<h1>{}</h1>\n<p>{}</p>", note.title, note.body))
