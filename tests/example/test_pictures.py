"""Thumbnails and contact sheets: exact sizes, the same bytes each time, and pictures that were made to do harm."""

from __future__ import annotations

import hashlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from example_project.album import shipped
from example_project.album.pictures import (
    MAX_BYTES,
    SIZES,
    BadPicture,
    Facts,
    contact_sheet,
    facts_of,
    fitted,
    sheet_size,
    thumbnail,
)

from .drawing import ORIENTATION, SVG, bomb, cut_off, drawn, encoded, jpeg, turned

RED, BLUE = (254, 0, 0), (0, 0, 254)


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def is_near(image: Image.Image, place: tuple[int, int], colour: tuple[int, int, int]) -> bool:
    seen = image.getpixel(place)
    assert isinstance(seen, tuple)
    return all(abs(a - b) < 12 for a, b in zip(seen, colour, strict=True))


@pytest.mark.parametrize(
    ("width", "height", "size", "wanted"),
    [
        (1000, 872, 480, (480, 419)),
        (451, 300, 160, (160, 106)),
        (600, 400, 160, (160, 107)),
        (451, 300, 960, (451, 300)),
        (300, 1000, 160, (48, 160)),
        (10_000, 1, 160, (160, 1)),
        (320, 1, 160, (160, 1)),
        (160, 160, 160, (160, 160)),
    ],
)
def test_sizes_are_exact(width: int, height: int, size: int, wanted: tuple[int, int]) -> None:
    assert fitted(width, height, size) == wanted
    made = thumbnail(jpeg(width, height), size)
    assert (made.width, made.height) == wanted == opened(made.data).size


@given(st.integers(1, 20_000), st.integers(1, 20_000), st.sampled_from(SIZES))
def test_a_thumbnail_has_the_shape_of_its_picture(width: int, height: int, size: int) -> None:
    small = fitted(width, height, size)
    assert max(small) == min(size, max(width, height))
    scale = max(small) / max(width, height)
    assert all(abs(a - b * scale) <= 0.5 or a == 1 for a, b in zip(small, (width, height), strict=True))


@pytest.mark.parametrize("photo", shipped.PHOTOS, ids=lambda photo: photo.file)
@pytest.mark.parametrize("size", SIZES)
def test_the_same_picture_gives_the_same_bytes(photo: shipped.Shipped, size: int) -> None:
    first, second = thumbnail(photo.read(), size), thumbnail(photo.read(), size)
    assert first == second
    assert first.sha256 == hashlib.sha256(second.data).hexdigest()
    assert (first.width, first.height) == fitted(*facts_of(photo.read())[1:], size)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_stands_upright(orientation: int) -> None:
    data = turned(orientation)
    assert facts_of(data) == Facts("jpg", 300, 200)
    made = opened(thumbnail(data, 160).data)
    assert made.size == (160, 107)
    assert is_near(made, (30, 20), RED)
    assert all(is_near(made, place, BLUE) for place in [(130, 20), (30, 85), (130, 85)])


def test_a_png_stands_upright_as_well() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    data = encoded(drawn(300, 200).transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif)
    assert facts_of(data) == Facts("png", 300, 200)
    assert is_near(opened(thumbnail(data, 160).data), (30, 20), RED)


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_an_orientation_that_makes_no_sense_is_left_out(orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = jpeg(exif=exif)
    assert facts_of(data) == Facts("jpg", 300, 200)
    assert thumbnail(data, 160) == thumbnail(jpeg(), 160)


def test_a_picture_from_a_camera_with_two_lenses_is_a_jpeg() -> None:
    data = encoded(drawn(300, 200), "MPO", save_all=True, append_images=[drawn(300, 200)])
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "MPO"
    assert facts_of(data) == Facts("jpg", 300, 200)
    assert thumbnail(data, 160).width == 160


def test_nothing_but_the_picture_is_kept() -> None:
    exif = Image.Exif()
    exif[0x013B] = "a secret author"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = jpeg(exif=exif, comment=b"a secret remark", icc_profile=profile)
    assert b"secret author" in data
    assert b"secret remark" in data
    for made in (thumbnail(data, 160), contact_sheet([thumbnail(data, 160).data])):
        assert b"secret" not in made.data
        assert set(opened(made.data).info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
def test_every_kind_of_jpeg_is_taken(mode: str) -> None:
    assert opened(thumbnail(encoded(drawn(300, 200, mode)), 160).data).mode == "RGB"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_every_kind_of_png_is_taken(mode: str) -> None:
    data = encoded(drawn(300, 200, mode), "PNG")
    assert facts_of(data) == Facts("png", 300, 200)
    assert opened(thumbnail(data, 160).data).size == (160, 107)


def test_what_is_transparent_becomes_white() -> None:
    data = encoded(Image.new("RGBA", (300, 200), (255, 0, 0, 0)), "PNG")
    assert is_near(opened(thumbnail(data, 160).data), (80, 50), (255, 255, 255))


@pytest.mark.parametrize("level", [0, 100, 255])
def test_sixteen_bits_of_grey_keep_their_brightness(level: int) -> None:
    data = encoded(Image.new("I;16", (300, 200), level * 257), "PNG")
    assert is_near(opened(thumbnail(data, 160).data), (80, 50), (level, level, level))


def test_colours_of_another_profile_are_turned_into_the_usual_ones() -> None:
    rocket = next(photo for photo in shipped.PHOTOS if photo.file == "rocket.jpg").read()
    with Image.open(io.BytesIO(rocket)) as image:
        profile = image.info["icc_profile"]
    green = Image.new("RGB", (300, 200), (60, 160, 60))
    without = opened(thumbnail(encoded(green), 160).data)
    with_it = opened(thumbnail(encoded(green, icc_profile=profile), 160).data)
    assert is_near(without, (80, 50), (60, 160, 60))
    assert not is_near(with_it, (80, 50), (60, 160, 60))
    assert is_near(opened(thumbnail(encoded(green, icc_profile=b"nonsense"), 160).data), (80, 50), (60, 160, 60))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (SVG, "not a JPEG or PNG"),
        (b"GIF89a\x01\x00\x01\x00\x00\x00\x00;", "not a JPEG or PNG"),
        (encoded(drawn(30, 20), "WEBP"), "not a JPEG or PNG"),
        (encoded(drawn(30, 20), "TIFF"), "not a JPEG or PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a JPEG or PNG"),
        (b"", "not a JPEG or PNG"),
        (b"\xff\xd8\xff", "not a JPEG or PNG"),
        (bomb(), "more than 40 million pixels"),
        (bomb(10_000, 10_000), "more than 40 million pixels"),
        (bomb(8_000, 5_001), "more than 40 million pixels"),
        (b"x" * (MAX_BYTES + 1), "larger than 10 MiB"),
    ],
)
def test_what_is_no_acceptable_picture_is_told_from_its_beginning(data: bytes, reason: str) -> None:
    with pytest.raises(BadPicture, match=reason):
        facts_of(data)


@pytest.mark.parametrize("data", [cut_off(), bomb(300, 200), jpeg()[:400], encoded(drawn(300, 200), "PNG")[:-40]])
def test_what_cannot_be_decoded_is_a_bad_picture(data: bytes) -> None:
    with pytest.raises(BadPicture, match=r"^The picture is damaged or cut off\.$"):
        thumbnail(data, 160)


@pytest.mark.parametrize("count", [1, 3, 4, 5, 9])
def test_a_sheet_has_its_exact_size_and_every_picture_in_its_place(count: int) -> None:
    small = [thumbnail(encoded(Image.new("RGB", (160, 100), (9, 9 * n, 9))), 160).data for n in range(count)]
    sheet = contact_sheet(small)
    columns, rows = min(count, 4), (count + 3) // 4
    assert (sheet.width, sheet.height) == sheet_size(count) == (columns * 176 + 16, rows * 176 + 16)
    image = opened(sheet.data)
    for n in range(count):
        assert is_near(image, (16 + n % 4 * 176 + 80, 16 + n // 4 * 176 + 80), (9, 9 * n, 9))
    assert contact_sheet(small) == sheet


def test_each_shipped_photograph_is_small_and_owed_to_somebody() -> None:
    readme = (shipped.FOLDER.parent / "README.md").read_text()
    files = sorted(path.name for path in shipped.FOLDER.iterdir())
    assert files == sorted(photo.file for photo in shipped.PHOTOS)
    assert sum((shipped.FOLDER / file).stat().st_size for file in files) < 3_000_000
    for photo in shipped.PHOTOS:
        line = next(line for line in readme.splitlines() if f"photos/{photo.file}" in line)
        assert photo.credit in line
