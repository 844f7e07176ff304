"""What the site takes from a visitor, at most."""

from __future__ import annotations

from typing import Any

from django.core.files.uploadhandler import FileUploadHandler

from .reading import MAX_BYTES


class BoundedUploadHandler(FileUploadHandler):
    """Drops what comes after the limit, so that no upload fills the disk; the form then sees that it is too large."""

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes | None:
        """Pass data on until the limit was exceeded once."""
        return raw_data if start <= MAX_BYTES else None

    def file_complete(self, file_size: int) -> Any:
        """Leave it to the next handler to make the file."""
        return
