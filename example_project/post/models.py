"""Letters, and how one is written."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class Letter(models.Model):
    """Something that the site has written to somebody; a row here is an outbox, so nothing leaves the machine.

    A letter is written in the transaction that says that it was, which is what makes it one letter. Nothing here
    would notice a second one, so that the demo's check can.
    """

    about = models.CharField(max_length=50, db_index=True, help_text="What it is about, such as “refund 7”.")
    to = models.EmailField()
    subject = models.CharField(max_length=200)
    body = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.subject}, to {self.to}"


def write(about: str, to: str, subject: str, *paragraphs: str) -> Letter:
    """Write a letter in the caller's transaction."""
    return Letter.objects.create(about=about, to=to, subject=subject, body="\n\n".join(paragraphs))


def site_link(path: str) -> str:
    """Return the whole address of a page: a job has no request to take it from."""
    return f"{settings.SITE_URL.rstrip('/')}{path}"
