"""Pausing queues and job types, and which queues there are."""

from __future__ import annotations

import logging
from datetime import datetime

from ..domain.controlling import QueueInfo, as_control, given_name, new_pause, new_queue, scope
from ..domain.controls import holds, scope_id
from ..domain.filters import JobFilter
from ..domain.holding_back import called
from ..domain.records import JobStatus, Kind, Pause, Queue
from .aio import with_async_twins
from .base import QueueBase

logger = logging.getLogger("dataqueue_django.queue")


@with_async_twins
class Pausing(QueueBase):
    """`pause_queue`, `resume_queue` and their like for job types and for everything; `declare_queue`, `get_queues`.

    Each joins the caller's transaction and holds for each claim that begins after that has committed: workers take no
    job that is paused, jobs that run go on, and jobs can be added as before. A queue or a job type need not be known.
    `reason`, at most 1,000 characters, says why, `actor` who asked. A pause ends when it is resumed, or by itself at
    `until`, an aware time in the next ten years. Pausing what is paused replaces that pause; resuming what is not
    paused returns False and changes nothing. Raises InvalidControl for a value.
    """

    def pause_queue(self, queue: str, *, reason: str = "", actor: str = "", until: datetime | None = None) -> Pause:
        """Let workers take no more jobs of a queue, and return the pause."""
        return self._pause(given_name("queue", queue), None, reason, actor, until)

    def resume_queue(self, queue: str, *, actor: str = "") -> bool:
        """Let workers take jobs of a queue again, and return whether it was paused.

        What else pauses its jobs stays: pauses of job types, within the queue too, and of everything.
        """
        return self._resume(given_name("queue", queue), None, actor)

    def is_queue_paused(self, queue: str) -> bool:
        """Return whether no worker takes jobs of a queue, because it or everything is paused."""
        return self.store.controls().pause_of(given_name("queue", queue), "", self.store.now()) is not None

    def pause_job_type(
        self,
        job_type: str,
        *,
        queue: str | None = None,
        reason: str = "",
        actor: str = "",
        until: datetime | None = None,
    ) -> Pause:
        """Let workers take no more jobs of a type, in one queue or in all, and return the pause."""
        return self._pause(queue, given_name("job_type", job_type), reason, actor, until)

    def resume_job_type(self, job_type: str, *, queue: str | None = None, actor: str = "") -> bool:
        """Let workers take jobs of a type again, and return whether just that was paused: the type, or it in a queue.

        A pause of the type in one queue and one of it in all queues are two.
        """
        return self._resume(queue, given_name("job_type", job_type), actor)

    def pause_all(self, *, reason: str = "", actor: str = "", until: datetime | None = None) -> Pause:
        """Let workers take no more jobs at all, and return the pause."""
        return self._pause(None, None, reason, actor, until)

    def resume_all(self, *, actor: str = "") -> bool:
        """End the pause of everything and return whether there was one; pauses of queues and job types stay."""
        return self._resume(None, None, actor)

    def get_pauses(self) -> list[Pause]:
        """Return the pauses that hold now, by their ids: of everything, of job types, of queues."""
        now = self.store.now()
        return [pause for pause in self.store.find(Kind.PAUSE) if holds(pause, now)]

    def declare_queue(self, name: str, *, description: str = "") -> Queue:
        """Make a queue known before a job is in it, and return it; again, to change its description.

        Jobs can be added to any queue, declared or not. A description has at most 1,000 characters.
        """
        wanted = new_queue(name, description)
        return self.store.put(wanted)

    def get_queues(self) -> list[QueueInfo]:
        """Return the queues that are known, by name: declared, with a job, or named by a pause or a limit.

        Reads every job's queue: for people who ask, not for a loop.
        """
        now, controls = self.store.now(), self.store.controls()
        declared: dict[str, Queue] = {one.id: one for one in self.store.find(Kind.QUEUE)}
        pauses = [pause for pause in controls.pauses if holds(pause, now)]
        with_jobs = {queue for (queue,) in self.store.count(by=("queue",))}
        named = {pause.queue for pause in pauses} | {limit.queue for limit in controls.limits}
        ready = self._ready_by_queue()
        running = self.store.count(JobFilter(statuses=(JobStatus.PROCESSING,)), by=("queue",))
        return [
            QueueInfo(
                name=name,
                description=declared[name].description if name in declared else "",
                declared=name in declared,
                pause=controls.pause_of(name, "", now),
                limits=tuple(limit for limit in controls.limits if limit.queue == name),
                ready=ready.get(name, 0),
                running=running.get((name,), 0),
            )
            for name in sorted({*declared, *with_jobs, *named} - {""})
        ]

    def _ready_by_queue(self) -> dict[str, int]:
        ready: dict[str, int] = {}
        for backlog in self.store.backlogs():
            ready[backlog.queue] = ready.get(backlog.queue, 0) + backlog.ready
        return ready

    def _pause(self, queue: str | None, job_type: str | None, reason: str, actor: str, until: datetime | None) -> Pause:
        with as_control():
            who, why = self._actor(actor), self._reason(reason)
        made = new_pause(queue, job_type, reason=why, actor=who, until=until, now=self.store.now())
        put = self.store.put(made)
        end = f" until {put.until.isoformat()}" if put.until else ""
        logger.info("%s was paused by %s%s: %s", called(put.queue, put.job_type), who or "nobody named", end, why)
        return put

    def _resume(self, given_queue: str | None, given_type: str | None, actor: str) -> bool:
        with as_control():
            who = self._actor(actor)
        queue, job_type = scope(given_queue, given_type)
        pause: Pause | None = self.store.fetch(Kind.PAUSE, scope_id(queue, job_type))
        if pause is None or not holds(pause, self.store.now()) or not self.store.remove(Kind.PAUSE, [pause.id]):
            return False
        logger.info("%s was resumed by %s", called(queue, job_type), who or "nobody named")
        self.store.on_commit(self.notifier.publish)
        return True
