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

from ..announcing import is_heard
from ..domain.changes import Alternatives
from ..domain.records import Claim, ClaimedJob, EventType
from ..domain.transitions import Execution, or_cancelled, release
from ..exceptions import JobStateError
from ..logs import worker as logger
from ..queue.base import QueueBase
from . import mail
from .announcer import HURRIED, LAST_RECEIVERS, Announcer
from .begun import BegunTable
from .cancelling import Cancelling
from .claiming import Claiming
from .closing_rates import ClosingRates
from .coroutines import EventLoopThread
from .counting import Counting
from .ending import Ending
from .finishing import Finisher
from .heart import Heart
from .isolation.isolated_run import IsolatedRunner
from .isolation.pool import Children
from .keeping_lines import bridge
from .leaving import Leaving
from .mail import ExitCode
from .membership import Membership
from .options import ProcessorOptions
from .outcomes import Cancelled, bringing_along, change_for, timed_out
from .reporting import Reporting
from .running import Runner
from .scheduling import Clockwork
from .signal import AbortReason
from .slots import Run, Slots
from .threads import HandlerThreads
from .upkeep import Upkeep
from .wedging import WedgeWatch

LONGEST_SLEEP = 5.0
STALE_LOOK = 0.2
"""Seconds between two looks whether the heart has reached the store again."""


class WorkerLoop:
    """One worker, from its registration to its end. `run` blocks until then and returns the exit code."""

    def __init__(
        self,
        queue: QueueBase,
        options: ProcessorOptions | None = None,
        begun: BegunTable | None = None,
        on_error: Callable[[Exception], object] | None = None,
    ) -> None:
        self.options = options or ProcessorOptions()
        self.settings = self.options.over(queue.settings.worker)
        self.label = self.options.worker_id or f"{socket.gethostname()}-{os.getpid()}"
        self._store = queue.store
        self._mail: SimpleQueue[mail.Letter] = SimpleQueue()
        self._slots = Slots(self.options.concurrency or self.settings.concurrency)
        self._announcer = Announcer(self._store.alias, on_error)
        self._counting = Counting(self._store)
        self._heart = Heart(
            self._store,
            queue.notifier,
            self.settings,
            on_expired=lambda worker_id: self._mail.put(mail.Expired(worker_id)),
            on_wake=lambda: self._mail.put(mail.Wake()),
        )
        self._children = Children(queue.alias, self.settings, self._slots.size)
        isolated = IsolatedRunner(
            self._children, self.settings.crash_limit, self.settings.cancel_grace, self._heart.lease_is_over
        )
        self._runner = Runner(
            queue,
            self._slots,
            begun,
            isolated=isolated,
            isolates=self.settings.isolates,
            must_stop=self._heart.must_stop,
            post=self._mail.put,
            count=lambda run: self._counting.began(run.job, run.held),
        )
        self._threads = HandlerThreads(self._slots, self._runner.run_in_thread)
        self._loop = EventLoopThread(self._slots, self._runner.run_on_loop)
        self._slots.on_async = self._loop.poke
        self._slots.on_room = lambda run: self._mail.put(mail.Returned(run))
        self._membership = Membership(self._store, self.settings, self.label, self._heart, begun)
        self._claiming = Claiming(
            self._store, queue.handlers, self.options, self.settings, self._slots, lambda: self._heart.hears
        )
        self._finisher = Finisher(self._store, begun, self._announcer.announce, self._counting.ended)
        self._closing_rates = ClosingRates(self._store)
        self._reporting = Reporting(self._store, self._announcer.announce)
        self._upkeep = Upkeep(
            self._store,
            queue.settings,
            self._announcer.announce,
            label=self.label,
            handlers=queue.handlers,
            on_error=self._announcer.error,
        )
        self._clockwork = Clockwork(queue, self._announcer.announce)
        self._ending = Ending()
        self._wedge = WedgeWatch(self._slots, self.settings.wedged_after, is_supervised=begun is not None)
        self._session = self._store.private_session()
        self._open: set[Run] = set()
        self._cancelling = Cancelling(self._store, self._open, self.settings, lambda: self._heart.hears)
        self._alone: Run | None = None
        self._reap_at = 0.0
        self._unsure = False
        self._failures = 0
        self._not_before = 0.0
        self.cut_off = 0
        """How many handlers still ran when their jobs were given back at the end."""

    # -- asked from outside, by any thread or signal handler

    def stop(self, within: float | None = None) -> None:
        """Take no new jobs, let what runs finish within so many seconds (default: the drain limit), then end."""
        self._mail.put(mail.Stop(self.settings.drain if within is None else within))

    def give_back(self, code: int = ExitCode.TERMINATED) -> None:
        """Give every job back now, without using up an attempt, and end with `code`."""
        self._mail.put(mail.GiveBack(code))

    @property
    def busy(self) -> bool:
        """Whether a handler still runs; once `run` has returned, the process should end without waiting for it."""
        return bool(self._slots.running())

    @property
    def claimed(self) -> int:
        """How many jobs were claimed and not given back unstarted."""
        return self._claiming.taken

    @property
    def has_drained(self) -> bool:
        """Whether, at the end, every handler had come to its own end and every outcome was stored."""
        return self.cut_off == 0 and self._is_done()

    @property
    def failure(self) -> Exception | None:
        """Why nothing could be claimed, where the options say not to wait for the store."""
        return self._ending.failure

    # -- the loop

    def run(self) -> int:
        """Work until told to stop; an unreachable store is waited for. Returns how it ended.

        Raises JobStateError inside a transaction of the caller's, which a worker's claims must not be part of.
        """
        if self._store.in_transaction():
            raise JobStateError("A worker cannot run inside a transaction; call it outside of atomic().")
        if self.settings.job_logs:
            bridge.install()
        try:
            with self._session:
                self._threads.start()
                if self.settings.isolate or self.settings.isolate_queues:
                    self._children.warm_up(self._slots.size)
                while self._ending.code is None:
                    self._turn()
                    self._read_mail()
                self._wind_up(self._ending.code)
        finally:
            self._slots.close()
            self._children.close()
            self._heart.stop()
            self._threads.join()
            if self.settings.job_logs:
                bridge.remove()
            self._announcer.close(within=LAST_RECEIVERS if self._ending.code == ExitCode.DRAINED else HURRIED)
        return self._ending.code

    def _turn(self) -> None:
        """One round: what time brings, then the store, then whether this is the end."""
        self._pass_deadlines()
        self._leave_the_deaf()
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
            self._counting.writer = self._membership.id
            self._unsure = False
        if self._unsure:
            self._unsure = not self._membership.release_unknown(self._known())
        self._look_after_others()
        self._fire_schedules()
        self._return_unstarted()
        if not self._heart.must_stop():
            self._cancelling.look()
        self._reporting.save(self._open)
        self._closing_rates.close()  # before the next claim, which may come with the outcomes
        claim = self._next_claim()
        if claim is not None or self._finisher.due_at <= time.monotonic():
            self._exchange(claim)
        self._counting.write_when_due()

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
        for job in jobs if is_heard(EventType.PROCESSING) else ():
            self._announcer.announce(
                EventType.PROCESSING,
                job_id=job.id,
                job_type=job.job_type,
                queue=job.queue,
                attempt=job.attempts,
                worker=self.label,
            )
        runs = [self._runner.new_run(job) for job in jobs]
        self._alone = runs[0] if claim.crashed and runs else None
        self._open.update(runs)
        self._slots.hold(runs)

    def _next_claim(self) -> Claim | None:
        if self._ending.stop_at is not None or self._runs_alone() or self._heart.must_stop():
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

    def _fire_schedules(self) -> None:
        if not self._heart.must_stop() and self._clockwork.look():
            self._claiming.soon()

    def _return_unstarted(self) -> None:
        """Give back jobs that were claimed ahead and have not started in time; a single batch is run to its end."""
        if self.options.once:
            return
        for run in self._slots.withdraw(time.monotonic() - self.settings.hold):
            self._claiming.pace.stalled()
            self._give_back_unstarted(run, "not_started")

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
            self._announcer.error(error)
            if not self.options.patient and not self._claiming.has_answer:
                self._ending.fail(error)
        else:
            if self._failures:
                logger.info("the store can be used again")
            self._failures, self._not_before = 0, 0.0

    # -- the end of a run

    def _pass_deadlines(self) -> None:
        """End the runs past their deadline: the outcome is stored now, a thread keeps its slot until it returns."""
        now = time.monotonic()
        for run in self._slots.running():
            if not run.decided and run.deadline.has_passed(now) and self._slots.decide(run):
                run.abort(AbortReason.TIMEOUT)
                self._close(run, change_for(run.job, timed_out(run.job, run.handler), run.context))

    def _leave_the_deaf(self) -> None:
        """Cancel the jobs whose handlers do not stop although somebody asked; a thread keeps its slot until it returns.

        Those in children are cancelled by the thread that stands for them, once they are dead.
        """
        for run in self._cancelling.deaf():
            if self._slots.decide(run):
                run.abort(AbortReason.CANCELLED)
                self._close(run, change_for(run.job, Cancelled(), run.context))

    def _give_back_unstarted(self, run: Run, why: str) -> None:
        self._claiming.returned(1)
        self._close(run, _release(run.job, why))

    def _close(self, run: Run, item: Alternatives) -> None:
        """Hand the outcome of a run to the finisher; here it is over."""
        self._forget(run)
        self._finisher.add(run.job, item, run.seconds)

    def _forget(self, run: Run) -> None:
        self._open.discard(run)
        self._reporting.discard(run)
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
            case mail.Ended(run, item, rate_limited_for):
                if rate_limited_for is not None:
                    self._closing_rates.add(run.job, rate_limited_for)
                if run.began_at is not None:
                    self._claiming.pace.ran(run.job.job_type, run.seconds)
                self._close(run, bringing_along(item, run.context.reports.unsaved()))
            case mail.Finished(run, item):
                self._claiming.pace.ran(run.job.job_type, run.seconds)
                self._forget(run)
                self._finisher.was_stored(run.job, item, run.seconds)
            case mail.Returned(_):
                self._claiming.soon()
            case mail.Started(_):
                pass  # its deadline now counts in how long to sleep
            case mail.Reported(run):
                self._reporting.add(run)
            case mail.Wake():
                self._claiming.woken()
                self._cancelling.woken()
                self._clockwork.woken()
            case mail.Expired(worker_id):
                self._lose_everything(worker_id)
            case mail.Stop(within):
                self._begin_to_stop(within)
            case mail.GiveBack(code):
                self._ending.now(code)

    def _pause(self) -> float:
        """Return for how many seconds nothing is going to happen by itself."""
        if self._ending.code is not None:
            return 0.0
        now = time.monotonic()
        stale = self._heart.must_stop()
        store = [self._finisher.due_at, now + STALE_LOOK if stale else self._reap_at]
        store += [self._reporting.due_at, self._counting.due_at]
        if not stale:
            store += [self._cancelling.due_at(), self._clockwork.due_at]
        if self._slots.held() and not self.options.once:
            store.append(now + self.settings.hold / 2)
        if self._ending.stop_at is None and not stale and not self._runs_alone():
            store.append(self._claiming.due_at(idle=self._is_idle()))
        moments = [max(min(store), self._not_before), now + LONGEST_SLEEP]
        if self._ending.stop_at is not None:
            moments.append(self._ending.stop_at)
        moments += [at for run in self._slots.running() if not run.decided and (at := run.deadline.look_at)]
        moments.append(self._cancelling.deaf_at())
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
            self._give_back_unstarted(run, "lease_lost")
        for run in self._slots.running():
            run.abort(AbortReason.LEASE_LOST)
        self._reap_at = (
            time.monotonic() + self.settings.heartbeat
        )  # what never began is released before it is reclaimed

    def _begin_to_stop(self, within: float) -> None:
        if not self._ending.stop_within(within):
            return
        logger.info("worker %s takes no new jobs and ends within %g s", self.label, within)
        for run in self._slots.withdraw():
            self._give_back_unstarted(run, "shutdown")
        if self._membership.row is not None:
            self._carefully(self._membership.announce_stop)

    def _look_for_the_end(self) -> None:
        exhausted = self._claiming.exhausted
        if self.options.once and exhausted and self._ending.stop_at is None and not self._open and not self._is_done():
            self._ending.stop_within(self.settings.drain)  # an outage that begins meanwhile is not waited for for ever
        self._ending.look(done=self._is_done(), exhausted=exhausted, wedged=self._wedge.calls_for_the_end())

    def _wind_up(self, code: int) -> None:
        """Give back whatever has not ended, and leave. The last thing the process does with the store."""
        self._slots.close()
        for run in self._slots.withdraw():
            self._give_back_unstarted(run, "shutdown")
        for run in self._slots.running():
            if self._slots.decide(run):
                self.cut_off += 1
                run.abort(AbortReason.SHUTDOWN)
                self._close(run, _release(run.job, "shutdown"))
        self._children.close()  # before their jobs are anybody's
        self._open_all(self._next_letter(0.0))  # outcomes that were posted meanwhile
        self._closing_rates.close()
        self._ending.now(code)
        self._heart.stop()
        self._loop.stop()
        leaving = Leaving(self._finisher, self._membership, lambda: self._unsure, keep_row=not self.options.once)
        leaving.leave(self._carefully_at_last)
        if self._membership.row is None:  # else the store cannot be used
            self._carefully(self._counting.write)

    def _carefully_at_last(self, leave: Callable[[], None]) -> float:
        self._carefully(leave)
        return max(0.0, self._not_before - time.monotonic())


def _release(job: ClaimedJob, why: str) -> Alternatives:
    return or_cancelled((release(Execution.of(job), why=why),))
