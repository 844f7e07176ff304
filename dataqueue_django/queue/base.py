"""What every capability of the queue is built on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from ..announcing import Announce, announcer
from ..carrying import captured
from ..conf import AliasSettings
from ..domain.asking import flag_from
from ..domain.options import JobOptions, flag, new_job, plain
from ..domain.portable import is_plain_text, portable
from ..domain.records import JSON, EventType, NewJob
from ..exceptions import InvalidJob, shown
from ..handlers import Registry
from ..notify import Notifier
from ..stores import Store
from . import hooks

LONGEST_REASON = 1000


class QueueBase:
    """One alias' store, settings, handlers and notifier."""

    def __init__(self, store: Store, settings: AliasSettings, handlers: Registry, notifier: Notifier) -> None:
        self.store = store
        self.settings = settings
        self.handlers = handlers
        self.notifier = notifier

    @property
    def alias(self) -> str:
        """The alias this queue belongs to."""
        return self.store.alias

    def _payload_for(self, job_type: str, payload: Any) -> JSON:
        """Return a payload as it is stored; raises InvalidPayload where it does not fit the handler."""
        handler = self.handlers.get(job_type)
        if handler is not None:
            payload = handler.shape.encode(payload)
        return portable(payload)

    def _fitted(self, fields: Mapping[str, Any], job_type: str) -> Mapping[str, Any]:
        """Return the fields of an edit, a payload among them as it is stored for jobs of this type."""
        if "payload" not in fields:
            return fields
        return {**fields, "payload": self._payload_for(job_type, fields["payload"])}

    def _is_strict(self, strict: bool | None) -> bool:
        """Return whether coming too late is an error: as the call says, else as the alias' setting says."""
        return self.settings.strict if strict is None else flag_from("strict", strict)

    @staticmethod
    def _actor(given: object) -> str:
        """Return who asks, as kept with an event; raises InvalidJob."""
        text = plain(given)
        if text is None or len(text) > 255 or not is_plain_text(text):
            raise InvalidJob(f"actor is {shown(given)}; expected a string of at most 255 characters.")
        return text

    @staticmethod
    def _reason(given: object) -> str:
        """Return why something is asked for, as kept with an event; raises InvalidJob."""
        text = plain(given)
        if text is None or len(text) > LONGEST_REASON or not is_plain_text(text):
            raise InvalidJob(f"reason is {shown(given)}; expected a string of at most {LONGEST_REASON:,} characters.")
        return text


def described(
    queue: QueueBase, job_type: str, payload: JSON, options: JobOptions, *, allow_unknown: bool = False
) -> NewJob:
    """Return the job to insert: options over those of its handler over the alias' defaults, payload encoded."""
    known = queue.handlers.get if flag("allow_unknown", allow_unknown) else queue.handlers.known
    handler = known(job_type)
    if handler is not None:
        options = options.over(handler.options)
        payload = handler.shape.encode(payload)
    spec = new_job(job_type, payload, options.over(queue.settings.job_defaults), now=datetime.now(UTC))
    context = captured(spec)
    return spec if context is None else replace(spec, context=context)


def tell_of(queue: QueueBase, added: Sequence[tuple[int, NewJob]], announce: Announce | None = None) -> None:
    """Wake workers and tell who listens of jobs that were inserted, once the caller's transaction commits."""
    if not added:
        return
    queue.store.on_commit(queue.notifier.publish)
    announce = announce or announcer(queue.store)
    for job_id, spec in added:
        announce(EventType.ADDED, job_id=job_id, job_type=spec.job_type, queue=spec.queue)
    hooks.inserted(queue.alias, [job_id for job_id, _ in added])
