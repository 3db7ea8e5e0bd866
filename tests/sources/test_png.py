"""PNG pictures, sample by sample against the arrays that they were written from."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile
from support import png_writer
from support.png_writer import GRAY, GRAY_ALPHA, PALETTE, RGB, RGBA

from _platelet_em.errors import ImageFormatError, MissingMemberError
from _platelet_em.limits import MAX_PAGE
from _platelet_em.sources.png import PngStack

FORMS = [
    *((GRAY, bits) for bits in (1, 2, 4, 8, 16)),
    *((PALETTE, bits) for bits in (1, 2, 4, 8)),
    *((GRAY_ALPHA, bits) for bits in (8, 16)),
    (RGB, 8),
    (RGBA, 8),
]
CHANNELS = {GRAY: (), PALETTE: (), GRAY_ALPHA: (2,), RGB: (3,), RGBA: (4,)}
RNG = np.random.default_rng(0)
COLORS = RNG.integers(0, 256, (256, 3))
PIXELS = np.arange(12, dtype=np.uint8).reshape(3, 4)


def random_samples(color, bits, size=(7, 11)):
    dtype = np.uint16 if bits == 16 else np.uint8
    return RNG.integers(0, 1 << bits, (*size, *CHANNELS[color]), dtype)


def write(color, bits, samples, **options):
    palette = COLORS[: 1 << bits] if color == PALETTE else ()
    return png_writer.write(samples, color, bits, palette=palette, **options)


@pytest.fixture
def open_png(tmp_path):
    def open_bytes(data):
        path = tmp_path / "slice 1.png"
        path.write_bytes(data)
        return PngStack(path)

    return open_bytes


@pytest.fixture
def refused(open_png, tmp_path):
    def check(data, match):
        with pytest.raises(
            ImageFormatError, match=f"^{tmp_path / 'slice 1.png'}: expected {match}"
        ):
            open_png(data).page(0)

    return check


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (7, 11), (9, 2), (1, 17), (33, 1)], ids=str)
@pytest.mark.parametrize(("color", "bits"), FORMS)
def test_samples_are_read_bit_for_bit(color, bits, size, interlaced, open_png):
    samples = random_samples(color, bits, size)
    stack = open_png(write(color, bits, samples, interlaced=interlaced))
    page = stack.page(0)
    assert stack.shape == (1, *samples.shape)
    expected = samples.astype(bool) if (color, bits) == (GRAY, 1) else samples
    assert page.dtype == stack.dtype == expected.dtype
    np.testing.assert_array_equal(page, expected)


@pytest.mark.parametrize("mode", ["L", "P", "LA", "RGB", "RGBA", "I;16", "1"])
def test_pictures_of_pillow_are_those_that_pillow_reads(mode, open_png):
    out = io.BytesIO()
    pixels = RNG.integers(0, 2**16, (40, 50), np.uint16)
    if mode == "I;16":
        Image.fromarray(pixels).save(out, "PNG")
    else:
        Image.fromarray((pixels >> 8).astype(np.uint8)).convert(mode).save(out, "PNG")
    expected = np.asarray(Image.open(out))
    np.testing.assert_array_equal(open_png(out.getvalue()).page(0), expected)


def test_a_palette_gives_indices_and_colors(open_png):
    samples = random_samples(PALETTE, 4)
    stack = open_png(write(PALETTE, 4, samples))
    assert stack.has_colors
    colors = stack.color_map(0)
    assert colors.dtype == np.uint16
    np.testing.assert_array_equal(colors, COLORS[:16])


def test_a_palette_of_the_gray_values_is_none(open_png):
    ramp = np.repeat(np.arange(12)[:, None], 3, axis=1)
    stack = open_png(png_writer.write(PIXELS, PALETTE, 8, palette=ramp))
    assert not stack.has_colors
    np.testing.assert_array_equal(stack.page(0), PIXELS)


def test_a_picture_without_a_palette_has_no_color_map(open_png):
    with pytest.raises(ValueError, match="it has no color map"):
        open_png(png_writer.write(PIXELS)).color_map(0)


@pytest.mark.parametrize("name", [b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"tEXt", b"bKGD", b"teST"])
def test_what_only_changes_how_values_look_is_ignored(name, open_png):
    stack = open_png(png_writer.write(PIXELS, before=[(name, b"\0\0\0\1")]))
    np.testing.assert_array_equal(stack.page(0), PIXELS)


def exif(orientation):
    data = Image.Exif()
    data[274] = orientation
    return data.tobytes().removeprefix(b"Exif\0\0")


def test_a_picture_that_is_to_be_turned_is_refused(open_png, refused):
    upright = png_writer.write(PIXELS, before=[(b"eXIf", exif(1))])
    np.testing.assert_array_equal(open_png(upright).page(0), PIXELS)
    turned = png_writer.write(PIXELS, before=[(b"eXIf", exif(6))])
    refused(
        turned, "a picture that is stored upright, got Orientation 6 in its EXIF data: turn it"
    )
    damaged = png_writer.write(PIXELS, before=[(b"eXIf", b"nothing")])
    refused(damaged, "readable EXIF data, got b'nothing': write it without")


@pytest.mark.parametrize(("color", "name"), [(RGB, "RGB"), (RGBA, "RGBA")])
def test_colors_of_16_bits_are_refused(color, name, refused):
    samples = random_samples(color, 16)
    refused(png_writer.write(samples, color, 16), f"gray values, or 8-bit RGB, got 16-bit {name}:")


def test_transparent_colors_are_refused(open_png, refused):
    transparent = r"opaque pixels, got a transparent color: write the picture without"
    refused(png_writer.write(PIXELS, before=[(b"tRNS", b"\0\3")]), transparent)
    samples = random_samples(PALETTE, 2)
    refused(write(PALETTE, 2, samples, before=[(b"tRNS", b"\xff\0")]), transparent)
    opaque = write(PALETTE, 2, samples, before=[(b"tRNS", b"\xff\xff")])
    np.testing.assert_array_equal(open_png(opaque).page(0), samples)


def test_animations_are_refused(refused):
    data = png_writer.write(PIXELS, before=[(b"acTL", struct.pack(">II", 2, 0))])
    refused(data, "one picture, got an animation: write each slice as a file of its own")


def test_chunks_that_readers_must_know_are_refused(refused):
    refused(png_writer.write(PIXELS, before=[(b"TeST", b"")]), r"chunks that PNG has, got b'TeST'")


# Damaged and hostile files

SMALL = png_writer.write(PIXELS)


@pytest.mark.parametrize("is_lenient", [False, True])
def test_a_file_that_ends_too_early_is_refused(is_lenient, open_png, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", is_lenient)
    for length in range(8, len(SMALL)):
        with pytest.raises(ImageFormatError, match=r"slice 1\.png: expected a"):
            open_png(SMALL[:length]).page(0)


def test_a_flipped_bit_is_refused(open_png):
    for i in range(8 * len(SMALL)):
        damaged = bytearray(SMALL)
        damaged[i // 8] ^= 1 << i % 8
        with pytest.raises(ImageFormatError, match=r"slice 1\.png: expected "):
            open_png(bytes(damaged)).page(0)


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        (bytes(10), "15 bytes of pixels, got 10: the file is damaged"),
        (bytes(14), "15 bytes of pixels, got 14"),
        (bytes(16), "15 bytes of pixels, got more"),
        (bytes(2**24), "15 bytes of pixels, got more"),
        (b"\7" + bytes(14), "readable pixels, got cannot decode"),
    ],
)
def test_rows_that_are_not_those_of_the_picture_are_refused(rows, match, refused):
    # Pillow gives zeros for rows that are missing where the compressed data is complete.
    refused(png_writer.write(PIXELS, rows=rows), match)


def test_damaged_compression_is_refused(refused):
    head = SMALL[: SMALL.index(b"IDAT") - 4]
    end = png_writer.chunk(b"IEND", b"")
    packed = zlib.compress(bytes(15))
    for content in (b"", b"\0" * 9, packed[:-1], packed[:-1] + b"\7"):
        match = "(15 bytes of pixels, got (0|more)|readable pixels, got Error)"
        refused(head + png_writer.chunk(b"IDAT", content) + end, match)


@pytest.mark.parametrize("size", [(2**31 - 1, 2**31 - 1), (MAX_PAGE + 1, 1), (0, 5), (5, 0)])
def test_pictures_of_no_or_too_many_pixels_are_refused(size, refused):
    header = struct.pack(">IIBBBBB", *size, 8, 0, 0, 0, 0)
    data = png_writer.MAGIC + png_writer.chunk(b"IHDR", header)
    refused(data, f"1 to {MAX_PAGE} pixels, got {size[0]} x {size[1]} pixels: the file is")


@pytest.mark.parametrize("form", [(3, 0), (16, 3), (8, 5), (4, 2), (8, 7)])
def test_forms_that_png_does_not_have_are_refused(form, refused):
    header = struct.pack(">IIBBBBB", 4, 3, *form, 0, 0, 0)
    data = png_writer.MAGIC + png_writer.chunk(b"IHDR", header)
    refused(data, "a form that PNG has, got the header")


def test_a_chunk_that_is_larger_than_any_picture_is_refused(refused):
    head = SMALL[: SMALL.index(b"IDAT") - 4]
    refused(head + struct.pack(">I4s", 2**31 - 1, b"tEXt"), "at most 16777231 bytes for a picture")


def test_palettes_without_a_color_for_each_index_are_refused(refused):
    samples = np.array([[0, 3]])
    for palette, match in [
        ([], "a palette with a color for each index, got none"),
        (COLORS[:5], "a palette with a color for each index, got none, or a damaged one"),
        (COLORS[:2], "indices of its 2 colors, got index 3"),
        (COLORS[:3], "indices of its 3 colors, got index 3"),
    ]:
        refused(png_writer.write(samples, PALETTE, 2, palette=palette), match)


def test_a_picture_that_was_exchanged_is_refused(open_png, tmp_path):
    stack = open_png(SMALL)
    path = tmp_path / "slice 1.png"
    path.write_bytes(png_writer.write(PIXELS.T))
    with pytest.raises(ImageFormatError, match=r"png: expected the picture as it was when it was"):
        stack.page(0)
    path.unlink()
    with pytest.raises(MissingMemberError, match=r"png: expected a PNG, found nothing there"):
        stack.page(0)


def test_limits_of_pillow_play_no_part(open_png, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1)
    np.testing.assert_array_equal(open_png(SMALL).page(0), PIXELS)
