"""Claiming where groups take turns or limits hold: look, lock the limits, count what runs, hand out what has room.

What is found before the locks is only what is worth locking for. What runs is counted in a statement of its own after
that, so that it sees what others did while the locks were waited for; there is no counter that could drift.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

from ...domain.admission import Candidate, Rooms, admitted, in_turn, merged, spent
from ...domain.controls import Controls, holds_back, of_claim, scope_id
from ...domain.rates import Bucket
from ...domain.records import Claim, ClaimedJob
from .filters import claimable
from .lanes import Lane, wanted

if TYPE_CHECKING:
    from .portable import PortableStore

MOST_GROUPS = 1000
"""Groups that one claim looks at in each lane."""

TRIES = 3
"""How often a claim looks again whose jobs were all taken by others."""

SPARE = 2
"""How many times as many jobs are looked at as are wanted: others may have taken some, or room."""


def rules(controls: Controls, lane: Lane) -> bool:
    """Return whether more than the claim order decides about the jobs of a lane."""
    return lane.of_groups or controls.limit_lane(lane.queue, lane.job_type)


def open_to(claim: Claim, lanes: Sequence[Lane], controls: Controls, now: datetime) -> list[Lane]:
    """Return the lanes that a claim wants and that nobody has paused."""
    return [lane for lane in wanted(lanes, claim) if controls.pause_of(lane.queue, lane.job_type, now) is None]


class Admission:
    """One claim over lanes of which some have rules."""

    def __init__(
        self, store: PortableStore, claim: Claim, controls: Controls, lanes: Sequence[Lane], now: datetime | None
    ) -> None:
        self._store = store
        self._claim = claim
        self._controls = controls
        self._lanes = lanes
        self._now = now
        self._limits = of_claim(controls.limits, claim.group_concurrency)
        self._waits: set[float] = set()
        self.closed: list[Lane] = []
        """The lanes of which no job had room when they were last looked at."""

    def jobs(self) -> list[ClaimedJob] | None:
        """Hand out jobs; None where no rule matters, since no job that is under one has its turn."""
        for _ in range(TRIES):
            found = self.candidates()
            if found is None:
                return None
            if not found:
                return []
            if started := self._start(found):
                return started
        return []

    def candidates(self) -> list[Candidate] | None:
        """Return the first jobs that there seems to be room for, more than wanted; None if none of them has rules."""
        self._at = self._store._at(self._now)
        self._buckets: dict[str, Bucket] = {}
        self._rooms = self._look(self._at)
        self._passed: dict[str, str] = {}
        if self._claim.ids:
            return list(islice(filter(self._rooms.admit, self._named()), self._claim.limit * SPARE))
        ruled = [lane for lane in self._lanes if rules(self._controls, lane)]
        looked_at = [(lane, self._row(lane)) for lane in ruled]
        self.closed = [lane for lane, row in looked_at if not row]
        rows = [row for _, row in looked_at if row]
        if self._passed:
            self._store._write_turns(self._passed)
        if not rows:
            return None
        plain = [lane for lane in self._lanes if lane not in ruled]
        rows += self._store._heads(
            [(lane.queue, lane.job_type, None) for lane in plain], self._claim, self._claim.limit
        )
        found = admitted(merged(rows), self._rooms, self._claim.limit * SPARE)
        first = found[: self._claim.limit]
        return found if any(rules(self._controls, _lane_of(one)) for one in first) else None

    def closed_for(self, most: float) -> float:
        """Return for how many seconds at most it is not worth looking at what was closed."""
        return min([most, *self._waits])

    def waits(self) -> Collection[float]:
        """Return in how many seconds there may be room for jobs that have none now.

        0 where there is: it came back since the claim that found none, and nobody will tell.
        """
        found = self.candidates()
        return {*self._waits, *(0.0 for one in found or () if self._keys(one))}

    # -- looking

    def _look(self, at: datetime) -> Rooms:
        """What there seems to be room for, without locks."""
        whole = [limit for limit in self._limits if not limit.is_of_groups]
        self._learn([limit.id for limit in whole if limit.rate is not None])
        counted = any(limit.concurrency is not None for limit in self._limits)
        running = self._store._running() if counted else {}
        return Rooms(self._limits, running, self._buckets, at, self._claim.exclude_groups)

    def _row(self, lane: Lane) -> list[Candidate]:
        """The jobs of a lane that has rules, in the order in which they have their turn."""
        if not self._rooms.has_room(lane.queue, lane.job_type):
            self._note_wait(lane)
            return []
        if not lane.of_groups:
            heads = self._store._heads([(lane.queue, lane.job_type, None)], self._claim, self._claim.limit * SPARE)
            return heads[0] if heads else []
        groups = self._groups(lane)
        if not groups:
            return []
        most = self._claim.limit * SPARE
        each = 1 if len(groups) >= most else most
        heads = self._store._heads([(lane.queue, lane.job_type, group) for group in groups], self._claim, each)
        return in_turn(heads)

    def _groups(self, lane: Lane) -> list[str]:
        """The groups of a lane that have room, in the order of their turns."""
        scope = scope_id(lane.queue, lane.job_type)
        last = self._store._last_turn(scope)
        most, found, walked = self._claim.limit * SPARE, dict[str, None](), 0
        for start, end in ((last, None), ("", last)) if last else (("", None),):
            while len(found) < most and walked < MOST_GROUPS:
                step = max(most, 50)
                names = self._store._turns(lane, start, step)
                walked += len(names)
                self._learn_of(lane, names)
                found |= dict.fromkeys(name for name in names if self._has_room(lane, name))
                if len(names) < step or (end is not None and end in names):
                    break
                start = names[-1]
        if not found and walked >= MOST_GROUPS:  # the next look begins behind these, or it would see no others
            self._passed[scope] = start
            self._waits.add(0.0)
        return list(found)[:most]

    def _has_room(self, lane: Lane, group_id: str) -> bool:
        if self._rooms.has_room(lane.queue, lane.job_type, group_id):
            return True
        self._note_wait(lane, group_id)
        return False

    def _note_wait(self, lane: Lane, group_id: str | None = None) -> None:
        wait = self._rooms.next_room_in(lane.queue, lane.job_type, group_id)
        if wait:
            self._waits.add(wait)

    def _learn_of(self, lane: Lane, groups: Collection[str]) -> None:
        """Read how the rates of groups stand."""
        if any(limit.rate is not None and limit.is_of_groups for limit in self._limits):
            over = (self._rooms.limits_of(lane.queue, lane.job_type, group) for group in groups)
            self._learn([key for pairs in over for limit, key in pairs if limit.rate is not None])

    def _learn(self, keys: Collection[str]) -> None:
        self._buckets.update(self._store._buckets([key for key in keys if key not in self._buckets]))

    def _named(self) -> list[Candidate]:
        """The jobs that the claim names, in claim order."""
        found = claimable(self._store._jobs(), self._claim).order_by("-priority", "position", "ready_at", "id")
        names = "id", "queue", "job_type", "group_id", "priority", "position", "ready_at"
        rows = [Candidate(*row) for row in found.values_list(*names)[: self._claim.limit * SPARE]]
        self._learn([key for one in rows for _, key in self._rooms.limits_of(one.queue, one.job_type, one.group_id)])
        open_lanes = {(lane.queue, lane.job_type) for lane in self._lanes}
        return [one for one in rows if (one.queue, one.job_type) in open_lanes]

    # -- handing out

    def _start(self, found: Sequence[Candidate]) -> list[ClaimedJob]:
        store, keys = self._store, {key for one in found for key in self._keys(one)}
        with store._write():
            buckets = store._hold(keys, self._at)
            at = store._at(self._now)
            running = store._running() if any(limit.concurrency is not None for limit in self._limits) else {}
            rooms = Rooms(self._limits, running, buckets, at, self._claim.exclude_groups)
            chosen = admitted(found, rooms, self._claim.limit)
            started = store._begin([one.id for one in chosen], self._claim, self._controls, at)
            begun = {job.id for job in started}
            mine = [one for one in chosen if one.id in begun]
            store._write_buckets(spent(rooms, mine, buckets, at))
            if not self._claim.ids:
                store._write_turns({scope_id(one.queue, one.job_type): one.group_id for one in mine if one.group_id})
            return started

    def _keys(self, one: Candidate) -> list[str]:
        over = self._rooms.limits_of(one.queue, one.job_type, one.group_id)
        return [key for limit, key in over if holds_back(limit)]


def _lane_of(one: Candidate) -> Lane:
    return Lane(one.queue, one.job_type, one.group_id is not None)
