"""The page of the post."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from example_project.access import open_in_demo

from .models import Letter

SHOWN_LETTERS = 50


@require_safe
@never_cache
@open_in_demo("post.view_letter")
def show_letters(request: HttpRequest) -> HttpResponse:
    """Show the latest letters, or those about one thing. Who may read them may follow the links in them."""
    about = request.GET.get("about", "").replace("\0", "")
    letters = Letter.objects.filter(about=about) if about else Letter.objects.all()
    return render(request, "post/letters.html", {"letters": letters[:SHOWN_LETTERS], "about": about})
