"""Running jobs from here: the processor of an alias."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, TypedDict, Unpack

from .aio import with_async_twins
from .base import QueueBase

if TYPE_CHECKING:
    from ..worker.processor import Processor


class ProcessorSettings(TypedDict, total=False):
    """What `create_processor` takes (DataQueue "ProcessorOptions")."""

    worker_id: str | None
    queues: str | Iterable[str]
    exclude_queues: str | Iterable[str]
    job_types: str | Iterable[str]
    exclude_groups: str | Iterable[str]
    group_concurrency: int | None
    batch_size: int | None
    concurrency: int | None
    poll_interval: float | timedelta | None
    isolate: bool | None
    on_error: Callable[[Exception], object] | None


@with_async_twins
class Processing(QueueBase):
    """`create_processor`."""

    def create_processor(self, **options: Unpack[ProcessorSettings]) -> Processor:
        """Return a processor that works on this queue's jobs in the current process (DataQueue "createProcessor").

        `worker_id` names the worker for people; `queues`, `exclude_queues` and `job_types` choose its jobs, all by
        default; of a group of which `group_concurrency` jobs run, on whatever worker, it begins no other, and none of
        the `exclude_groups`. `concurrency` (3) is how many run at once, `batch_size` how many are claimed at once (10
        in `start()`, else automatic), `poll_interval` the seconds between two looks of an idle one (automatic); with
        `isolate` every handler runs in a child process. What is not given is the alias' `WORKER` setting.
        `on_error(exception)` is called when the worker itself fails, say to reach the database, not for what handlers
        raise: see the signal `job_failed`. Nothing is started yet. Raises ConfigurationError naming the option that is
        unknown or out of range.
        """
        from ..worker.options import options_from  # what only runs jobs is not loaded by those who add them
        from ..worker.processor import Processor

        return Processor(self, options_from(options), options.get("on_error"))
