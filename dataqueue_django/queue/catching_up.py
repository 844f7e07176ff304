"""Requests to cancel that came while a job was changing hands: what asking does about them at once, and upkeep later.

Asking does not lock the job, so its execution may end before the request can be seen by whoever ends it.
"""

from __future__ import annotations

import time
from collections.abc import Collection

from ..announcing import Announce, announcer
from ..domain.records import EventType
from ..domain.steering import catch_up, still_in
from ..stores import Store

LOT = 500
PATIENCE, PAUSE = 1.0, 0.02
"""For how long, in seconds, and how often whoever has asked looks for the end that is being written just now."""

ROUNDS = 3
"""The rest waits for the next time: what somebody else holds, and jobs that change hands again and again."""


def see_to(store: Store, job_id: int, claim_seq: int) -> None:
    """See to a request that was just committed: whoever ends the execution from now on finds it.

    Somebody may be ending it right now, and have looked for a request before there was one. That takes milliseconds;
    a lock that is held for longer is somebody else's, and left to upkeep.
    """
    until = time.monotonic() + PATIENCE
    while (answer := store.commit([still_in(job_id, claim_seq)], wait=False)[0]).is_busy and time.monotonic() < until:
        time.sleep(PAUSE)
    if not answer.applied:
        catch_up_with(store, [job_id])


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
