"""The loop of one worker process: claim, hand to the slots, commit outcomes, keep the lease, help the fallen.

All is decided in one thread, the one that calls `run`. It alone talks to the store, over a connection of its own;
handlers and the heartbeat post letters to it.
"""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

from ..domain.changes import Alternatives
from ..domain.records import Claim, ClaimedJob, EventType
from ..domain.transitions import Execution, release, write_progress
from ..exceptions import JobStateError
from ..logs import handler_error, state_change
from ..logs import worker as logger
from ..queue import JobQueue
from . import mail
from .begun import BegunTable
from .claiming import Claiming, ProcessorOptions
from .context import JobContext
from .coroutines import EventLoopThread
from .executor import run_async, run_sync
from .finishing import Finisher
from .heart import Heart
from .mail import ExitCode
from .membership import Membership
from .outcomes import Failed, Outcome, Released, change_for, timed_out
from .signal import AbortReason, AbortSignal
from .slots import Run, Slots
from .threads import HandlerThreads
from .upkeep import Upkeep

LONGEST_SLEEP = 5.0
STALE_LOOK = 0.2
"""Seconds between two looks whether the heart has reached the store again."""

PROGRESS_EVERY = 0.5
LAST_TRIES, LAST_SECONDS = 3, 2.0
"""How often a worker that ends tries to give its jobs back, and how long it waits for records that somebody else holds;
then they are left to the others."""


class Processor:
    """One worker. `run` blocks until it is asked to stop and returns the exit code."""

    def __init__(
        self, queue: JobQueue, options: ProcessorOptions | None = None, begun: BegunTable | None = None
    ) -> None:
        self.options = options or ProcessorOptions()
        self.settings = queue.settings.worker
        self.label = self.options.worker_id or f"{socket.gethostname()}-{os.getpid()}"
        self._handlers = queue.handlers
        self._store = queue.store
        self._begun = begun
        self._mail: SimpleQueue[mail.Letter] = SimpleQueue()
        self._slots = Slots(self.options.concurrency or self.settings.concurrency)
        self._threads = HandlerThreads(self._slots, self._run_in_thread)
        self._loop = EventLoopThread(self._slots, self._run_on_loop)
        self._slots.on_async = self._loop.poke
        self._slots.on_room = lambda run: self._mail.put(mail.Returned(run))
        self._heart = Heart(
            self._store,
            queue.notifier,
            self.settings,
            on_expired=lambda worker_id: self._mail.put(mail.Expired(worker_id)),
            on_wake=lambda: self._mail.put(mail.Wake()),
        )
        self._membership = Membership(self._store, self.settings, self.label, self._heart, begun)
        self._claiming = Claiming(
            self._store, queue.handlers, self.options, self.settings, self._slots, lambda: self._heart.hears
        )
        self._finisher = Finisher(self._store, begun)
        self._upkeep = Upkeep(self._store, queue.settings)
        self._session = self._store.private_session()
        self._open: set[Run] = set()
        self._reporting: set[Run] = set()
        self._alone: Run | None = None
        self._exit: int | None = None
        self._stop_at: float | None = None
        self._reap_at = 0.0
        self._report_at = 0.0
        self._unsure = False
        self._failures = 0
        self._not_before = 0.0
        self._wedged_since: float | None = None

    # -- asked from outside, by any thread or signal handler

    def stop(self) -> None:
        """Take no new jobs, finish what runs within the drain limit, then end."""
        self._mail.put(mail.Stop())

    def give_back(self, code: int = ExitCode.TERMINATED) -> None:
        """Give every job back now, without using up an attempt, and end with `code`."""
        self._mail.put(mail.GiveBack(code))

    @property
    def busy(self) -> bool:
        """Whether a handler still runs; once `run` has returned, the process should end without waiting for it."""
        return bool(self._slots.running())

    # -- the loop

    def run(self) -> int:
        """Work until told to stop; an unreachable store is waited for. Returns how it ended.

        Raises JobStateError inside a transaction of the caller's, which a worker's claims must not be part of.
        """
        if self._store.in_transaction():
            raise JobStateError("A worker cannot run inside a transaction; call it outside of atomic().")
        with self._session:
            self._threads.start()
            try:
                while self._exit is None:
                    self._turn()
                    self._read_mail()
                self._wind_up()
            finally:
                self._heart.stop()
        return self._exit

    def _turn(self) -> None:
        """One round: what time brings, then the store, then whether this is the end."""
        self._pass_deadlines()
        if time.monotonic() >= self._not_before:
            self._carefully(self._talk_to_store)
        self._look_for_the_end()

    def _talk_to_store(self) -> None:
        if self._membership.row is None:
            self._store.prepare()
            types = self._claiming.types()
            self._membership.register(
                queues=self.options.queues,
                exclude_queues=self.options.exclude_queues,
                job_types=types,
                concurrency=self._slots.size,
            )
            self._unsure = False
        if self._unsure:
            self._unsure = not self._membership.release_unknown(self._known())
        self._look_after_others()
        self._return_unstarted()
        self._save_progress()
        claim = self._next_claim()
        if claim is not None or self._finisher.due_at <= time.monotonic():
            self._exchange(claim)

    def _exchange(self, claim: Claim | None) -> None:
        """Commit what ended and claim what can start, in one call where the store can do that."""
        sent_at = time.monotonic()
        jobs = self._finisher.exchange(claim)
        self._unsure = self._unsure or self._finisher.claim_unknown
        if claim is None:
            return
        if self._heart.must_stop():  # the answer took so long that somebody may own these jobs by now
            for job in jobs:
                self._finisher.add(job, _release(job, "late"))
            return
        self._claiming.answered(claim, jobs, sent_at, idle=self._is_idle())
        for job in jobs:
            state_change(
                EventType.PROCESSING, job_id=job.id, job_type=job.job_type, attempt=job.attempts, worker=self.label
            )
        runs = [self._new_run(job) for job in jobs]
        self._alone = runs[0] if claim.crashed and runs else None
        self._open.update(runs)
        self._slots.hold(runs)

    def _next_claim(self) -> Claim | None:
        if self._stop_at is not None or self._runs_alone() or self._heart.must_stop():
            return None
        return self._claiming.next(self._membership.id, self.label, idle=self._is_idle())

    def _runs_alone(self) -> bool:
        """Whether a job that must run alone has not left its slot yet."""
        if self._alone not in self._open and self._alone not in self._slots.running():
            self._alone = None
        return self._alone is not None

    def _known(self) -> set[tuple[int, int]]:
        """The executions that this process knows to be its own, as (job id, claim_seq)."""
        return {(run.job.id, run.job.claim_seq) for run in self._open} | self._finisher.executions()

    def _look_after_others(self) -> None:
        now = time.monotonic()
        if now < self._reap_at or self._heart.must_stop():
            return
        self._reap_at = now + self.settings.reap_every * random.uniform(0.9, 1.0)
        if self._upkeep.round(self._membership.id, self._heart.unbroken_since()):
            self._claiming.soon()
        self._reap_at = min(self._reap_at, self._upkeep.ripe_at + 0.01)
        self._unsure = self._unsure or self._membership.holds_more_than(len(self._known()))

    def _return_unstarted(self) -> None:
        """Give back jobs that were claimed ahead and have not started in time."""
        for run in self._slots.withdraw(time.monotonic() - self.settings.hold):
            self._claiming.pace.stalled()
            self._close(run, _release(run.job, "not_started"))

    def _save_progress(self) -> None:
        """Store reported progress, at most every half second for all runs together."""
        now = time.monotonic()
        if not self._reporting or now < self._report_at:
            return
        self._report_at = now + PROGRESS_EVERY
        runs, self._reporting = self._reporting, set()
        found = [(run, fields) for run in runs & self._open if (fields := run.context.unsaved_progress())]
        items = [(write_progress(Execution.of(run.job), fields),) for run, fields in found]
        self._store.commit(items, wait=False)

    def _carefully(self, action: Callable[[], None]) -> None:
        """Do something with the store; when that fails, say so, pause a little and go on."""
        try:
            action()
        except Exception as error:
            self._failures += 1
            pause = min(3.0, 0.05 * 2 ** min(self._failures, 6)) * random.uniform(0.5, 1.0)
            self._not_before, self._unsure = time.monotonic() + pause, True
            if self._store.is_lost_connection(error):
                logger.warning("the store cannot be used, next try in %.1f s: %s", pause, str(error).strip())
            else:
                logger.exception("the worker's loop failed, next try in %.1f s", pause)
            self._session.reset()
        else:
            if self._failures:
                logger.info("the store can be used again")
            self._failures, self._not_before = 0, 0.0

    # -- one run, from its claim to its outcome

    def _new_run(self, job: ClaimedJob) -> Run:
        signal = AbortSignal(self._heart.must_stop)
        context = JobContext(job, signal, lambda: self._mail.put(mail.Progress(run)))
        run = Run(job, self._handlers.get(job.job_type), signal, context)
        return run

    def _run_in_thread(self, run: Run) -> None:
        self._end(run, run_sync(run.job, run.handler, run.context) if self._begin(run) else Released("lease_lost"))

    async def _run_on_loop(self, run: Run) -> None:
        if run.handler is not None and self._begin(run):
            self._end(run, await run_async(run.job, run.handler, run.context))
        else:
            self._end(run, Released("lease_lost"))

    def _begin(self, run: Run) -> bool:
        """Note that a handler starts; refused while this worker may not act for its jobs."""
        if self._heart.must_stop():
            return False
        if self._begun is not None:
            self._begun.begin(run.job.id, run.job.claim_seq)
        run.began_at = time.monotonic()
        if run.job.timeout_ms is not None:
            run.deadline = run.began_at + run.job.timeout_ms / 1000
            self._mail.put(mail.Started(run))
        return True

    def _end(self, run: Run, outcome: Outcome) -> None:
        """Post a handler's outcome, unless its deadline has decided already."""
        run.ended_at = time.monotonic()
        if isinstance(outcome, Failed) and outcome.error is not None and not run.decided:
            _log_error(run.job, outcome, outcome.error)
        letter = mail.Ended(run, change_for(run.job, outcome, run.context))
        self._slots.decide(run, lambda: self._mail.put(letter))

    def _pass_deadlines(self) -> None:
        """End the runs past their deadline: the outcome is stored now, a thread keeps its slot until it returns."""
        now = time.monotonic()
        for run in self._slots.running():
            if run.deadline is not None and run.deadline <= now and self._slots.decide(run):
                run.abort(AbortReason.TIMEOUT)
                self._close(run, change_for(run.job, timed_out(run.job, run.handler), run.context))

    def _close(self, run: Run, item: Alternatives) -> None:
        """Hand the outcome of a run to the finisher; here it is over."""
        self._open.discard(run)
        self._reporting.discard(run)
        self._finisher.add(run.job, item)
        self._claiming.soon()

    # -- the mailbox

    def _read_mail(self) -> None:
        """Wait for a letter or until something is due, then open all there are."""
        self._open_all(self._next_letter(self._pause()))

    def _open_all(self, letter: mail.Letter | None) -> None:
        while letter is not None:
            self._open_letter(letter)
            letter = self._next_letter(0.0)

    def _next_letter(self, seconds: float) -> mail.Letter | None:
        try:
            return self._mail.get(timeout=seconds) if seconds > 0 else self._mail.get_nowait()
        except Empty:
            return None

    def _open_letter(self, letter: mail.Letter) -> None:
        match letter:
            case mail.Ended(run, item):
                if run.began_at is not None:
                    self._claiming.pace.ran(run.job.job_type, run.seconds)
                self._close(run, item)
            case mail.Returned(_):
                self._claiming.soon()
            case mail.Started(_):
                pass  # its deadline now counts in how long to sleep
            case mail.Progress(run):
                self._reporting.add(run)
            case mail.Wake():
                self._claiming.woken()
            case mail.Expired(worker_id):
                self._lose_everything(worker_id)
            case mail.Stop():
                self._begin_to_stop()
            case mail.GiveBack(code):
                self._exit = code

    def _pause(self) -> float:
        """Return for how many seconds nothing is going to happen by itself."""
        if self._exit is not None:
            return 0.0
        now = time.monotonic()
        stale = self._heart.must_stop()
        store = [self._finisher.due_at, now + STALE_LOOK if stale else self._reap_at]
        if self._reporting:
            store.append(self._report_at)
        if self._slots.held():
            store.append(now + self.settings.hold / 2)
        if self._stop_at is None and not stale and not self._runs_alone():
            store.append(self._claiming.due_at(idle=self._is_idle()))
        moments = [max(min(store), self._not_before), now + LONGEST_SLEEP]
        if self._stop_at is not None:
            moments.append(self._stop_at)
        moments += [run.deadline for run in self._slots.running() if run.deadline and not run.decided]
        return max(0.0, min(moments) - now)

    def _is_done(self) -> bool:
        """Whether every outcome is stored; a handler past its deadline may still hold a slot."""
        return not self._open and self._finisher.empty

    def _is_idle(self) -> bool:
        """Whether nothing is left to store and no handler runs."""
        return self._is_done() and not self._slots.running()

    # -- losing the lease, and ending

    def _lose_everything(self, worker_id: int) -> None:
        """The row has expired, so its jobs may be anybody's: abort what runs, forget what is held, register anew."""
        if not self._membership.lost(worker_id):
            return
        logger.error("worker %d was taken for dead: its jobs are given up and it registers anew", worker_id)
        for run in self._slots.withdraw():
            self._close(run, _release(run.job, "lease_lost"))
        for run in self._slots.running():
            run.abort(AbortReason.LEASE_LOST)
        self._reap_at = (
            time.monotonic() + self.settings.heartbeat
        )  # what never began is released before it is reclaimed

    def _begin_to_stop(self) -> None:
        if self._stop_at is not None:
            return
        logger.info("worker %s takes no new jobs and ends within %g s", self.label, self.settings.drain)
        self._stop_at = time.monotonic() + self.settings.drain
        for run in self._slots.withdraw():
            self._close(run, _release(run.job, "shutdown"))
        if self._membership.row is not None:
            self._carefully(self._membership.announce_stop)

    def _look_for_the_end(self) -> None:
        now = time.monotonic()
        drained = self._stop_at is not None and (self._is_done() or now >= self._stop_at)
        if drained or (self.options.burst and self._is_done() and self._claiming.found_nothing):
            self._exit = ExitCode.DRAINED
        elif self._is_wedged(now):
            self._exit = ExitCode.WEDGED

    def _is_wedged(self, now: float) -> bool:
        """Whether every slot has long been held by a handler that overran its deadline, and a supervisor can help."""
        running = self._slots.running()
        if len(running) < self._slots.size or not all(run.decided and run.deadline for run in running):
            self._wedged_since = None
            return False
        if self._wedged_since is None:
            self._wedged_since = now
        if now - self._wedged_since < self.settings.wedged_after:
            return False
        if self._begun is not None:
            logger.error("every slot is held by a handler past its deadline; the process ends to be restarted")
            return True
        logger.error("every slot is held by a handler past its deadline; this worker does nothing until one returns")
        self._wedged_since = now
        return False

    def _wind_up(self) -> None:
        """Give back whatever has not ended, and leave. The last thing the process does with the store."""
        self._slots.close()
        for run in [*self._slots.withdraw(), *self._slots.running()]:
            if self._slots.decide(run):
                run.abort(AbortReason.SHUTDOWN)
                self._close(run, _release(run.job, "shutdown"))
        code = self._exit
        self._open_all(self._next_letter(0.0))  # outcomes that were posted meanwhile
        self._exit = code
        self._heart.stop()
        self._loop.stop()
        for _ in range(LAST_TRIES):
            self._carefully(self._leave)
            if self._membership.row is None and self._finisher.empty:
                return
            time.sleep(max(0.0, self._not_before - time.monotonic()))
        logger.error("the last jobs could not be given back; other workers will reclaim them")

    def _leave(self) -> None:
        """Store what is left, also after the row was lost: it may still be ours."""
        until = time.monotonic() + LAST_SECONDS
        while not self._finisher.empty and time.monotonic() < until:
            time.sleep(max(0.0, min(self._finisher.due_at, until) - time.monotonic()))
            self._finisher.exchange(None)
        if self._membership.row is not None:
            self._membership.leave()


def _log_error(job: ClaimedJob, outcome: Failed, error: BaseException) -> None:
    final = outcome.retry_in is None or job.attempts >= job.max_attempts
    handler_error(error, job_id=job.id, job_type=job.job_type, attempt=job.attempts, final=final)


def _release(job: ClaimedJob, why: str) -> Alternatives:
    return (release(Execution.of(job), why=why),)
