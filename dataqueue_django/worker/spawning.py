"""What a handler can spawn: a job as `@job` or `using` made it, or a job type with a payload."""

from __future__ import annotations

from typing import Any, Protocol

from ..domain.options import JobOptions
from ..domain.records import NewJob
from ..exceptions import InvalidStep, shown
from ..handlers import Handler
from ..queue.base import QueueBase, described


class Spawnable(Protocol):
    """What `@job` and `using` make."""

    @property
    def handler(self) -> Handler: ...
    @property
    def options(self) -> JobOptions: ...
    @property
    def alias(self) -> str: ...


def described_job(queue: QueueBase, job: Spawnable | str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> NewJob:
    """Return the job to insert; raises InvalidStep, or InvalidJob for what could not run."""
    if isinstance(job, str):
        if len(args) > 1 or (args and kwargs):
            raise InvalidStep(
                "spawn() got more than a payload; expected spawn(job_type, payload) or a job's arguments."
            )
        return described(queue, job, args[0] if args else kwargs or None, JobOptions())
    if not hasattr(job, "handler") or not hasattr(job, "options"):
        raise InvalidStep(f"spawn() got {shown(job)}; expected a function that @job registered, or a job type.")
    if job.alias not in (queue.alias, "default"):
        raise InvalidStep(f"spawn() got a job for the queue {job.alias!r}; expected one for {queue.alias!r}.")
    payload = job.handler.shape.payload_from(args, kwargs)
    return described(queue, job.handler.job_type, payload, job.options, allow_unknown=True)
