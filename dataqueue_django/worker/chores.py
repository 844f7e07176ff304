"""What there is to do for all, now and then, and how often: one line for each duty."""

from __future__ import annotations

from functools import partial

from ..announcing import Announce
from ..conf import AliasSettings
from ..domain.duties import Done
from ..domain.records import JSON
from ..domain.retention import BATCH
from ..handlers import Registry
from ..queue.catching_up import catch_up_with
from ..queue.duties import Chore
from ..queue.retention import Retention
from ..queue.taking_back import take_back_from_gone
from ..queue.waking import close_due
from ..stores import Store
from .statistics import Work, statistics_duties

EACH_ROUND = 0.5
"""In rounds of upkeep. Less than one, so that a lone worker's next round finds due again what it did in its last."""

NOW_AND_THEN, SELDOM = 5.5, 55.0


def chores_of(
    store: Store,
    settings: AliasSettings,
    handlers: Registry,
    *,
    announce: Announce | None = None,
    seconds: float | None = None,
    most: int = BATCH,
) -> list[Chore]:
    """Return the duties of an alias.

    What deletes does so for about so many seconds at a time, by default as few as a worker that runs jobs can spare,
    and at most `most` rows in one transaction.
    """
    round_, crash_limit = settings.worker.reap_every, settings.worker.crash_limit
    keeping = Retention(store, settings.retention, handlers.own_times, seconds=seconds, most=most)

    counting = statistics_duties(store, settings.retention)

    def reclaim(_: JSON) -> Done:
        return ready("reclaimed_jobs", take_back_from_gone(store, crash_limit=crash_limit, announce=announce))

    def expire_tokens(_: JSON) -> Done:
        expired, woken = close_due(store, announce)
        return Done(report={"expired_tokens": expired, "woken_jobs": woken}, ready=woken)

    def settle_requests(_: JSON) -> Done:
        return Done(report={"settled_requests": catch_up_with(store, announce=announce)})

    return [
        Chore(name="reclaim", every=EACH_ROUND * round_, do=reclaim),
        Chore(name="expire_tokens", every=EACH_ROUND * round_, do=expire_tokens),
        Chore(name="settle_requests", every=EACH_ROUND * round_, do=settle_requests),
        Chore(name="clean_jobs", every=NOW_AND_THEN * round_, do=keeping.jobs),
        Chore(name="clean_events", every=NOW_AND_THEN * round_, do=keeping.events),
        Chore(name="clean_logs", every=NOW_AND_THEN * round_, do=keeping.logs),
        Chore(name="clean_ticks", every=NOW_AND_THEN * round_, do=keeping.ticks),
        Chore(name="forget_workers", every=SELDOM * round_, do=keeping.workers),
        Chore(name="forget_limits", every=SELDOM * round_, do=keeping.limits),
        *(Chore(name=name, every=every, do=partial(_counted, work)) for name, every, work in counting),
    ]


def _counted(work: Work, memory: JSON) -> Done:
    """Do what a duty of statistics is."""
    report, remembered = work(memory)
    return Done(report=report, state=remembered)


def ready(word: str, count: int) -> Done:
    """Return that so many jobs can be claimed now, under their name in the report."""
    return Done(report={word: count}, ready=count)
