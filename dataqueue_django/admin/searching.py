"""What people type into the search box of the jobs: every term is answered from an index, payloads are never read."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from django.db import connections
from django.db.models import QuerySet
from django.utils.text import smart_split, unescape_string_literal
from django.utils.translation import gettext_lazy as _

from ..models import JobTag

HELP = _(
    "A number is a job's id, a word a job type or the beginning of an idempotency key. "
    "Or say which: id:42 type:send_invoice key:order- tag:vip, all of which must fit."
)
LONGEST = 255
"""Characters of the longest thing that can be found."""
TERMS = 8
GREATEST = "\U0010ffff"
BIGGEST = 2**63 - 1

Jobs = QuerySet[Any]


def find(jobs: Jobs, text: str, job_types: Callable[[], Collection[str]]) -> Jobs:
    """Return those of `jobs` that fit every term of `text`; none when a term could fit nothing.

    `job_types` tells what a word is: the job type of that name if there is one, else the beginning of a key.
    """
    terms = [_unquoted(term) for term in smart_split(text)][: TERMS + 1]
    if len(terms) > TERMS or any(len(term) > LONGEST + len("type:") or "\0" in term for term in terms):
        return jobs.none()
    for term in terms:
        jobs = _narrowed(jobs, term, job_types)
    return jobs


def as_id(text: str) -> int | None:
    """Return the id that `text` writes, or None when it cannot be the id of anything."""
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else None
    return number if number is not None and number <= BIGGEST else None


def _narrowed(jobs: Jobs, term: str, job_types: Callable[[], Collection[str]]) -> Jobs:
    name, colon, value = term.partition(":")
    if colon and name in FINDERS:
        return FINDERS[name](jobs, _unquoted(value))
    if as_id(term) is not None:
        return _by_id(jobs, term)
    return _by_type(jobs, term) if term in job_types() else _by_key(jobs, term)


def _by_id(jobs: Jobs, value: str) -> Jobs:
    job_id = as_id(value)
    return jobs.none() if job_id is None else jobs.filter(pk=job_id)


def _by_type(jobs: Jobs, value: str) -> Jobs:
    return jobs.filter(job_type=value)


def _by_key(jobs: Jobs, value: str) -> Jobs:
    """Keys that begin with `value`, byte by byte.

    SQLite's LIKE ignores case and uses no index here, while its order is that of the bytes; PostgreSQL's order depends
    on the database's language, while its index is made for LIKE.
    """
    if not value:
        return jobs.none()
    if connections[jobs.db].vendor == "sqlite":
        return jobs.filter(idempotency_key__gte=value, idempotency_key__lt=value + GREATEST)
    return jobs.filter(idempotency_key__startswith=value)


def _by_tag(jobs: Jobs, value: str) -> Jobs:
    tagged = JobTag.objects.using(jobs.db).filter(tag=value)
    return jobs.filter(pk__in=tagged.values("job_id"))


FINDERS: dict[str, Callable[[Jobs, str], Jobs]] = {"id": _by_id, "type": _by_type, "key": _by_key, "tag": _by_tag}


def _unquoted(text: str) -> str:
    return unescape_string_literal(text) if text[:1] in ("'", '"') and len(text) > 1 and text[-1] == text[0] else text
