"""Waking the jobs that wait for a token: what completing one does, and what upkeep does about those that time out.

A job parks on a token only in a commit that sees it open, so no job can come to wait for a closed one: whoever closes
it finds all that wait. Should it die before they are all awake, the token stays due, and upkeep goes on with it.
"""

from __future__ import annotations

import time
from collections.abc import Collection

from ..announcing import Announce, announcer
from ..domain.changes import Committed
from ..domain.filters import JobFilter, Order
from ..domain.records import EventType, Kind, Token
from ..domain.tokens import all_awake, expire, waiting_for, wake
from ..stores import Store

LOT = 1000
SECONDS = 0.5
"""The longest that one round of upkeep looks after tokens; the rest waits for the next."""


def wake_lot(store: Store, token_id: str, announce: Announce | None = None) -> int:
    """Wake up to a thousand of the jobs that wait for a closed token and return how many waited."""
    return len(_wake_lot(store, [token_id], announce, wait=True))


def _wake_lot(
    store: Store, token_ids: Collection[str], announce: Announce | None, *, wait: bool
) -> list[tuple[str, Committed]]:
    """Wake up to a thousand of the jobs that wait for closed tokens; returns the token of each, and what became."""
    announce = announce or announcer(store)
    jobs = store.values(
        waiting_for(token_ids), ("id", "wait_token_id", "job_type", "queue"), order=Order.OLDEST, limit=LOT
    )
    answers = store.commit([wake(id, token_id) for id, token_id, _, _ in jobs], wait=wait)
    for (id, _, job_type, queue), answer in zip(jobs, answers, strict=True):
        if answer.applied:
            announce(EventType.RESUMED, job_id=id, job_type=job_type, queue=queue)
    return [(job[1], answer) for job, answer in zip(jobs, answers, strict=True)]


def wake_all(store: Store, token_id: str, announce: Announce | None = None) -> int:
    """Wake all jobs that wait for a closed token, note that nobody waits any more, and return how many did."""
    total = 0
    while woken := wake_lot(store, token_id, announce):
        total += woken
    store.commit([all_awake(token_id)])
    return total


def close_due(store: Store, announce: Announce | None = None) -> tuple[int, int]:
    """Time out the tokens whose time is up, and wake who waits for those that are closed; for a bounded time.

    Returns how many timed out and how many jobs woke. Tokens of deleted jobs go once nobody waits for them. What
    somebody else holds is left for the next time: a worker must not stand still for as long as that takes.
    """
    until, expired, woken = time.monotonic() + SECONDS, 0, 0
    while tokens := store.due_tokens(limit=LOT):
        answers = store.commit([expire(token.id) for token in tokens if not token.is_closed], wait=False)
        expired += sum(answer.applied for answer in answers)
        closed = _closed(tokens, answers)
        busy: set[str] = set()
        while lot := _wake_lot(store, sorted(closed - busy), announce, wait=False) if closed - busy else []:
            woken += sum(answer.applied for _, answer in lot)
            busy |= {token_id for token_id, answer in lot if answer.is_busy}
            if time.monotonic() > until:
                return expired, woken
        done = [token for token in tokens if token.id in closed - busy]
        noted = store.commit([all_awake(token.id) for token in done], wait=False)
        _forget(store, done)
        if not any(answer.applied for answer in noted) or time.monotonic() > until:
            break
    return expired, woken


def _closed(tokens: Collection[Token], expiries: Collection[Committed]) -> set[str]:
    """The ids of the tokens that are closed now: all but those that somebody else holds."""
    opened = [token.id for token in tokens if not token.is_closed]
    return {token.id for token in tokens} - {id for id, answer in zip(opened, expiries, strict=True) if answer.is_busy}


def _forget(store: Store, tokens: Collection[Token]) -> None:
    """Remove the tokens whose jobs are gone."""
    makers = {token.job_id for token in tokens if token.job_id is not None}
    if not makers:
        return
    there = {id for (id,) in store.values(JobFilter(ids=tuple(makers)), ("id",), limit=len(makers))}
    store.remove(Kind.TOKEN, [token.id for token in tokens if token.job_id in makers - there])
