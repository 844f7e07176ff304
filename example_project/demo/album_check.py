"""The photo album's part of `manage.py demo --check`: what its page shows, measured on the downloads themselves."""

from __future__ import annotations

import hashlib
import html
import io
import math
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from .visitor import Page, Visitor

SHIPPED = Path(__file__).parent.parent / "album" / "data" / "photos"
PAGE, SHIPPED_ACTION, UPLOAD_ACTION = "/album/", "/album/shipped/", "/album/upload/"
SIZES = (160, 480, 960)
CELL, GAP, COLUMNS = 160, 16, 4
AGAIN = "chelsea.png"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'


class Expect(Protocol):
    """Tell whether something is as it should be."""

    def __call__(self, what: str, is_so: bool, seen: Page | None = None) -> None: ...


@dataclass(frozen=True, slots=True)
class Photo:
    """A photograph as the page shows it."""

    id: int
    text: str
    links: dict[int, str]

    @property
    def title(self) -> str:
        """What stands below it."""
        found = re.search(r"<figcaption><strong>(.*?)</strong>", self.text)
        return html.unescape(found[1]) if found else ""


class AlbumCheck:
    """The album's part of the scenario: `finished` comes back to a page until it rests, `ask` asks the database."""

    def __init__(
        self, visitor: Visitor, expect: Expect, finished: Callable[[Page], Page], ask: Callable[[str], Any]
    ) -> None:
        self._visitor = visitor
        self._expect = expect
        self._finished = finished
        self._ask = ask

    def with_a_worker(self) -> None:
        """Fill the album, take a photograph out and put it in again, and bring pictures that are none."""
        page = self._add_what_is_shipped()
        before, sheet = self._hashes(page), self._sheet()
        self._bring_one_again(page, before, sheet)
        self._bring_what_cannot_be()

    def without_a_worker(self) -> None:
        """Take a photograph out before its jobs have run."""
        page = self._upload("late.jpg", (SHIPPED / "rocket.jpg").read_bytes() + b"\0")
        late = max(_photos(page), key=lambda photo: photo.id)
        page = self._visitor.press(page, f"/album/photos/{late.id}/remove/")
        gone = late.id not in {photo.id for photo in _photos(page)}
        self._expect("a photograph can be removed before its jobs have run", gone and "3 upcoming jobs" in page.text)
        left = self._ask(
            f"SELECT count(*), sum(status = 'cancelled') FROM dataqueue_job WHERE id IN {_jobs_of(late)}"  # noqa: S608
        )
        self._expect("its jobs are cancelled with it", tuple(left) == (len(SIZES), len(SIZES)))

    # -- the parts

    def _add_what_is_shipped(self) -> Page:
        files = {path.name: path.read_bytes() for path in SHIPPED.iterdir()}
        page = self._finished(self._visitor.press(self._visitor.get(PAGE), SHIPPED_ACTION))
        photos = _photos(page)
        self._expect(
            f"one button adds {len(files)} photographs, up to 100 %",
            page.progress == 100 and page.number("photos") == len(photos) == len(files),
            page,
        )
        shapes = [_measured(data) for data in files.values()]
        wanted = sorted((size, *_fitted(shape, size)) for shape in shapes for size in SIZES)
        made = [(size, *_measured(self._visitor.download(link))) for p in photos for size, link in p.links.items()]
        self._expect(f"each has its thumbnails of {SIZES} pixels, exact to the pixel", sorted(made) == wanted)
        credits = " ".join(photo.text for photo in photos)
        owed = all(name in credits for name in ("NASA, public domain", "Stefan van der Walt, CC0", "SpaceX"))
        self._expect("the page names the author and the rights of each", owed)
        self._expect("the contact sheet shows them all", _measured(self._sheet()) == _sheet_size(len(files)))
        return page

    def _bring_one_again(self, page: Page, before: dict[tuple[str, int], str], sheet: bytes) -> None:
        photo = next(photo for photo in _photos(page) if photo.title.startswith("Chelsea"))
        page = self._finished(self._visitor.press(page, f"/album/photos/{photo.id}/remove/"))
        smaller = len(_photos(page)) == len(before) // len(SIZES) - 1
        new_sheet = self._sheet()
        self._expect("a removed photograph is gone, from the sheet as well", smaller and new_sheet not in (b"", sheet))
        gone = {self._visitor.download(link) for link in photo.links.values()} == {b""}
        self._expect("its thumbnails cannot be opened any more", gone)
        data = (SHIPPED / AGAIN).read_bytes()
        page = self._finished(self._upload(AGAIN, data))
        again = {size: value for (title, size), value in self._hashes(page).items() if title == "chelsea"}
        same = again == {size: value for (title, size), value in before.items() if title == photo.title}
        self._expect("uploaded again, it gets the very same thumbnails: their hashes are equal", same)
        twice = self._upload(AGAIN, data)
        once = "already" in twice.text and len(_photos(twice)) == len(_photos(page))
        self._expect("a picture that is there is not added twice", once)

    def _bring_what_cannot_be(self) -> None:
        for what, data, reason in (
            ("an SVG", SVG, "not a JPEG or PNG"),
            ("a picture that is too large", _png_of(30_000, 30_000), "million pixels"),
            ("a file that is too large", b"\xff" * (10 * 2**20 + 1), "larger than 10 MiB"),
        ):
            page = self._upload("photo.jpg", data)
            self._expect(f"{what} is refused with its reason", page.status == 400 and reason in page.text, page)
        whole = (SHIPPED / "rocket.jpg").read_bytes()
        page = self._finished(self._upload("cut.jpg", whole[: len(whole) // 2]))
        broken = max(_photos(page), key=lambda photo: photo.id)
        self._expect(
            "a picture that turns out broken is shown as such",
            "damaged or cut off" in broken.text and not broken.links and page.progress == 100,
            page,
        )
        self._expect("its jobs failed without a second attempt", self._attempts(broken) == (len(SIZES), len(SIZES)))
        page = self._finished(self._visitor.press(page, f"/album/photos/{broken.id}/retry/"))
        self._expect("they can be tried again by hand", self._attempts(broken) == (len(SIZES), 2 * len(SIZES)))
        self._finished(self._visitor.press(page, f"/album/photos/{broken.id}/remove/"))

    # -- means

    def _upload(self, name: str, data: bytes) -> Page:
        return self._visitor.upload(self._visitor.get(PAGE), UPLOAD_ACTION, name, data, field="photo")

    def _sheet(self) -> bytes:
        return self._visitor.download("/album/sheet.jpg")

    def _hashes(self, page: Page) -> dict[tuple[str, int], str]:
        """The hash of each thumbnail, by the title of its photograph and its size."""
        return {
            (photo.title, size): hashlib.sha256(self._visitor.download(link)).hexdigest()
            for photo in _photos(page)
            for size, link in photo.links.items()
        }

    def _attempts(self, photo: Photo) -> tuple[int, int]:
        """How many of a photograph's jobs have failed for good, and how many attempts they took together."""
        failed = f"status = 'failed' AND ready_at IS NULL AND id IN {_jobs_of(photo)}"
        found = self._ask(f"SELECT count(*), sum(attempts) FROM dataqueue_job WHERE {failed}")  # noqa: S608
        return found[0], found[1]


def _photos(page: Page) -> list[Photo]:
    found = re.findall(
        r'<li class="photo" id="photo-(\d+)">(.*?)(?=<li class="photo"|</section>)', page.text, re.DOTALL
    )
    return [Photo(int(number), text, _links(text)) for number, text in found]


def _jobs_of(photo: Photo) -> str:
    return f"(SELECT job_id FROM dataqueue_jobtag WHERE tag = 'photo-{photo.id}')"  # noqa: S608 - a whole number


def _links(text: str) -> dict[int, str]:
    sizes = text.partition('<ul class="sizes"')[2]
    found = re.findall(r'href="(/album/photos/\d+/(\d+)\.jpg[^"]*)"', sizes)
    return {int(size): link for link, size in found}


def _measured(data: bytes) -> tuple[int, int]:
    """The width and height of a picture, decoded to its end; (0, 0) for none."""
    if not data:
        return 0, 0
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image.size


def _fitted(shape: tuple[int, int], size: int) -> tuple[int, int]:
    scale = min(1.0, size / max(shape))
    return math.floor(shape[0] * scale + 0.5), math.floor(shape[1] * scale + 0.5)


def _sheet_size(count: int) -> tuple[int, int]:
    columns, rows = min(count, COLUMNS), math.ceil(count / COLUMNS)
    return columns * (CELL + GAP) + GAP, rows * (CELL + GAP) + GAP


def _png_of(width: int, height: int) -> bytes:
    """A PNG that claims to be larger than it is."""
    file = io.BytesIO()
    Image.new("1", (8, 8)).save(file, "PNG")
    head, body = file.getvalue()[:16], file.getvalue()[24:29]
    claim = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    return head + claim + body + zlib.crc32(head[12:] + claim + body).to_bytes(4, "big") + file.getvalue()[33:]
