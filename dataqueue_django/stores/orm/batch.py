"""One commit of the portable path: lock the records it may touch, judge the changes in Python, write them back."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ...domain.changes import (
    Alternatives,
    Change,
    Committed,
    Guard,
    Need,
    Verdict,
    apply_change,
    columns_of,
    guard_holds,
    only_read,
    put_of,
    speaking_for,
    targets,
    walk,
)
from ...domain.records import CancelRequest, CronTick, JobLog, Kind, QueueGauge, QueueStat, Step, Token
from ...models import CancelRequest as RequestRow
from ...models import CronTick as TickRow
from ...models import JobEvent as EventRow
from ...models import JobLog as LogRow
from ...models import JobTag as TagRow
from ...models import Step as StepRow
from ...models import Token as TokenRow
from ..base import MOST_LOGS
from . import rows
from .tables import MODELS

if TYPE_CHECKING:
    from .portable import PortableStore

ALWAYS_READ_OF = {
    Kind.JOB: frozenset({"id", "claim_seq", "attempts"}),
    Kind.CANCEL: frozenset({"id", "claim_seq", "created_at", "actor", "reason"}),
}
"""What the event of any change needs to know of the job, and of the request that it speaks for."""

TOKEN_FIELDS, REQUEST_FIELDS = rows.SIDE_FIELDS[Kind.TOKEN], rows.SIDE_FIELDS[Kind.CANCEL]
NEW_LOG_FIELDS, NEW_TICK_FIELDS = (
    tuple(name for name in names if name != "id") for names in (rows.LOG_FIELDS, rows.TICK_FIELDS)
)


@dataclass
class Batch:
    """One commit: the records it may touch, locked and loaded once, and what it changes on them."""

    store: PortableStore
    items: Sequence[Alternatives]
    wait: bool
    now: datetime | None
    events: list[dict[str, Any]] = field(default_factory=list)
    changed: dict[tuple[Kind, Any], dict[str, Any]] = field(default_factory=dict)
    put: list[Any] = field(default_factory=list)
    requests: dict[int, CancelRequest | None] = field(default_factory=dict)
    """The requests to cancel that are written, by job; None are those that go."""
    held_requests: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.at = self.now or datetime.now(UTC)
        self.loaded: dict[tuple[Kind, Any], dict[str, Any]] = {}
        for kind in Kind:
            ids = targets(self.items, kind)
            if kind is Kind.CANCEL:
                ids = self._standing(ids)
            if ids:
                self._load(kind, self.store._locked(self._rows(kind, ids), wait=self.wait))
            if kind is Kind.CANCEL:
                self.held_requests = {id for id in ids if (kind, id) not in self.loaded}
            if looked_at := only_read(self.items, kind):
                self._load(kind, self._rows(kind, looked_at))

    def settle(self, item: Alternatives) -> Committed:
        """Apply the first alternative that holds."""
        if not self.wait and any(self._is_held(need, need.guard) for change in item for need in change.needs):
            return Committed(verdict=Verdict.BUSY)
        result = walk(item, self._apply)
        if result.verdict is Verdict.LOST and not self.wait and self._is_held_by_another(item):
            return Committed(verdict=Verdict.BUSY)
        return result

    def write_back(self) -> None:
        """Write what changed, one UPDATE per distinct set of values, what was put, and the events."""
        groups: dict[str, tuple[Kind, dict[str, Any], list[Any]]] = {}
        for (kind, id), values in self.changed.items():
            columns = rows.to_columns(values, self.at)
            groups.setdefault(f"{kind}{columns!r}", (kind, columns, []))[2].append(id)
        for kind, columns, ids in groups.values():
            self.store._table(MODELS[kind]).filter(id__in=ids).update(**columns)
        self._write_tags()
        self._write_put()
        self._write_requests()
        self.store._add_rows(EventRow, self.events)

    def _write_put(self) -> None:
        steps = {(one.job_id, one.kind, one.name): one for one in self.put if isinstance(one, Step)}
        if steps:
            self.store._table(StepRow).bulk_create(
                [StepRow(**rows.columns_of_record(step, rows.STEP_FIELDS)) for step in steps.values()],
                update_conflicts=True,
                unique_fields=["job_id", "kind", "name"],
                update_fields=["result", "until", "created_at", "claim_seq", "attempt"],
            )
        tokens = [one for one in self.put if isinstance(one, Token)]
        self.store._add_rows(TokenRow, [rows.columns_of_record(token, TOKEN_FIELDS) for token in tokens])
        logs = [one for one in self.put if isinstance(one, JobLog)]
        self.store._add_rows(LogRow, [rows.columns_of_record(line, NEW_LOG_FIELDS) for line in logs])
        for job_id in sorted({line.job_id for line in logs if line.claim_seq > 1}):
            self._trim_logs(job_id)
        ticks = [one for one in self.put if isinstance(one, CronTick)]
        self.store._add_rows(TickRow, [rows.columns_of_record(tick, NEW_TICK_FIELDS) for tick in ticks])
        self.store._write_statistics([one for one in self.put if isinstance(one, QueueStat | QueueGauge)])

    def _write_requests(self) -> None:
        gone = [id for id, request in self.requests.items() if request is None]
        if gone:
            self.store._table(RequestRow).filter(id__in=gone).delete()
        written = [RequestRow(**rows.columns_of_record(one, REQUEST_FIELDS)) for one in self.requests.values() if one]
        if written:
            self.store._table(RequestRow).bulk_create(
                written,
                update_conflicts=True,
                unique_fields=["id"],
                update_fields=["claim_seq", "created_at", "actor", "reason"],
            )

    def _trim_logs(self, job_id: int) -> None:
        mine = self.store._table(LogRow).filter(job_id=job_id)
        oldest = mine.order_by("-id").values_list("id", flat=True)[MOST_LOGS - 1 : MOST_LOGS]
        for kept_from in oldest:
            mine.filter(id__lt=kept_from).delete()

    def _write_tags(self) -> None:
        """Make the index of tags say what the jobs' own lists say now."""
        tags = {id: values["tags"] for (kind, id), values in self.changed.items() if "tags" in values}
        if tags:
            self.store._table(TagRow).filter(job_id__in=tags).delete()
            self.store._add_rows(TagRow, [{"job_id": id, "tag": tag} for id in sorted(tags) for tag in tags[id]])

    def _standing(self, ids: list[Any]) -> list[Any]:
        """Return for which of these jobs there is a request to cancel: mostly none, and then nothing to lock."""
        return list(self._rows(Kind.CANCEL, ids).values_list("id", flat=True)) if ids else []

    def _load(self, kind: Kind, found: Any) -> None:
        clock = self.store._clock_column(self.now)
        for row in found.annotate(clock=clock).values(*self._columns(kind), "clock"):
            self.at = row.pop("clock")
            self.loaded[kind, row["id"]] = rows.fields_of(kind, row)

    def _rows(self, kind: Kind, ids: Collection[Any]) -> Any:
        return self.store._table(MODELS[kind]).filter(id__in=ids).order_by("id")

    def _columns(self, kind: Kind) -> list[str]:
        names = set(ALWAYS_READ_OF.get(kind, {"id"}))
        for item in self.items:
            for change in item:
                for one in (change, *change.then):
                    names |= columns_of(one) if one.kind is kind else set()
                    names.update(name for need in one.needs if need.kind is kind for name in need.guard)
        return sorted(names)

    def _apply(self, change: Change) -> tuple[bool, int | None]:
        if not all(self._is_met(need) for need in change.needs):
            return False, None
        where = change.kind, change.id
        before = self.loaded.get(where)
        updates = None if before is None else apply_change(before, change, self.at)
        if before is None or updates is None:
            return False, None
        if change.as_asked:
            change = speaking_for(change, self.loaded[Kind.CANCEL, change.id])
        spawned = None
        if change.spawn is not None:
            spawned = self.store.insert([change.spawn], now=self.at)[0].id
        if change.link is not None:
            updates[change.link] = spawned
        if change.event is not None:
            self._note(change, before, {**before, **updates})
        self.loaded[where] = {**before, **updates}
        for record in put_of(change, self.at, spawned):
            self._put(record)
        if change.kind is Kind.CANCEL and not change.withdraw:
            self._put(CancelRequest(**self.loaded[where]))
        elif updates:
            self.changed.setdefault(where, {}).update(updates)
        if change.withdraw:
            self.requests[int(change.id)] = None
            self.loaded.pop((Kind.CANCEL, change.id), None)
        return True, spawned

    def _put(self, record: Any) -> None:
        """Note a record to be written; later items see a request that earlier ones made."""
        if isinstance(record, CancelRequest):
            self.requests[record.id] = record
            self.loaded[Kind.CANCEL, record.id] = {name: getattr(record, name) for name in REQUEST_FIELDS}
        else:
            self.put.append(record)

    def _note(self, change: Change, before: dict[str, Any], after: dict[str, Any]) -> None:
        self.events.append(
            {
                "job_id": int(change.id),
                "event_type": change.event.value if change.event else "",
                "created_at": self.at,
                "claim_seq": before["claim_seq"],
                "attempt": after["attempts"],
                "actor": change.actor,
                "metadata": change.metadata,
            }
        )

    def _is_held_by_another(self, item: Alternatives) -> bool:
        """Whether an alternative would hold on a record that was left out because another transaction holds it."""
        return any(self._is_held(change, change.guard) for change in item)

    def _is_held(self, named: Change | Need, guard: Guard) -> bool:
        """Whether a record was left out because another transaction holds it, and would meet the guard as it stands."""
        if (named.kind, named.id) in self.loaded:
            return False
        if named.kind is Kind.CANCEL:  # whether somebody has one was seen when they were loaded
            return named.id in self.held_requests
        row = self._rows(named.kind, [named.id]).values(*self._columns(named.kind)).first()
        return row is not None and guard_holds(rows.fields_of(named.kind, row), guard, self.at)

    def _is_met(self, need: Need) -> bool:
        found = self.loaded.get((need.kind, need.id))
        return found is not None and guard_holds(found, need.guard, self.at)
