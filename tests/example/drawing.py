"""Pictures for tests, good and bad."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image

ORIENTATION = 0x0112


def drawn(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """A picture whose upper left quarter is red and whose rest is blue."""
    image = Image.new("RGB", (width, height), "blue")
    image.paste("red", (0, 0, max(1, width // 2), max(1, height // 2)))
    return image.convert(mode)


def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    """A picture's bytes."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def jpeg(width: int = 300, height: int = 200, **options: object) -> bytes:
    """The bytes of a JPEG."""
    return encoded(drawn(width, height), "JPEG", **options)


def turned(orientation: int, width: int = 300, height: int = 200) -> bytes:
    """A JPEG that says how it was held, so that it is seen as `drawn` draws it."""
    undone = {
        1: [],
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }[orientation]
    image = drawn(width, height)
    for step in undone:
        image = image.transpose(step)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return encoded(image, exif=exif)


def cut_off() -> bytes:
    """A JPEG whose beginning is in order, and whose end is missing."""
    whole = encoded(Image.effect_noise((300, 200), 80).convert("RGB"))
    return whole[: len(whole) // 2]


def bomb(width: int = 60_000, height: int = 60_000) -> bytes:
    """A small PNG that claims to be large."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>alert(1)</script></svg>'
