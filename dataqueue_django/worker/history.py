"""The durable part of an execution: what its handler has done before, and what it does now, recorded once.

Everything here is synchronous and runs in the thread of the handler, on its own connection; the async context calls it
in the handler's thread for synchronous code.
"""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from threading import RLock
from typing import Any
from uuid import uuid4

from ..domain.changes import SPAWNED, After, Change, Committed
from ..domain.records import JSON, ClaimedJob, EventType, Kind, Step, StepKind, Token
from ..domain.steps import MOST_STEPS, recorded, step_name, step_result
from ..domain.tokens import new_token, outcome, timed_out, token_id
from ..domain.transitions import Execution, complete, record
from ..domain.waits import Wait, WaitKind, check_same, wait_moment, wait_seconds
from ..exceptions import (
    ContextClosed,
    DuplicateStepName,
    InvalidStep,
    InvalidWait,
    NonDeterministicHandler,
    TokenNotFound,
    shown,
)
from ..handlers.answers import schema_of
from ..queue.base import QueueBase, tell_of
from .recorder import Recorder
from .reports import Reports
from .signal import AbortSignal
from .spawning import Spawnable, described_job
from .suspension import Suspend
from .transactions import Transactions

_in_step: ContextVar[bool] = ContextVar("dataqueue_in_step", default=False)


@dataclass(frozen=True, slots=True)
class TokenResult:
    """What a token brought (DataQueue "waitForToken").

    `ok` with `output`, and `completed_by` whom, when it was completed; `error` when its time was up.
    """

    ok: bool
    output: JSON = None
    error: str | None = None
    completed_by: str = ""


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where an execution began: when this process got the job (monotonic), in which transactions, in which process."""

    received_at: float
    transactions: Transactions
    process: int


class History:
    """What one execution has recorded, and may record."""

    def __init__(
        self,
        queue: QueueBase,
        job: ClaimedJob,
        signal: AbortSignal,
        reports: Reports,
        beginning: Beginning,
    ) -> None:
        self._queue = queue
        self._store = queue.store
        self._job = job
        self._run = Execution.of(job)
        self._recorder = Recorder(queue, self._run, signal, reports)
        self._beginning = beginning
        self._lock = RLock()
        self._steps: dict[tuple[StepKind, str], Step] | None = {} if job.claim_seq == 1 else None
        self._names: set[str] = set()
        self._places = dict.fromkeys(StepKind, 0)
        self._in_flight = 0
        self._closed = False
        self.suspension: Wait | None = None
        """What the handler waits for, once it was suspended."""
        self.violation: Exception | None = None
        """How the handler broke the rules of replay, once it has; it cannot go on, whatever it catches."""
        self.finished: Change | None = None
        """The change that completed the job already, in a transaction of the handler's own."""

    def close(self) -> None:
        """End it: the handler has ended."""
        self._closed = True

    # -- steps

    def open_step(self, name: str, what: str = "run()") -> OpenStep:
        """Return a step by its name: it knows whether it is recorded already."""
        key = self._begin_step(name, what)
        return OpenStep(self, key, self._known().get((StepKind.STEP, key)))

    @contextmanager
    def running_step(self) -> Iterator[None]:
        """While a step's function runs, in the caller's own context: no wait may begin."""
        with self._lock:
            self._in_flight += 1
        outer = _in_step.get()
        _in_step.set(True)
        try:
            yield
        finally:
            _in_step.set(outer)
            with self._lock:
                self._in_flight -= 1

    def keep(self, name: str, value: Any) -> JSON:
        """Record the result of a step and return it as every replay will get it."""
        result = step_result(name, value)
        self._record(recorded(self._run, StepKind.STEP, name, result))
        return result

    def run_atomic(self, name: str, function: Callable[[], Any]) -> JSON:
        """Run a step in one transaction with its record."""
        what = "run_atomic()"
        self._check_function(function, what)
        step = self.open_step(name, what)
        if step.is_recorded:
            return step.result

        def work() -> tuple[JSON, Change]:
            result = step_result(name, _plain(function(), what))
            return result, record(self._run, recorded(self._run, StepKind.STEP, step.name, result))

        with self.running_step():
            result, change = self._recorder.in_one_transaction(
                what, work, lambda: self._is_recorded(StepKind.STEP, step.name)
            )
        self._remember(change)
        return result

    def atomic_finish(self, function: Callable[[], Any], given: Callable[[Any], JSON]) -> JSON:
        """Run a function in one transaction with the completion of the job; `given` is the job's output."""
        what = "atomic_finish()"
        self._check_function(function, what)
        self._begin_durable(what)
        self._refuse_in_flight(what)

        def work() -> tuple[JSON, Change]:
            output = given(_plain(function(), what))
            return output, complete(self._run, output=output)

        output, change = self._recorder.in_one_transaction(what, work, self._is_completed)
        self.finished = change
        self.close()
        return output

    # -- waits and tokens

    def wait_for(self, duration: Any, units: dict[str, Any]) -> None:
        """Return if the wait is over, suspend the handler if not."""
        seconds = wait_seconds(duration, units)
        wait = self._next_wait(WaitKind.FOR, until=After(seconds))
        self._wait_for_time(wait, self._now() + timedelta(seconds=seconds))

    def wait_until(self, moment: Any) -> None:
        """Return if the time has come, suspend the handler if not."""
        until = wait_moment(moment, self._now())
        self._wait_for_time(self._next_wait(WaitKind.UNTIL, until=until), until)

    def wait_for_token(self, token: Any) -> TokenResult:
        """Return what the token brought, suspend the handler if it is not closed yet."""
        wait = self._next_wait(WaitKind.TOKEN, token=token_id(token))
        before = self._recorded_wait(wait)
        brought = None if before is None else before.result.get("outcome")
        if brought is None:
            found: Token | None = self._recorder.reading(lambda: self._store.fetch(Kind.TOKEN, str(wait.token_id)))
            if found is None and before is not None:  # it went with the job that made it, and had timed out before
                return TokenResult(**timed_out())
            if found is None:
                raise TokenNotFound(f"wait_for_token() got {shown(wait.token_id)}; there is no such token.")
            if not found.is_closed:
                self._suspend(wait)
            brought = outcome(found)
            self._record(wait.step(self._job.id, self._run.claim_seq, self._run.attempts, brought))
        return TokenResult(**brought)

    def create_token(self, timeout: Any, tags: Any, answer: Any) -> Token:
        """Return a new token, or the one that was made at this place before; within a step always a new one."""
        self._begin_durable("create_token()")
        fresh = new_token(uuid4(), timeout=timeout, tags=tags, answer_schema=schema_of(answer), job_id=self._job.id)
        if _in_step.get():
            self._record(fresh)
            return self._token(fresh.id)
        place = self._next_place(StepKind.TOKEN)
        before = self._known().get((StepKind.TOKEN, place))
        if before is None:
            self._record(fresh, recorded(self._run, StepKind.TOKEN, place, fresh.id))
        return self._token(fresh.id if before is None else before.result)

    def spawn(self, job: Spawnable | str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        """Add a job with a record of it, or return the id of the one that was added at this place before."""
        self._begin_durable("spawn()")
        spec = described_job(self._queue, job, args, kwargs)
        place = self._next_place(StepKind.SPAWN)
        before = self._known().get((StepKind.SPAWN, place))
        if before is None:
            self._check_room()
            result = {"jobType": spec.job_type, "jobId": SPAWNED}
            step = recorded(self._run, StepKind.SPAWN, place, result)
            answer = self._recorder.commit(
                record(self._run, step, spawn=spec), lambda: self._is_recorded(StepKind.SPAWN, place)
            )
            before = self._spawned(step, answer)
            self._remember_steps(before)
            if answer is not None:
                tell_of(self._queue, [(before.result["jobId"], spec)])
        elif before.result["jobType"] != spec.job_type:
            raise self._violated(
                NonDeterministicHandler(
                    f"Job {place} that this handler spawned was of the type {before.result['jobType']!r} and is "
                    f"{spec.job_type!r} now; expected it to spawn the same jobs in the same order as before."
                )
            )
        return int(before.result["jobId"])

    def _spawned(self, step: Step, answer: Committed | None) -> Step:
        """Return the record of a spawned job with its id; from the store if the answer that said it was lost."""
        if answer is not None:
            return replace(step, result={**step.result, "jobId": answer.spawned})
        mine = (one for one in self._read_steps() if (one.kind, one.name) == (step.kind, step.name))
        if (found := next(mine, None)) is None:  # somebody has deleted the job since
            raise self._recorder.lost()
        return found

    # -- what is allowed

    def check(self) -> None:
        """Raise what ends this handler, if something has: it waits, it broke the rules, or it has ended."""
        if self.suspension is not None:
            raise Suspend
        if self.violation is not None:
            raise self.violation.with_traceback(None)  # which would grow with each time
        if self._beginning.process != os.getpid():
            raise ContextClosed(f"This context belongs to process {self._beginning.process}, and this is a copy of it.")
        if self._closed:
            done = "has completed its job" if self.finished is not None else "has ended"
            raise ContextClosed(f"This context is used after its handler {done}; job {self._job.id} goes on without.")

    def _begin_durable(self, what: str) -> None:
        self.check()
        self._beginning.transactions.refuse(what)

    def _begin_step(self, name: Any, what: str) -> str:
        self._begin_durable(what)
        key = step_name(name)
        with self._lock:
            if key in self._names:
                raise self._violated(
                    DuplicateStepName(
                        f"Two steps of this handler are called {shown(key)}; expected a name of its own for each."
                    )
                )
            self._names.add(key)
        return key

    def _refuse_in_flight(self, what: str) -> None:
        with self._lock:
            if self._in_flight:
                raise InvalidWait(f"{what} was called while a step runs; expected it between steps.")

    @staticmethod
    def _check_function(function: Any, what: str) -> None:
        if not callable(function) or inspect.iscoroutinefunction(function):
            raise InvalidStep(
                f"{what} got {shown(function)}; expected a synchronous function without parameters, since a "
                "transaction belongs to one thread."
            )

    def _violated(self, why: Exception) -> Exception:
        self.violation = why
        return why

    # -- waiting

    def _next_wait(self, kind: WaitKind, *, until: datetime | After | None = None, token: str | None = None) -> Wait:
        what = f"{kind.value}()"
        self._begin_durable(what)
        self._refuse_in_flight(what)
        return Wait(kind=kind, place=int(self._next_place(StepKind.WAIT)), until=until, token_id=token)

    def _next_place(self, kind: StepKind) -> str:
        with self._lock:
            place = self._places[kind]
            self._places[kind] += 1
        return str(place)

    def _recorded_wait(self, wait: Wait) -> Step | None:
        before = self._known().get((StepKind.WAIT, str(wait.place)))
        if before is not None:
            try:
                check_same(wait, before)
            except NonDeterministicHandler as why:
                raise self._violated(why) from None
        return before

    def _wait_for_time(self, wait: Wait, until: datetime) -> None:
        """The end of a wait is fixed when it begins; by the store's clock, which this execution's claim has read."""
        before = self._recorded_wait(wait)
        if before is not None:
            until = before.until
            wait = replace(wait, until=until)
        if until > self._now():
            self._suspend(wait)

    def _suspend(self, wait: Wait) -> None:
        if (StepKind.WAIT, str(wait.place)) not in self._known():
            self._check_room()
        self.suspension = wait
        raise Suspend

    def _now(self) -> datetime:
        """The store's time, or a little less: as far as is known from the claim."""
        return self._job.locked_at + timedelta(seconds=time.monotonic() - self._beginning.received_at)

    # -- reading and writing

    def _known(self) -> dict[tuple[StepKind, str], Step]:
        with self._lock:
            if self._steps is None:
                self._steps = {(step.kind, step.name): step for step in self._read_steps()}
            return self._steps

    def _read_steps(self) -> list[Step]:
        return self._recorder.reading(lambda: self._store.steps(self._job.id))

    def _is_recorded(self, kind: StepKind, name: str) -> bool:
        """Whether this execution has recorded it; what an earlier one recorded it reads and does not write again."""
        mine = (kind, name, self._run.claim_seq)
        return any((step.kind, step.name, step.claim_seq) == mine for step in self._read_steps())

    def _is_completed(self) -> bool:
        event = self._recorder.reading(lambda: self._store.outcome_of(self._job.id, self._run.claim_seq))
        return event is not None and event.event_type is EventType.COMPLETED

    def _token(self, id: str) -> Token:
        found: Token | None = self._recorder.reading(lambda: self._store.fetch(Kind.TOKEN, id))
        if found is None:
            raise TokenNotFound(f"The token {shown(id)} that this handler made is gone.")
        return found

    def _check_room(self) -> None:
        if len(self._known()) >= MOST_STEPS:
            raise InvalidStep(
                f"This job has {MOST_STEPS} steps, waits and tokens already, which is the most there can be."
            )

    def _record(self, *put: Step | Token) -> None:
        steps = [one for one in put if isinstance(one, Step)]
        if any((step.kind, step.name) not in self._known() for step in steps):
            self._check_room()
        tokens = [one for one in put if isinstance(one, Token)]
        self._recorder.commit(
            record(self._run, *put),
            lambda: (
                all(self._is_recorded(step.kind, step.name) for step in steps)
                and all(self._store.fetch(Kind.TOKEN, token.id) is not None for token in tokens)
            ),
        )
        self._remember_steps(*steps)

    def _remember(self, change: Change) -> None:
        self._remember_steps(*(one for one in change.put if isinstance(one, Step)))

    def _remember_steps(self, *steps: Step) -> None:
        known = self._known()
        for step in steps:
            known[step.kind, step.name] = step


@dataclass(frozen=True, slots=True)
class OpenStep:
    """A step that was begun."""

    history: History
    name: str
    found: Step | None

    @property
    def is_recorded(self) -> bool:
        """Whether it was done before."""
        return self.found is not None

    @property
    def result(self) -> JSON:
        """What it returned then."""
        return None if self.found is None else self.found.result

    def keep(self, value: Any) -> JSON:
        """Record what it returned now."""
        return self.history.keep(self.name, value)


def _plain(value: Any, what: str) -> Any:
    """Refuse a coroutine: it would run after the transaction."""
    if inspect.isawaitable(value):
        if inspect.iscoroutine(value):
            value.close()
        raise InvalidStep(f"the function given to {what} returned {shown(value)}; expected a synchronous function.")
    return value
