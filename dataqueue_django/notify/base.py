"""What a notifier does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from threading import Event


class Listener(ABC):
    """One thread's ear for wake-ups."""

    hears: bool = True
    """Whether wake-ups can arrive at all; if not, the worker polls more often."""

    @abstractmethod
    def wait(self, seconds: float) -> bool:
        """Wait up to `seconds` and return whether a wake-up arrived. Raises the store's errors when the line is cut."""

    @abstractmethod
    def stop(self) -> None:
        """Make `wait` return soon; may be called from another thread."""


class Notifier(ABC):
    """Tells workers that there is something to do."""

    @abstractmethod
    def publish(self) -> None:
        """Wake idle workers. Called after the commit; never raises."""

    @abstractmethod
    def listener(self) -> Listener:
        """Return a listener for the current thread and its connection."""


class DeafListener(Listener):
    """Hears nothing; waits until its time is up or it is stopped."""

    hears = False

    def __init__(self) -> None:
        self._stopped = Event()

    def wait(self, seconds: float) -> bool:
        """See Listener.wait."""
        self._stopped.wait(max(0.0, seconds))
        return False

    def stop(self) -> None:
        """See Listener.stop."""
        self._stopped.set()


class SilentNotifier(Notifier):
    """For stores without a way to wake anybody."""

    def publish(self) -> None:
        """See Notifier.publish."""

    def listener(self) -> Listener:
        """See Notifier.listener."""
        return DeafListener()
