"""From `logging` to the log of a job: what a handler logs, wherever it does so in its own thread or task, is kept."""

from __future__ import annotations

import logging
from contextlib import suppress
from contextvars import ContextVar
from threading import Lock

from ..logs import package
from .context import BaseContext

_current: ContextVar[BaseContext | None] = ContextVar("dataqueue_context", default=None)


class Bridge(logging.Handler):
    """Gives the records of handlers to their contexts, from INFO on; those of this package are about jobs, not of them.

    It stands at the root logger, so it sees what a project's LOGGING lets through to there. Where a record meets no
    other handler, Python takes it for handled, and would not show warnings and errors by itself; so it is shown here.
    """

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._lock_of_users = Lock()
        self._users = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record with the job whose handler logs it."""
        if self._is_alone(record.name):
            _as_without_handlers(record)
        context = _current.get()
        if context is None or not context.keeps_records or record.name.split(".", 1)[0] == package.name:
            return
        with suppress(Exception):  # as a text that does not fit its arguments
            context.reports.line(record.levelname, self.format(record), record.name)

    def _is_alone(self, name: str) -> bool:
        """Whether no other handler gets what a logger logs."""
        logger: logging.Logger | None = logging.getLogger(name)
        while logger is not None:
            if any(handler is not self for handler in logger.handlers):
                return False
            logger = logger.parent if logger.propagate else None
        return True

    def install(self) -> None:
        """Begin to listen, once per process however many workers it has."""
        with self._lock_of_users:
            self._users += 1
            if self._users == 1:
                logging.getLogger().addHandler(self)

    def remove(self) -> None:
        """Stop listening when the last worker of the process ends."""
        with self._lock_of_users:
            self._users -= 1
            if self._users == 0:
                logging.getLogger().removeHandler(self)


def _as_without_handlers(record: logging.LogRecord) -> None:
    last = logging.lastResort
    if last is not None and record.levelno >= last.level:
        last.handle(record)


bridge = Bridge()


def begin(context: BaseContext) -> None:
    """Let the lines that the current thread or task logs from now on belong to a job."""
    _current.set(context)


def end(context: BaseContext) -> None:
    """End that, and the time in which the handler may use its context."""
    _current.set(None)
    context.close()
