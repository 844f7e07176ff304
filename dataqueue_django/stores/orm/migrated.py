"""Whether a database has the tables that this version of the code expects."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from ...models import Job as JobRow


def unapplied(connection: BaseDatabaseWrapper) -> list[str]:
    """Return the names of this app's migrations that a database lacks, in order.

    Migrations that this code does not know, from a newer version, are no obstacle: old workers run beside new ones
    during a deployment. Only names are compared; loading the project's whole migration graph would take a second.
    """
    label = JobRow._meta.app_label
    module, _ = MigrationLoader.migrations_module(label)
    if module is None:  # the project makes the tables without migrations, as some test runs do
        return []
    found = pkgutil.iter_modules(import_module(module).__path__)
    known = {name for _, name, is_package in found if not is_package and name[0] not in "_~"}
    applied = {name for app, name in MigrationRecorder(connection).applied_migrations() if app == label}
    return sorted(known - applied)
