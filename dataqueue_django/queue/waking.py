"""Waking the jobs that wait for a token: what completing one does, and what upkeep does about those that time out.

A job parks on a token only in a commit that sees it open, so no job can come to wait for a closed one: whoever closes
it finds all that wait. Should it die before they are all awake, the token stays due, and upkeep goes on with it.
"""

from __future__ import annotations

import time

from ..announcing import Announce, announcer
from ..domain.filters import JobFilter, Order
from ..domain.records import EventType, JobStatus, Kind, Token
from ..domain.tokens import all_awake, expire, wake
from ..stores import Store

LOT = 1000
SECONDS = 0.5
"""The longest that one round of upkeep looks after tokens; the rest waits for the next."""


def wake_lot(store: Store, token_id: str, announce: Announce | None = None) -> int:
    """Wake up to a thousand of the jobs that wait for a closed token and return how many waited."""
    announce = announce or announcer(store)
    waiting = JobFilter(statuses=(JobStatus.WAITING,), wait_token_ids=(token_id,))
    jobs = store.values(waiting, ("id", "job_type", "queue"), order=Order.OLDEST, limit=LOT)
    answers = store.commit([wake(id, token_id) for id, _, _ in jobs])
    for (id, job_type, queue), answer in zip(jobs, answers, strict=True):
        if answer.applied:
            announce(EventType.RESUMED, job_id=id, job_type=job_type, queue=queue)
    return len(jobs)


def wake_all(store: Store, token_id: str, announce: Announce | None = None) -> int:
    """Wake all jobs that wait for a closed token, note that nobody waits any more, and return how many did."""
    total = 0
    while woken := wake_lot(store, token_id, announce):
        total += woken
    store.commit([all_awake(token_id)])
    return total


def close_due(store: Store, announce: Announce | None = None) -> tuple[int, int]:
    """Time out the tokens whose time is up, and wake who waits for those that are closed; for a bounded time.

    Returns how many timed out and how many jobs woke. Tokens of deleted jobs go once nobody waits for them.
    """
    until, expired, woken = time.monotonic() + SECONDS, 0, 0
    while tokens := store.due_tokens(limit=LOT):
        for token in tokens:
            expired += not token.is_closed and store.commit([expire(token.id)])[0].applied
            woken += wake_all(store, token.id, announce)
            _forget(store, token)
            if time.monotonic() > until:
                return expired, woken
    return expired, woken


def _forget(store: Store, token: Token) -> None:
    if token.job_id is not None and not store.values(JobFilter(ids=(token.job_id,)), ("id",)):
        store.remove(Kind.TOKEN, [token.id])
