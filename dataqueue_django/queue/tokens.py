"""Tokens, from outside of handlers: made, completed and looked at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any
from uuid import uuid4

from ..domain.asking import job_id_from
from ..domain.records import JSON, JobLog, Kind, Step, Token
from ..domain.tokens import Completion, answer, complete, new_token, token_id, verdict
from ..exceptions import InvalidAnswer
from ..handlers.answers import misfit, schema_of
from .aio import with_async_twins
from .base import QueueBase
from .waking import close_due, wake_all, wake_lot


@with_async_twins
class Tokens(QueueBase):
    """`create_token`, `complete_token`, `get_token`, `expire_timed_out_tokens`, `get_job_steps`, `get_job_logs`.

    Each joins the caller's transaction.
    """

    def create_token(
        self,
        timeout: float | timedelta | str | None = None,
        tags: Iterable[str] | None = None,
        answer: type | Mapping[str, JSON] | None = None,
    ) -> Token:
        """Make a token that belongs to no job and return it (DataQueue "createToken"); any job can wait for it.

        `timeout` is seconds, a timedelta, or digits with s, m, h or d, as in "48h", of at most 365 days; None never
        ends. `answer` is what it may be completed with: a JSON schema, or a type that has one. Raises InvalidToken.
        """
        made = new_token(uuid4(), timeout=timeout, tags=tags, answer_schema=schema_of(answer))
        return self.store.put(made)

    def complete_token(self, token: Token | str, output: Any = None, *, actor: str = "") -> Completion:
        """Complete a token and wake every job that waits for it (DataQueue "completeToken").

        The first completion wins. Returns `Completion.COMPLETED`, which alone is true, or why nothing happened:
        `ALREADY_COMPLETED`, `EXPIRED` or `NOT_FOUND`. `actor` says who completed it and is kept. Raises InvalidAnswer
        for an output that is not portable JSON, is larger than 256 KiB, or is not what the token asks for.
        """
        id, output, who = token_id(token), answer(output), self._actor(actor)
        found: Token | None = self.store.fetch(Kind.TOKEN, id)
        if found is None or found.is_closed:
            return verdict(None, found)
        why = misfit(found.answer_schema, output)
        if why is not None:
            raise InvalidAnswer(f"The token {id} cannot be completed so: {why}.")
        with self.store.transaction():
            [done] = self.store.commit([complete(id, output, actor=who)])
            if done.applied:
                self._wake_waiters(id)
        return verdict(done.choice, None if done.applied else self.store.fetch(Kind.TOKEN, id))

    def get_token(self, token: Token | str) -> Token | None:
        """Return a token as it stands, or None (DataQueue "getToken")."""
        found: Token | None = self.store.fetch(Kind.TOKEN, token_id(token))
        return found

    def expire_timed_out_tokens(self) -> int:
        """Close the tokens whose time is up, wake who waits for them, and return how many there were.

        Running workers do this by themselves (DataQueue "expireTimedOutTokens").
        """
        total = 0
        while True:
            expired, woken = close_due(self.store)
            total += expired
            if not expired and not woken:
                break
            self.store.on_commit(self.notifier.publish)
        return total

    def get_job_steps(self, job_id: int) -> list[Step]:
        """Return what a job's handler has recorded, oldest first (DataQueue "stepData"); empty for an unknown id."""
        return self.store.steps(job_id_from(job_id))

    def get_job_logs(self, job_id: int) -> list[JobLog]:
        """Return the lines that a job's handler logged, oldest first, at most 1,000; empty for an unknown id."""
        return self.store.logs(job_id_from(job_id))

    def _wake_waiters(self, id: str) -> None:
        """Wake a thousand jobs with the completion itself, and what is left once that is committed.

        A transaction of the caller's may see less than there is (REPEATABLE READ), and should not get long.
        """
        wake_lot(self.store, id)
        self.store.on_commit(self.notifier.publish)
        self.store.on_commit(lambda: self._wake_the_rest(id))

    def _wake_the_rest(self, id: str) -> None:
        if wake_all(self.store, id):
            self.notifier.publish()
