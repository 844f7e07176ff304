"""Letting duties come due without waiting for it."""

from __future__ import annotations

from dataqueue_django.domain.changes import After, Change, Verb
from dataqueue_django.domain.records import Kind
from dataqueue_django.stores import Store


def make_due(store: Store, *names: str) -> None:
    """Let some duties be due now, or all there are."""
    wanted = names or [duty.id for duty in store.find(Kind.DUTY)]
    store.commit([(Change(kind=Kind.DUTY, verb=Verb.OTHER, id=name, set={"due_at": After()}),) for name in wanted])
