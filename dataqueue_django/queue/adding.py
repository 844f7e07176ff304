"""Adding jobs, in the caller's transaction."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from itertools import chain
from typing import Any

from ..domain.options import flag, options_from
from ..domain.records import JSON, Inserted, Job, NewJob
from ..exceptions import IdempotencyConflict, InvalidJob, shown
from ..stores.base import chunks
from . import outside
from .aio import with_async_twins
from .base import QueueBase, described, tell_of

logger = logging.getLogger("dataqueue_django.queue")


@dataclass(frozen=True, kw_only=True, slots=True)
class AddedJob(Job):
    """The job that `enqueue` added, or found under its idempotency key.

    `existed` says that nothing was added; `payload_differs` that the job found has another type or payload.
    """

    existed: bool = False
    payload_differs: bool = False


@with_async_twins
class Adding(QueueBase):
    """`add_job`, `add_jobs`."""

    def add_job(
        self,
        job_type: str,
        payload: JSON = None,
        *,
        allow_unknown: bool = False,
        strict: bool | None = None,
        **options: Any,
    ) -> int:
        """Add a job in the caller's transaction and return its id (DataQueue "addJob").

        Options are those of JobOptions. With an `idempotency_key` that is taken, the id of the job that has it is
        returned and nothing changes; if that job has another type or payload, IdempotencyConflict is raised where
        `strict`, or the alias' setting STRICT, asks for it. Raises InvalidJob for anything that could not run;
        `allow_unknown` lets job types through that no handler here is registered for. Raises GroupFull where a limit
        has no room for another job of its group; nothing was added then.
        """
        strict = strict if strict is None else flag("strict", strict)
        spec = described(self, job_type, payload, options_from(options), allow_unknown=allow_unknown)
        if not self._is_strict(strict):
            return self._insert([spec])[0].id
        added = self._add(spec)
        if added.payload_differs:
            raise IdempotencyConflict(
                f"idempotency_key {shown(spec.idempotency_key)} belongs to job {added.id}, "
                "which has another type or payload; expected the same job, or another key."
            )
        return added.id

    def add_jobs(self, jobs: Iterable[Mapping[str, Any]], *, allow_unknown: bool = False) -> list[int]:
        """Add many jobs, all or none, and return their ids in order (DataQueue "addJobs").

        Each is a mapping with `job_type`, `payload` and any options. Any iterable will do: it is read a thousand at a
        time. An empty one touches nothing. Raises GroupFull, and adds none, where a limit on the size of a group has no
        room for all of them.
        """
        return self._insert_all(self._describe_each(jobs, allow_unknown))

    def _insert(self, specs: list[NewJob]) -> list[Inserted]:
        """Insert described jobs, at most a thousand, and wake workers once the caller's transaction commits."""
        outside.check(self.store, self.settings.outside_transaction)
        answers = self.store.insert(specs, bounded=True)
        tell_of(self, [(answer.id, spec) for spec, answer in zip(specs, answers, strict=True) if not answer.existed])
        return answers

    def _insert_all(self, specs: Iterable[NewJob]) -> list[int]:
        """Insert any number of described jobs, all or none, reading no more than a thousand ahead."""
        lots = iter(chunks(specs, self.store.features.max_batch))
        first = next(lots, None)
        if first is None:
            return []
        outside.check(self.store, self.settings.outside_transaction)
        ids: list[int] = []
        with self.store.transaction():
            for lot in chain([first], lots):
                ids += [answer.id for answer in self._insert(lot)]
        return ids

    def _add(self, spec: NewJob) -> AddedJob:
        """Insert a described job and return its record, or that of the job that has its idempotency key."""
        while True:
            answer = self._insert([spec])[0]
            if not answer.existed:
                return _as_added(spec, answer)
            if kept := self.store.get([answer.id]):  # else it was deleted in between, and the key is free again
                return self._as_kept(spec, kept[0])

    def _as_kept(self, spec: NewJob, found: Job) -> AddedJob:
        differs = (found.job_type, found.payload) != (spec.job_type, spec.payload)
        if differs:
            logger.warning(
                "job %d was kept for idempotency key %s although its type or payload differs",
                found.id,
                shown(spec.idempotency_key),
            )
        values = {f.name: getattr(found, f.name) for f in fields(Job)}
        return AddedJob(**values, existed=True, payload_differs=differs)

    def _describe_each(self, jobs: Iterable[Any], allow_unknown: bool) -> Iterator[NewJob]:
        for n, given in enumerate(iterable("add_jobs()", jobs)):
            if not isinstance(given, Mapping) or "job_type" not in given:
                raise InvalidJob(f"Job {n} is {shown(given)}; expected a mapping with 'job_type' and 'payload'.")
            rest = {name: value for name, value in given.items() if name not in ("job_type", "payload")}
            options = options_from(rest, f"Job {n}")
            with naming_the_job(n):
                spec = described(self, given["job_type"], given.get("payload"), options, allow_unknown=allow_unknown)
            yield spec


@contextmanager
def naming_the_job(number: int) -> Iterator[None]:
    """Let the error of one of many jobs say which of them it is about, counted from 0."""
    try:
        yield
    except InvalidJob as why:
        raise type(why)(f"Job {number}: {why}") from why.__cause__


def iterable(where: str, given: Any) -> Iterable[Any]:
    """Return `given` if jobs can be read from it one after the other; raises InvalidJob otherwise."""
    if isinstance(given, Mapping | str | bytes) or not isinstance(given, Iterable):
        raise InvalidJob(f"{where} got {shown(given)}; expected an iterable, such as a list.")
    return given


def _as_added(spec: NewJob, answer: Inserted) -> AddedJob:
    given = {f.name: getattr(spec, f.name) for f in fields(NewJob) if f.name != "run_at"}
    run_at = spec.run_at or answer.at
    return AddedJob(id=answer.id, created_at=answer.at, updated_at=answer.at, run_at=run_at, ready_at=run_at, **given)
