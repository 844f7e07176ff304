"""Work on what strangers send. Nothing tells beforehand how long it takes and how much memory, so each has a process.

In a thread neither of the two could be stopped. Here the operating system does it: a child interpreter gets so much
memory and no more (`ISOLATE_MEMORY` in the settings), and is killed at the handler's timeout; the worker's other jobs
go on. Neither is tried again: the same bytes would do the same.
"""

from __future__ import annotations

import io
import re
from typing import Any

from django.core.files.base import ContentFile
from PIL import Image

from dataqueue_django import GiveUp, job
from example_project.album.storages import whole_files

TAG = "untrusted"
PREVIEW = (640, 640)


@job(timeout=10, isolate=True, max_attempts=1)
def preview_scan(sha256: str) -> dict[str, Any]:
    """Make a small picture of a scanned plan.

    A plan in A0 at 400 dots per inch has 248 million pixels, which Pillow refuses as a bomb, and its file is small as
    a bomb's, being mostly white. So Pillow's guard, a number of pixels, is lifted here, and the process is the guard.
    """
    with whole_files().open(scan_name(sha256)) as file:
        data = file.read()
    Image.MAX_IMAGE_PIXELS = None  # in this process alone: the album's jobs run in threads of the worker, and keep it
    small = _smaller(data)
    picture = io.BytesIO()
    small.save(picture, "JPEG", quality=85)
    whole_files().save(preview_name(sha256), ContentFile(picture.getvalue()))
    return {"width": small.width, "height": small.height}


@job(timeout=2, isolate=True, max_attempts=1)
def try_pattern(pattern: str, text: str) -> str | None:
    """Return the first part of a text that a visitor's regular expression matches.

    Some expressions try every way to split a text, which is without end for a sentence. `re` holds the interpreter's
    lock meanwhile, so in a thread this would keep every job of the worker from running, and its heartbeat, too.
    """
    try:
        found = re.search(pattern, text)
    except re.error as why:
        raise GiveUp(f"This is no regular expression: {why}.") from why
    return None if found is None else found[0]


def scan_name(sha256: str) -> str:
    """Return the name of an uploaded scan's file."""
    return f"untrusted/{sha256}.png"


def preview_name(sha256: str) -> str:
    """Return the name of its preview's file."""
    return f"untrusted/{sha256}.jpg"


def _smaller(data: bytes) -> Image.Image:
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            small = image.convert("L")
    except (OSError, SyntaxError, ValueError) as why:
        raise GiveUp("The file is not a PNG picture, or it is damaged.") from why
    small.thumbnail(PREVIEW)
    return small
