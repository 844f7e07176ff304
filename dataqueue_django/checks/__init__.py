"""System checks: what would go wrong later is said at start, with the line to add. docs/checks.md lists them.

Those that read a database run only where Django is told which ones may be read: `check --database`, `migrate`, tests.
"""

from . import code, databases, isolation, project, schedules, settings

__all__ = ["code", "databases", "isolation", "project", "schedules", "settings"]
