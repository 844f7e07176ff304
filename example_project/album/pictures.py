"""From the bytes of a picture to smaller ones. Pure: no database, no Django; the same bytes give the same bytes."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

from PIL import Image, ImageCms, UnidentifiedImageError

MAX_BYTES = 10 * 1024 * 1024
MAX_PIXELS = 40_000_000
SIZES = (160, 480, 960)
"""The longest side of each thumbnail, in pixels."""

SHEET_COLUMNS = 4
SHEET_CELL = SIZES[0]
SHEET_GAP = 16
SHEET_GROUND = (251, 250, 246)

_OPENED_AS = ("JPEG", "PNG")
_ENDINGS = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png"}  # MPO: what cameras with two lenses put into a .jpg
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What brings a picture upright, by its EXIF orientation; from 5 on width and height change places."""


class BadPicture(Exception):
    """The bytes cannot be shown as a picture, and never will be; the message is meant for the visitor."""


class Facts(NamedTuple):
    """What a picture's first bytes say: how its file name ends, and its size in pixels when it stands upright."""

    ending: str
    width: int
    height: int


class Picture(NamedTuple):
    """A JPEG made here, and its size in pixels as read back from it."""

    data: bytes
    width: int
    height: int

    @property
    def sha256(self) -> str:
        """The SHA-256 of its bytes."""
        return hashlib.sha256(self.data).hexdigest()


def facts_of(data: bytes) -> Facts:
    """Return what can be told without decoding a picture; raises BadPicture when it could not be decoded safely."""
    if len(data) > MAX_BYTES:
        raise BadPicture(f"The file is larger than {MAX_BYTES // 1024**2} MiB, which is the limit.")
    with _opened(data) as image:
        width, height = image.size if _orientation(image) < 5 else image.size[::-1]
        return Facts(_ENDINGS[str(image.format)], width, height)


def fitted(width: int, height: int, size: int) -> tuple[int, int]:
    """Return the size of a picture whose longest side is at most `size`: same shape, sides rounded half up, never 0."""
    longest = max(width, height)
    if longest <= size:
        return width, height
    return _scaled(width, size, longest), _scaled(height, size, longest)


def thumbnail(data: bytes, size: int) -> Picture:
    """Return a picture upright, no larger than `size`, on white, without metadata; raises BadPicture."""
    with _opened(data) as image:
        turn = _UPRIGHT.get(_orientation(image))
        target = fitted(*image.size, size)
        image.draft("RGB", (2 * size, 2 * size))  # a JPEG need not be decoded in full to become small
        small = _plain(image).resize(target, Image.Resampling.LANCZOS, reducing_gap=3.0)
        _into_srgb(small, image.info.get("icc_profile"))
    ground = Image.new("RGB", target, "white")
    ground.paste(small, mask=small if small.mode == "RGBA" else None)
    return _jpeg(ground if turn is None else ground.transpose(turn))


def sheet_size(count: int) -> tuple[int, int]:
    """Return the size of the contact sheet of `count` pictures, at least one."""
    columns = min(count, SHEET_COLUMNS)
    rows = -(-count // SHEET_COLUMNS)
    return columns * (SHEET_CELL + SHEET_GAP) + SHEET_GAP, rows * (SHEET_CELL + SHEET_GAP) + SHEET_GAP


def contact_sheet(thumbnails: Sequence[bytes]) -> Picture:
    """Return one picture with the smallest thumbnails side by side, in their order."""
    sheet = Image.new("RGB", sheet_size(len(thumbnails)), SHEET_GROUND)
    for number, data in enumerate(thumbnails):
        row, column = divmod(number, SHEET_COLUMNS)
        with _opened(data) as image:
            left = SHEET_GAP + column * (SHEET_CELL + SHEET_GAP) + (SHEET_CELL - image.width) // 2
            top = SHEET_GAP + row * (SHEET_CELL + SHEET_GAP) + (SHEET_CELL - image.height) // 2
            sheet.paste(image, (left, top))
    return _jpeg(sheet)


@contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    """Open a picture, not yet decoded. Decoders fail in many ways; all that they read is `data`, so it is at fault."""
    try:
        with Image.open(io.BytesIO(data), formats=_OPENED_AS) as image:
            _check_pixels(image.width * image.height)
            yield image
    except (BadPicture, MemoryError):
        raise
    except UnidentifiedImageError:
        raise BadPicture("The file is not a JPEG or PNG picture.") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        _check_pixels(MAX_PIXELS + 1)
    except Exception as why:
        raise BadPicture("The picture is damaged or cut off.") from why


def _check_pixels(pixels: int) -> None:
    if pixels > MAX_PIXELS:
        raise BadPicture(f"The picture has more than {MAX_PIXELS // 1_000_000} million pixels, which is the limit.")


def _orientation(image: Image.Image) -> int:
    """Return how the camera was held, 1 being upright."""
    if image.format == "PNG" and "exif" not in image.info:
        return 1  # looking for it behind the picture's data would decode all of it
    found = image.getexif().get(_ORIENTATION)
    return found if found in _UPRIGHT else 1


def _scaled(side: int, size: int, longest: int) -> int:
    return max(1, (2 * side * size + longest) // (2 * longest))


def _plain(image: Image.Image) -> Image.Image:
    """Return an image with eight bits a colour, and with an alpha channel only where it can be seen through."""
    if image.mode.startswith("I"):  # 16 bits of grey, which a plain conversion would cut off at 255
        image = image.point(lambda value: value * (1 / 257)).convert("L")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _into_srgb(image: Image.Image, profile: bytes | None) -> None:
    """Turn the colours into those a picture without a profile has; a profile that cannot be used is left out."""
    if not profile:
        return
    with suppress(OSError, ImageCms.PyCMSError):
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space == "RGB ":
            ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), inPlace=True)


def _jpeg(image: Image.Image) -> Picture:
    """Write an image that was drawn here, and so carries no metadata, and measure what was written."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85, optimize=True, subsampling="4:2:0")
    with Image.open(io.BytesIO(file.getvalue()), formats=("JPEG",)) as written:
        if written.size != image.size:
            raise ValueError(f"A picture of {image.size} pixels was written as one of {written.size}.")
        return Picture(file.getvalue(), *written.size)
