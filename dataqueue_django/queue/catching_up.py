"""Requests to cancel that came while a job was changing hands: what asking does about them at once, and upkeep later.

Asking does not lock the job, so its execution may end before the request can be seen by whoever ends it.
"""

from __future__ import annotations

from collections.abc import Collection

from ..announcing import Announce, announcer
from ..domain.records import EventType
from ..domain.steering import catch_up
from ..stores import Store

LOT = 500
ROUNDS = 3
"""The rest waits for the next time: what somebody else holds, and jobs that change hands again and again."""


def catch_up_with(store: Store, jobs: Collection[int] = (), announce: Announce | None = None) -> int:
    """See to the requests to cancel whose execution is over, all or those of some jobs; returns how many were seen to.

    Their jobs are cancelled, or asked anew, or have ended. What somebody else holds is not waited for.
    """
    announce = announce or announcer(store)
    total = 0
    for _ in range(ROUNDS):
        requests = store.stray_requests(jobs=jobs, limit=LOT)
        if not requests:
            break
        known = {job.id: job for job in store.get([request.id for request in requests])}
        items = [catch_up(request, known.get(request.id)) for request in requests]
        results = store.commit(items, wait=False)
        for item, result in zip(items, results, strict=True):
            change = None if result.choice is None else item[result.choice]
            if change is not None and change.event is EventType.CANCELLED:
                job = known[int(change.id)]
                announce(EventType.CANCELLED, job_id=job.id, job_type=job.job_type, queue=job.queue)
        total += sum(result.applied for result in results)
    return total
