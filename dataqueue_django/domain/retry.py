"""When a failed attempt is tried again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

LONGEST = 24 * 3600.0
"""No computed delay is longer than this, in seconds."""

MODES = ("", "exponential", "linear", "fixed")
"""The words `retry_backoff` may have; "" is exponential when a delay is given and the default rule otherwise."""


class RetryOptions(Protocol):
    """The fields of a job that say how it is retried."""

    @property
    def retry_delay_ms(self) -> int | None: ...
    @property
    def retry_backoff(self) -> str: ...
    @property
    def retry_delay_max_ms(self) -> int | None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Backoff:
    """The rule that spaces the attempts of one job. Seconds throughout; `delay` None is the default rule."""

    delay: float | None = None
    mode: str = ""
    longest: float = LONGEST

    @classmethod
    def of(cls, job: RetryOptions) -> Backoff:
        """Return the rule stored with a job."""
        longest = LONGEST if job.retry_delay_max_ms is None else job.retry_delay_max_ms / 1000
        delay = None if job.retry_delay_ms is None else job.retry_delay_ms / 1000
        if delay is None and (job.retry_backoff or job.retry_delay_max_ms is not None):
            delay = 60.0
        return cls(delay=delay, mode=job.retry_backoff, longest=min(longest, LONGEST))

    def seconds_after(self, attempt: int, chance: float) -> float:
        """Return the delay after failed attempt number `attempt` (1 is the first).

        `chance` in [0, 1) spreads jobs that failed together. Without options: 2^n minutes, up to a quarter later, never
        earlier than DataQueue documents. Exponential: half to all of delay * 2^n. Linear: delay * n, up to a quarter
        later. Fixed: exactly the delay.
        """
        power = 2.0 ** min(attempt, 64)
        if self.delay is None:
            return min(self.longest, 60.0 * power * (1 + chance / 4))
        if self.mode == "fixed":
            return min(self.longest, self.delay)
        if self.mode == "linear":
            return min(self.longest, self.delay * attempt * (1 + chance / 4))
        return min(self.longest, self.delay * power) * (0.5 + chance / 2)
