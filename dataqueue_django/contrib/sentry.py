"""Sentry: `DATAQUEUE_CONTEXT = ["dataqueue_django.contrib.sentry.SentryCarrier"]`.

Sentry's own integration with `logging` sends what a handler raised, once, when no further attempt follows. This adds
which job it was, to that and to all else that the handler sends; it carries nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..carrying import Carrier
from ..domain.records import JSON, ClaimedJob
from ..exceptions import ConfigurationError

try:
    import sentry_sdk
except ImportError:
    raise ConfigurationError("SentryCarrier needs sentry-sdk: pip install sentry-sdk.") from None


class SentryCarrier(Carrier):
    """Gives each run a scope of its own, with the job as its tags."""

    name = "sentry"

    @contextmanager
    def restore(self, carried: JSON, job: ClaimedJob) -> Iterator[None]:
        """Run the handler in that scope."""
        with sentry_sdk.isolation_scope() as scope:
            scope.set_transaction_name(f"job {job.job_type}")
            scope.set_tags(
                {"job.id": job.id, "job.type": job.job_type, "job.queue": job.queue, "job.attempt": job.attempts}
            )
            yield
