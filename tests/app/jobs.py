"""Jobs that exist for the tests only; found by autodiscovery."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from dataqueue_django import AsyncJobContext, GiveUp, JobContext, RateLimited, RetryLater, Snooze, get_queue, job
from dataqueue_django.domain.records import Token
from dataqueue_django.exceptions import LeaseLost
from tests.app.carriers import request_id
from tests.app.models import BusinessRow
from tests.harness.ledger import BEGIN, END, NOTE, Ledger

PATIENCE = 240.0
"""Seconds after which a handler that waits for a file gives up, so that no broken test leaves a process behind."""


@job("harness.act", takes_context=True, retry_delay=0.001, retry_backoff="fixed")
def act(ctx: JobContext, acts: list[str]) -> Any:
    """Do as told: the n-th claim of the job does the n-th of `acts`, later ones the last.

    An act is a word, with an argument after a colon: ok, ok:output, fail, give_up, snooze, snooze:seconds,
    retry_later:seconds, sleep:seconds, wait:path (until the file exists), stubborn:path (the same, deaf to the abort
    signal), progress:percent, die (SIGKILL to the own process). Several, joined by "+", are done in turn.
    Beginning and end are written to the ledger.
    """
    with Effects(ctx):
        return perform(ctx, chosen(ctx, acts))


@job("harness.act_async", takes_context=True, retry_delay=0.001, retry_backoff="fixed")
async def act_async(ctx: JobContext, acts: list[str]) -> Any:
    """`act` on the event loop; sleeping and waiting leave the loop free."""
    with Effects(ctx):
        words = chosen(ctx, acts)
        for word in words.split("+"):
            name, _, argument = word.partition(":")
            if name == "sleep":
                await asyncio.sleep(float(argument))
            elif name == "wait":
                until = time.monotonic() + PATIENCE
                while not Path(argument).exists() and not ctx.signal.aborted and time.monotonic() < until:
                    await asyncio.sleep(0.01)
            else:
                perform(ctx, word)


@job("harness.durable", takes_context=True, retry_delay=0.001, retry_backoff="fixed")
def durable(ctx: JobContext, acts: list[str]) -> Any:
    """`act` with words that are recorded: what is done at a place is the same in every execution.

    run:name (its effect is a note in the ledger), atomic:name and finish:name (theirs is a row, in the transaction of
    the record), pause:seconds, token:seconds (make one with that timeout and wait for it), await:token, spawn:act,
    log:line, prolong. Beside them there are the words of `act`, and zombie: try all of it, and note what was refused.
    """
    with Effects(ctx):
        result = None
        for word in chosen(ctx, acts).split("+"):
            name, _, argument = word.partition(":")
            result = _one_durable(ctx, name, argument)
        return result


class Effects:
    """Writes the beginning and the end of an execution to the ledger; an end also when the handler raises."""

    def __init__(self, ctx: JobContext) -> None:
        self._ledger = Ledger.of_process()
        self._facts = {"job": ctx.job.id, "claim_seq": ctx.job.claim_seq, "attempt": ctx.attempt}

    def __enter__(self) -> None:
        if self._ledger is not None:
            self._ledger.write(BEGIN, **self._facts)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._ledger is not None:
            self._ledger.write(END, **self._facts, note=kind.__name__ if kind else "")


def chosen(ctx: JobContext, acts: list[str]) -> str:
    """Return what this claim of the job is to do; the fence is odd and grows by two from claim to claim."""
    return acts[min(ctx.job.claim_seq // 2, len(acts) - 1)]


def perform(ctx: JobContext, words: str) -> Any:
    """Do the acts in `words` in turn and return what the last one returns."""
    result = None
    for word in words.split("+"):
        name, _, argument = word.partition(":")
        result = _one(ctx, name, argument)
    return result


def _one(ctx: JobContext, name: str, argument: str) -> Any:
    match name:
        case "ok":
            return argument or None
        case "fail":
            raise ValueError(argument or "told to fail")
        case "give_up":
            raise GiveUp("told to give up")
        case "snooze":
            raise Snooze(float(argument or 0))
        case "rate_limited":
            raise RateLimited(float(argument or 0))
        case "retry_later":
            raise RetryLater(float(argument or 0))
        case "sleep":
            ctx.signal.wait(float(argument))
        case "wait" | "stubborn":
            _wait_for(ctx, Path(argument), deaf=name == "stubborn")
        case "progress":
            ctx.set_progress(float(argument), f"at {argument}")
        case "note":
            _note(ctx, argument)
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case _:
            raise LookupError(f"no act is called {name!r}")
    return None


def _one_durable(ctx: JobContext, name: str, argument: str) -> Any:
    match name:
        case "run":
            return ctx.run(argument, lambda: _note(ctx, argument))
        case "atomic":
            return ctx.run_atomic(argument, lambda: _row(ctx, argument))
        case "finish":
            ctx.atomic_finish(lambda: _row(ctx, argument))
        case "pause":
            ctx.wait_for(float(argument))
        case "token":
            return _answer(ctx, ctx.create_token(timeout=float(argument)))
        case "await":
            return _answer(ctx, argument)
        case "spawn":
            return ctx.spawn(act.using(queue=ctx.job.queue), acts=[argument])
        case "log":
            ctx.log(argument)
        case "prolong":
            ctx.prolong()
        case "zombie":
            _note(ctx, f"refused: {_refused(ctx)}")
        case _:
            return _one(ctx, name, argument)
    return None


def _answer(ctx: JobContext, token: Token | str) -> Any:
    result = ctx.wait_for_token(token)
    return result.output if result.ok else result.error


def _refused(ctx: JobContext) -> str:
    """Do everything that is recorded, and tell what raised LeaseLost."""
    ctx.log("late")
    ctx.set_progress(99, "late")
    ctx.prolong()
    refused = []
    for word in ("run:late 1", "atomic:late 2", "finish:late 3", "token:60", "spawn:late"):
        name, _, argument = word.partition(":")
        try:
            _one_durable(ctx, name, argument)
        except LeaseLost:
            refused.append(name)
    return ", ".join(refused)


def _note(ctx: JobContext, what: str) -> str:
    if (ledger := Ledger.of_process()) is not None:
        ledger.write(NOTE, job=ctx.job.id, claim_seq=ctx.job.claim_seq, note=what)
    return what


def _row(ctx: JobContext, what: str) -> str:
    """Write a row where the queue is, in the transaction that is open there."""
    database = str(get_queue().settings.database)
    BusinessRow.objects.using(database).create(note=what, job_id=ctx.job.id)
    return what


def _wait_for(ctx: JobContext, path: Path, *, deaf: bool) -> None:
    until = time.monotonic() + PATIENCE
    while not path.exists() and time.monotonic() < until and (deaf or not ctx.signal.aborted):
        time.sleep(0.01)
    if not deaf:
        ctx.signal.raise_if_aborted()


@job("harness.isolated", takes_context=True, isolate=True, retry_delay=0.001, retry_backoff="fixed")
def isolated(ctx: JobContext, acts: list[str]) -> Any:
    """`durable` in a process of its own, with words for what only such a one survives.

    pid (the output is the process' id), carried (the output is what was carried along),
    spin (for ever, in Python), stuck (for ever, holding the interpreter),
    more:seconds (ask for so much more at the timeout), hog:MiB (take so much memory), segv (crash the interpreter),
    files (the output is what it holds open), exit:code (ends the process), stop_and_die (the same once asked to stop),
    litter (leave a process with a session of its own; its id is the progress; and wait), litter_until:path (the same,
    until the file exists).
    """
    with Effects(ctx):
        result = None
        for word in chosen(ctx, acts).split("+"):
            name, _, argument = word.partition(":")
            result = _one_isolated(ctx, name, argument)
        return result


@job("harness.isolated_async", takes_context=True, isolate=True)
async def isolated_async(ctx: AsyncJobContext, seconds: float) -> Any:
    """Do a step that tells the process' id, wait, sleep, and return what the step made."""
    made = await ctx.run("made", lambda: f"in {os.getpid()}")
    await ctx.wait_for(0.01)
    ctx.log("awake")
    await asyncio.sleep(seconds)
    return made


@job("harness.pid")
def pid() -> int:
    """Return the id of the process that it runs in."""
    return os.getpid()


def _one_isolated(ctx: JobContext, name: str, argument: str) -> Any:
    match name:
        case "pid":
            return os.getpid()
        case "carried":
            return request_id.get()
        case "spin":
            while True:
                pass
        case "stuck":
            ctypes.PyDLL(None).sleep(int(PATIENCE))  # a PyDLL keeps the interpreter's lock
        case "exit":
            os._exit(int(argument))
        case "segv":
            ctypes.string_at(0)
        case "more":
            return ctx.on_timeout(lambda: float(argument))
        case "hog":
            return len(bytearray(int(argument) * 1024 * 1024))
        case "files":
            return [os.readlink(entry.path) for entry in os.scandir("/proc/self/fd") if os.path.lexists(entry.path)]
        case "stop_and_die":
            ctx.signal.wait(PATIENCE)
            os._exit(1)
        case "litter_until":
            _litter()
            return _one_durable(ctx, "stubborn", argument)
        case "litter":
            ctx.progress(_litter(), INT32)
            time.sleep(PATIENCE)
    return _one_durable(ctx, name, argument)


def _litter() -> int:
    """Start a process in a session of its own that lasts, and return its id."""
    code = f"import time; time.sleep({PATIENCE})"
    return subprocess.Popen([sys.executable, "-c", code], start_new_session=True).pid


INT32 = 2**31 - 1
