"""What the site takes from a visitor, at most."""

from __future__ import annotations

from typing import Any

from django.core.files.uploadhandler import FileUploadHandler

from example_project.album import pictures
from example_project.fieldbook import reading
from example_project.untrusted import forms as untrusted

LIMITS = {"file": reading.MAX_BYTES, "photo": pictures.MAX_BYTES, "scan": untrusted.MAX_SCAN_BYTES}
"""Bytes by the name of the form's field; of a field that no form has only the first chunk is taken."""


class BoundedUploadHandler(FileUploadHandler):
    """Drops what comes after the limit, so that no upload fills the disk; the form then sees that it is too large."""

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes | None:
        """Pass data on until the limit was exceeded once."""
        return raw_data if start <= LIMITS.get(self.field_name or "", 0) else None

    def file_complete(self, file_size: int) -> Any:
        """Leave it to the next handler to make the file."""
        return
