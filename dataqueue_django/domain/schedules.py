"""What people say about a schedule, and what may be done to one: each act returns what a commit tries.

A schedule's `updated_at` is moved by everything that changes it, so it guards what was decided from a copy of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from ..exceptions import InvalidJob, InvalidSchedule, did_you_mean, shown
from .changes import PRESENT, SPAWNED, Add, After, Alternatives, Change, Guard, Need, Verb
from .options import (
    ONE_JOB_S,
    OPTION_NAMES,
    JobOptions,
    as_defaults,
    moment,
    name,
    new_job,
    options_from,
    plain,
    seconds,
)
from .records import JSON, CronSchedule, CronTick, Job, JobStatus, Kind, NewJob, Overlap, ScheduleStatus, TickOutcome
from .recurring import MOST_INTERVAL, cron, every
from .scheduling import MOST_CAUGHT_UP, Advance, Timing, first_run, run_at
from .steering import ask_to_stop, cancel

OPTIONS = sorted(OPTION_NAMES - set(ONE_JOB_S))
"""The options that the jobs of a schedule may have."""

CATCH_UP = {"latest": 1, "none": 0}
MOST_RUNS = 2**53
LONGEST_NAME = 255

BY_ITSELF = "dataqueue"
"""Who pauses a schedule that nobody paused."""

NOT_DECLARED = "no longer declared in code"


class Act(StrEnum):
    """What people may do to a schedule, by name."""

    RUN = "run"
    PAUSE = "pause"
    RESUME = "resume"
    EDIT = "edit"
    DELETE = "delete"


UNENDED: tuple[Guard, ...] = (
    {"status": (JobStatus.PENDING, JobStatus.PROCESSING, JobStatus.WAITING)},
    {"status": (JobStatus.FAILED,), "ready_at": PRESENT},
)
"""A job that has not ended: it runs, or will by itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """When a schedule is to fire, as a caller says it. Exactly one of `cron_expression` and `every`.

    `every` and `jitter` are seconds or timedelta. `catch_up` is how many missed ticks are made up for: "latest" (1),
    "none" (0), or a number. `overlap` is "skip", "allow" or "replace"; `allow_overlap` True is DataQueue's "allow".
    """

    cron_expression: str | None = None
    every: float | timedelta | None = None
    timezone: str = "UTC"
    start_at: datetime | None = None
    end_at: datetime | None = None
    max_runs: int | None = None
    catch_up: str | int = "latest"
    overlap: str | None = None
    allow_overlap: bool | None = None
    jitter: float | timedelta = 0


WANTED = frozenset(f.name for f in fields(Wanted))
CLOCKWORK = ("cron_expression", "every_ms", "timezone", "start_at", "end_at", "max_runs")
"""The fields that say when a schedule fires next: when one of them changes, that is found anew."""

DEFINED = (*CLOCKWORK, "catch_up", "overlap", "jitter_ms", "job_type", "payload", "options")
"""The fields that make a schedule what it is."""

EDITABLE = (*sorted(WANTED), "job_type", "payload", *OPTIONS)
"""What of a schedule may be edited (DataQueue "EditCronScheduleOptions"), its jobs' options among them."""


def schedule_name(given: object) -> str:
    """Return the name of a schedule; raises InvalidSchedule."""
    with _about_a_schedule():
        return name("schedule_name", given, LONGEST_NAME)


def schedule_id(given: object) -> int:
    """Return the id of a schedule; raises InvalidSchedule."""
    if isinstance(given, bool) or not isinstance(given, int) or not 0 < given < 2**63:
        raise InvalidSchedule(f"The id of a schedule is {shown(given)}; expected a whole number above 0.")
    return int(given)


def status_from(given: object) -> ScheduleStatus:
    """Return one of the two statuses; raises InvalidSchedule."""
    if (word := plain(given)) in tuple(ScheduleStatus):
        return ScheduleStatus(word)
    words = ", ".join(ScheduleStatus)
    raise InvalidSchedule(
        f"{shown(given)} is not a status of schedules; expected one of {words}.{did_you_mean(given, ScheduleStatus)}"
    )


def split(given: Mapping[str, Any], where: str) -> tuple[dict[str, Any], dict[str, JSON]]:
    """Return what is said about when a schedule fires, and the options of its jobs in JSON.

    Raises InvalidSchedule for a name that is neither, InvalidJob for an option that no job may have.
    """
    for word in given:
        if word not in WANTED and word not in OPTIONS:
            hint = did_you_mean(word, [*WANTED, *OPTIONS])
            raise InvalidSchedule(f"{where} got the unknown option {shown(word)}.{hint}")
    options = as_defaults(options_from({word: value for word, value in given.items() if word in OPTIONS}, where))
    known = {word: getattr(options, word) for word in OPTIONS}
    return (
        {word: value for word, value in given.items() if word in WANTED},
        {word: _in_json(value) for word, value in known.items() if value is not None},
    )


def new_schedule(
    name: object, job_type: str, payload: JSON, options: Mapping[str, JSON], wanted: Wanted, *, now: datetime
) -> CronSchedule:
    """Return a schedule as it is put into a store at `now`; raises InvalidSchedule.

    The payload is already as it is stored, the options as `split` returns them.
    """
    made = CronSchedule(
        schedule_name=schedule_name(name),
        job_type=job_type,
        payload=payload,
        options=options,
        created_at=now,
        updated_at=now,
        **clockwork(wanted, now),
    )
    return replace(made, next_run_at=first_run(timing_of(made), now))


def clockwork(wanted: Wanted, now: datetime) -> dict[str, Any]:
    """Return the fields of a schedule that fires as wanted; raises InvalidSchedule naming what is wrong."""
    if (wanted.cron_expression is None) == (wanted.every is None):
        raise InvalidSchedule("A schedule needs a cron expression or an interval (every); expected one of them.")
    interval = None if wanted.every is None else every(wanted.every, now).interval
    expression = cron("@daily" if interval else wanted.cron_expression, wanted.timezone)
    start_at, end_at = _moment("start_at", wanted.start_at), _moment("end_at", wanted.end_at)
    if start_at is not None and end_at is not None and start_at >= end_at:
        raise InvalidSchedule(f"end_at is {shown(wanted.end_at)}; expected a time after start_at.")
    return {
        "cron_expression": "" if interval else expression.expression,
        "timezone": expression.timezone,
        "every_ms": None if interval is None else round(interval.total_seconds() * 1000),
        "start_at": start_at,
        "end_at": end_at,
        "max_runs": None if wanted.max_runs is None else _whole("max_runs", wanted.max_runs, 1, MOST_RUNS),
        "catch_up": _catch_up(wanted.catch_up),
        "overlap": _overlap(wanted),
        "jitter_ms": _jitter(wanted.jitter),
    }


def wanted_of(schedule: CronSchedule) -> Wanted:
    """Return what a caller would say to get this schedule."""
    return Wanted(
        cron_expression=schedule.cron_expression or None,
        every=None if schedule.every_ms is None else timedelta(milliseconds=schedule.every_ms),
        timezone=schedule.timezone,
        start_at=schedule.start_at,
        end_at=schedule.end_at,
        max_runs=schedule.max_runs,
        catch_up=schedule.catch_up,
        overlap=schedule.overlap,
        jitter=timedelta(milliseconds=schedule.jitter_ms),
    )


def timing_of(schedule: CronSchedule) -> Timing:
    """Return when a schedule fires. Intervals count from its start, which is the first tick, else from its making."""
    interval = None if schedule.every_ms is None else timedelta(milliseconds=schedule.every_ms)
    anchor = schedule.created_at
    if interval is not None and schedule.start_at is not None:
        anchor = schedule.start_at - interval
    return Timing(
        cron_expression=schedule.cron_expression,
        timezone=schedule.timezone,
        every=interval,
        anchor=anchor,
        start_at=schedule.start_at,
        end_at=schedule.end_at,
        max_runs=schedule.max_runs,
        runs=schedule.runs,
        catch_up=schedule.catch_up,
        jitter=timedelta(milliseconds=schedule.jitter_ms),
    )


def is_over(schedule: CronSchedule) -> bool:
    """Return whether a schedule is active and will not fire any more: its end or its last run is behind it."""
    return schedule.status is ScheduleStatus.ACTIVE and schedule.next_run_at is None


def was_taken_out(schedule: CronSchedule) -> bool:
    """Return whether a schedule was declared in code and is not any more, as far as workers have told."""
    return schedule.declared and (schedule.paused_by, schedule.pause_reason) == (BY_ITSELF, NOT_DECLARED)


def is_open_to(schedule: CronSchedule, act: Act) -> bool:
    """Return whether people may do something to a schedule as it is; what code declares is changed there."""
    if act is Act.RUN:
        return True
    if act in (Act.PAUSE, Act.RESUME):
        return schedule.status is (ScheduleStatus.ACTIVE if act is Act.PAUSE else ScheduleStatus.PAUSED)
    return not schedule.declared or (act is Act.DELETE and was_taken_out(schedule))


def in_words(schedule: CronSchedule) -> str:
    """Return when a schedule fires, for people."""
    if schedule.every_ms is None:
        return f"at {schedule.cron_expression} ({schedule.timezone})"
    return f"every {timedelta(milliseconds=schedule.every_ms)}"


def condition(schedule: CronSchedule) -> str:
    """Return whether a schedule fires and when next, for people."""
    if schedule.status is ScheduleStatus.PAUSED:
        return f"paused: {schedule.pause_reason}" if schedule.pause_reason else "paused"
    if is_over(schedule):
        return "over"
    return f"next at {schedule.next_run_at:%Y-%m-%d %H:%M:%S} UTC"


def job_options(schedule: CronSchedule) -> JobOptions:
    """Return the options of a schedule's jobs."""
    return JobOptions(**schedule.options)


def job_of(schedule: CronSchedule, options: JobOptions, tick: datetime | None) -> NewJob:
    """Return the job that a schedule adds for a tick, or at once for None; raises InvalidJob."""
    made = new_job(schedule.job_type, schedule.payload, options)
    if tick is None:
        return replace(made, cron_schedule_id=schedule.id)
    when = run_at(timing_of(schedule), schedule.schedule_name, tick)
    return replace(made, cron_schedule_id=schedule.id, scheduled_for=tick, run_at=when)


def fire(schedule: CronSchedule, step: Advance, job: NewJob | None, previous: Job | None = None) -> Alternatives:
    """Take one step of a due schedule: add the job of its tick, or not, and move on to the next.

    `job` is that of the step's tick, `previous` the job that the schedule added last, as it is now. Whoever comes
    second finds the schedule changed, and nothing happens.
    """
    moved = {"next_run_at": step.next_run_at, "updated_at": After()}
    if step.tick is None or job is None:
        return (_on(schedule, moved),)
    moved["last_tick_at"] = step.tick
    tick = CronTick(schedule_id=schedule.id, tick_at=step.tick, outcome=TickOutcome.ENQUEUED, job_id=SPAWNED)
    skipped = replace(tick, outcome=TickOutcome.SKIPPED, job_id=schedule.last_job_id)
    return (*_skipping(schedule, moved, (skipped,)), _adding(schedule, job, {**moved, "runs": Add(1)}, tick, previous))


def run_now(schedule: CronSchedule, job: NewJob, *, actor: str = "", previous: Job | None = None) -> Alternatives:
    """Add a job of a schedule between two ticks, which it does not count; not where it would overlap and must not."""
    tick = CronTick(schedule_id=schedule.id, tick_at=After(), outcome=TickOutcome.BY_HAND, job_id=SPAWNED, actor=actor)
    return (*_skipping(schedule, {}, ()), _adding(schedule, job, {"updated_at": After()}, tick, previous))


def pause(schedule_id: int, *, actor: str = "", reason: str = "") -> Alternatives:
    """Let a schedule fire no more until it is resumed."""
    return (
        Change(
            verb=Verb.TICK,
            kind=Kind.SCHEDULE,
            id=schedule_id,
            guard={"status": (ScheduleStatus.ACTIVE,)},
            set={
                "status": ScheduleStatus.PAUSED,
                "paused_at": After(),
                "paused_by": actor,
                "pause_reason": reason,
                "next_run_at": None,
                "updated_at": After(),
            },
        ),
    )


def give_up(schedule: CronSchedule, reason: str) -> Alternatives:
    """Pause a schedule, as it was seen, that cannot fire."""
    [change] = pause(schedule.id, actor=BY_ITSELF, reason=reason)
    return (replace(change, guard={**change.guard, "updated_at": (schedule.updated_at,)}),)


def resume(schedule: CronSchedule, *, now: datetime) -> Alternatives:
    """Let a paused schedule fire again, from its next tick on: what was due meanwhile stays undone."""
    [change] = change_to(schedule, {**ACTIVE_AGAIN, "status": ScheduleStatus.ACTIVE}, now=now)
    return (replace(change, guard={**change.guard, "status": (ScheduleStatus.PAUSED,)}),)


ACTIVE_AGAIN: Mapping[str, Any] = {"paused_at": None, "paused_by": "", "pause_reason": ""}


def change_to(schedule: CronSchedule, values: Mapping[str, Any], *, now: datetime) -> Alternatives:
    """Give a schedule new values; when it fires next is found anew where they say so. Ticks never go back."""
    changed = replace(schedule, **values)
    found = dict(values)
    if changed.status is ScheduleStatus.ACTIVE and ("status" in values or any(name in values for name in CLOCKWORK)):
        found["next_run_at"] = first_run(timing_of(changed), max(now, schedule.last_tick_at or now))
    return (_on(schedule, {**found, "updated_at": After()}),)


def edited(schedule: CronSchedule, updates: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Return the values that `updates` change, but for the payload, which depends on the handler.

    Of `cron_expression` and `every` the one that is given replaces the other. None clears start_at, end_at, max_runs
    and the options of jobs. Raises InvalidSchedule or InvalidJob.
    """
    for word in updates:
        if word not in EDITABLE:
            raise InvalidSchedule(f"{shown(word)} of a schedule cannot be edited.{did_you_mean(word, EDITABLE)}")
    values = _clockwork_edited(schedule, {word: value for word, value in updates.items() if word in WANTED}, now)
    told = {word: value for word, value in updates.items() if word in OPTIONS}
    if told:
        options = {word: value for word, value in {**schedule.options, **told}.items() if value is not None}
        _, values["options"] = split(options, "edit_cron_job()")
    return values


def declared_again(schedule: CronSchedule, made: CronSchedule) -> dict[str, Any]:
    """Return what changes on a declared schedule that the code declares as `made` now; one that was taken out is back.

    What people have done to it, pausing it say, stays.
    """
    found = {name: getattr(made, name) for name in DEFINED if getattr(made, name) != getattr(schedule, name)}
    if was_taken_out(schedule):
        found |= {**ACTIVE_AGAIN, "status": ScheduleStatus.ACTIVE}
    return found


def _clockwork_edited(schedule: CronSchedule, told: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    if not told:
        return {}
    told = dict(told)
    for given, other in (("cron_expression", "every"), ("every", "cron_expression")):
        if told.get(given) is not None:
            told.setdefault(other, None)
    if "allow_overlap" in told:
        told.setdefault("overlap", None)
    values = clockwork(replace(wanted_of(schedule), **{"end_at": None, **told}), now)
    if "end_at" not in told:
        del values["end_at"]
    return {name: value for name, value in values.items() if value != getattr(schedule, name)}


def _on(schedule: CronSchedule, values: Mapping[str, Any]) -> Change:
    """A change of a schedule that is as it was seen."""
    guard = {"updated_at": (schedule.updated_at,)}
    return Change(verb=Verb.TICK, kind=Kind.SCHEDULE, id=schedule.id, guard=guard, set=values)


def _adding(
    schedule: CronSchedule, job: NewJob, values: Mapping[str, Any], tick: CronTick, previous: Job | None
) -> Change:
    """Add a job; where it replaces the previous one, that is cancelled, or asked to stop if it runs."""
    values = {**values, "last_enqueued_at": After()}
    change = replace(_on(schedule, values), spawn=job, link="last_job_id", put=(tick,))
    if previous is None or schedule.overlap is not Overlap.REPLACE:
        return change
    why = f"replaced by the next job of schedule {schedule.schedule_name}"
    stop = cancel(previous.id, actor=BY_ITSELF, reason=why)
    if previous.status is JobStatus.PROCESSING:
        stop = ask_to_stop(previous.id, previous.claim_seq, actor=BY_ITSELF, reason=why)
    as_seen = Need(Kind.JOB, previous.id, {"claim_seq": (previous.claim_seq,)})  # else it is looked at once more
    return replace(change, needs=(as_seen,), then=stop)


def _skipping(schedule: CronSchedule, values: Mapping[str, Any], ticks: tuple[CronTick, ...]) -> Alternatives:
    """What is done instead of adding a job while the last one has not ended, where two must not overlap."""
    if schedule.overlap is not Overlap.SKIP or schedule.last_job_id is None:
        return ()
    return tuple(
        replace(_on(schedule, values), put=ticks, needs=(Need(Kind.JOB, schedule.last_job_id, guard),))
        for guard in UNENDED
    )


def _moment(field: str, given: Any) -> datetime | None:
    with _about_a_schedule():
        return moment(field, given, None)


def _catch_up(given: Any) -> int:
    if isinstance(given, str):
        if given not in CATCH_UP:
            hint = did_you_mean(given, CATCH_UP)
            raise InvalidSchedule(f"catch_up is {shown(given)}; expected 'latest', 'none' or a number.{hint}")
        return CATCH_UP[given]
    return _whole("catch_up", given, 0, MOST_CAUGHT_UP)


def _overlap(wanted: Wanted) -> Overlap:
    if wanted.allow_overlap is not None:
        if not isinstance(wanted.allow_overlap, bool):
            raise InvalidSchedule(f"allow_overlap is {shown(wanted.allow_overlap)}; expected True or False.")
        if wanted.overlap is not None:
            raise InvalidSchedule("allow_overlap and overlap are both given; expected one of them.")
        return Overlap.ALLOW if wanted.allow_overlap else Overlap.SKIP
    given = Overlap.SKIP if wanted.overlap is None else wanted.overlap
    if given not in tuple(Overlap):
        words = ", ".join(map(repr, map(str, Overlap)))
        raise InvalidSchedule(f"overlap is {shown(given)}; expected one of {words}.{did_you_mean(given, Overlap)}")
    return Overlap(given)


def _jitter(given: Any) -> int:
    with _about_a_schedule():
        return round(seconds("jitter", given, most=MOST_INTERVAL.total_seconds()) * 1000)


def _whole(field: str, given: Any, least: int, most: int) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or not least <= given <= most:
        raise InvalidSchedule(f"{field} is {shown(given)}; expected a whole number from {least} to {most}.")
    return int(given)


@contextmanager
def _about_a_schedule() -> Iterator[None]:
    """Let what is wrong with a value be an error about a schedule."""
    try:
        yield
    except InvalidJob as why:
        raise InvalidSchedule(str(why)) from None


def _in_json(value: Any) -> JSON:
    if isinstance(value, timedelta):
        return value.total_seconds()
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str) else value
