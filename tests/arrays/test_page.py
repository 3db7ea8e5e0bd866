import contextlib
import io
import re
import struct
import warnings

import datasets
import numpy as np
import pyarrow as pa
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from support import publisher

from _platelet_em.arrays.page import decode_page, encode_page
from _platelet_em.errors import ImageFormatError
from _platelet_em.facts import PUBLISHED
from _platelet_em.publisher.palettes import class_palettes

PALETTES = class_palettes(PUBLISHED)
GRAY = np.array([[0, 1, 255], [256, 513, 65_535]], np.uint16)
MASK = np.array([[0, 1, 2, 3], [4, 5, 6, 0]], np.uint8)

plane_shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=40)
pages = hnp.arrays(np.uint16, plane_shapes).map(lambda a: (a, None)) | hnp.arrays(
    np.uint8, plane_shapes, elements=st.integers(0, 6)
).map(lambda a: (a, PALETTES["A"]))


def with_pil(data):
    with Image.open(io.BytesIO(data)) as picture:
        return picture.mode, np.asarray(picture)


def address(array):
    return array.__array_interface__["data"][0]


def with_tag(data, tag, value, layout="<I", place=8):
    """The TIFF with another value, or type, in an entry of its first directory."""
    data = bytearray(data)
    (begin,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, begin)
    for entry in range(begin + 2, begin + 2 + 12 * count, 12):
        if struct.unpack_from("<H", data, entry) == (tag,):
            struct.pack_into(layout, data, entry + place, value)
            return bytes(data)
    raise LookupError(tag)


@given(case=pages)
def test_pages_survive_encoding_and_open_everywhere(case):
    page, palette = case
    data = encode_page(page, palette)
    for pixels in (decode_page(data), with_pil(data)[1], tifffile.imread(io.BytesIO(data))):
        assert pixels.dtype == page.dtype
        np.testing.assert_array_equal(pixels, page)


def test_images_open_as_16_bit_gray():
    mode, pixels = with_pil(encode_page(GRAY))
    assert mode == "I;16"
    np.testing.assert_array_equal(pixels, GRAY)


@pytest.mark.parametrize("name", ["A", "B"])
def test_masks_open_as_palette_pictures_in_the_publishers_colors(name):
    data = encode_page(MASK, PALETTES[name])
    mode, pixels = with_pil(data)
    assert mode == "P"
    np.testing.assert_array_equal(pixels, MASK)
    with Image.open(io.BytesIO(data)) as picture:
        rgb = np.asarray(picture.convert("RGB"))
    expected = np.array({"A": publisher.OLD, "B": publisher.JET}[name], np.uint8)
    np.testing.assert_array_equal(rgb, expected[MASK])
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        # 16-bit colors: 257 times the 8-bit ones, so that white is 65535.
        np.testing.assert_array_equal(file.pages[0].colormap[:, :7], expected.T * 257.0)


def test_pages_are_one_uncompressed_strip_and_the_same_bytes_each_time():
    data = encode_page(GRAY)
    assert data == encode_page(np.asfortranarray(GRAY)) == encode_page(GRAY.copy())
    assert GRAY.tobytes() in data
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        (page,) = file.pages
        assert (page.compression, page.rowsperstrip, len(page.dataoffsets)) == (1, 2, 1)
        assert not {"DateTime", "Software", "ImageDescription"} & {tag.name for tag in page.tags}


@pytest.mark.parametrize(
    ("page", "palette", "message"),
    [
        (GRAY.astype(np.int16), None, r"dtype uint8 or uint16; got shape \(2, 3\), dtype int16$"),
        (GRAY.astype(np.int32), None, r"dtype uint8 or uint16; got shape \(2, 3\), dtype int32$"),
        (GRAY.astype(">u2"), None, r"dtype uint8 or uint16; got shape \(2, 3\), dtype >u2$"),
        (MASK.astype(np.uint16), PALETTES["A"], r"dtype uint8; got shape \(2, 4\), dtype uint16$"),
        (GRAY[0], None, r"the axes \(y, x\), .* got shape \(3,\)"),
        (GRAY[None], None, r"the axes \(y, x\), .* got shape \(1, 2, 3\)"),
        (GRAY[:0], None, r"at least one pixel .* got shape \(0, 3\)"),
    ],
)
def test_what_is_no_page_is_not_encoded(page, palette, message):
    with pytest.raises(ImageFormatError, match=message):
        encode_page(page, palette)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, pa.py_buffer])
@pytest.mark.parametrize(("page", "palette"), [(GRAY, None), (MASK, PALETTES["A"])])
def test_decoding_a_page_is_a_read_only_view_of_its_bytes(kind, page, palette):
    data = kind(encode_page(page, palette))
    pixels = decode_page(data)
    np.testing.assert_array_equal(pixels, page)
    stored = np.frombuffer(data, np.uint8)
    assert address(stored) < address(pixels) < address(stored) + stored.nbytes
    assert np.shares_memory(pixels, stored)
    with pytest.raises(ValueError, match="read-only"):
        pixels[0, 0] = 1


@pytest.mark.parametrize(
    "options",
    [
        {"byteorder": ">"}, {"byteorder": "<"}, {"compression": "zlib"}, {"rowsperstrip": 1},
        {"tile": (16, 16)}, {"bigtiff": True},
    ],
    ids=repr,
)  # fmt: skip
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int32, np.float32, bool])
def test_tiffs_of_others_give_what_pillow_gives(options, dtype):
    page = np.random.default_rng(0).integers(0, 2**16, (20, 30)).astype(dtype)
    out = io.BytesIO()
    tifffile.imwrite(out, page, **{"photometric": "minisblack", **options})
    pixels = decode_page(out.getvalue())
    assert pixels.dtype == dtype
    np.testing.assert_array_equal(pixels, page)
    with contextlib.suppress(OSError):  # Pillow reads not every one
        np.testing.assert_array_equal(pixels, with_pil(out.getvalue())[1])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
def test_pictures_with_an_orientation_are_turned_as_datasets_turns_them(file_format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = io.BytesIO()
    Image.fromarray(MASK).save(out, file_format, exif=exif)
    feature = datasets.Image()
    expected = feature.decode_example({"bytes": out.getvalue(), "path": None})
    np.testing.assert_array_equal(decode_page(out.getvalue()), np.asarray(expected))


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "GIF", "TIFF"])
def test_other_formats_give_what_pillow_gives(file_format):
    out = io.BytesIO()
    picture = Image.fromarray(MASK)
    picture.putpalette(PALETTES["A"].tobytes())
    picture.save(out, file_format)
    np.testing.assert_array_equal(decode_page(out.getvalue()), MASK)


def test_colors_have_a_last_axis():
    rgb = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert decode_page(publisher.tif(rgb[None])).tolist() == rgb.tolist()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"^image 7: expected an encoded picture, got b'': "),
        (b"<html>not found", r"^image 7: .* got b'<html>not found': cannot identify image"),
        (b"II*\0", r"^image 7: .* got b'II\*\\x00': "),
        (
            b"II*\0\xff\xff\xff\xff" + b"x" * 90,
            r"^image 7: .* got b'II\*\\x00\\xff\\xff",
        ),
        (encode_page(GRAY)[:-1], r"^image 7: expected an encoded picture, got b'II\*"),
    ],
)
def test_what_is_no_picture_is_named(data, message):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's about a file that ends too early
        with pytest.raises(ImageFormatError, match=message):
            decode_page(data, "image 7")


@pytest.mark.parametrize(
    ("tag", "value"),
    [(256, 2**31), (257, 2**31), (256, 0), (273, 2**32 - 1), (259, 99), (277, 3)],
)
def test_a_directory_that_lies_is_no_picture(tag, value):
    data = with_tag(encode_page(GRAY), tag, value)
    with pytest.raises(ImageFormatError, match=r"^page: (expected an encoded picture|the tag )"):
        decode_page(data)


@pytest.mark.parametrize("kind", [2, 5, 11, 12])
def test_a_directory_with_an_offset_that_is_no_integer_is_no_picture(kind):
    data = with_tag(encode_page(GRAY), 273, kind, "<H", 2)
    with pytest.raises(ImageFormatError, match=r"^page: expected an encoded picture"):
        decode_page(data)


@given(data=st.data())
def test_damaged_bytes_give_a_plane_or_an_error(data):
    encoded = bytearray(encode_page(GRAY))
    for _ in range(data.draw(st.integers(1, 3))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    del encoded[data.draw(st.integers(0, len(encoded))) :]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            pixels = decode_page(bytes(encoded))
        except ImageFormatError as error:
            assert re.match(r"page: (the tag |expected )", str(error))  # noqa: PT017
        else:
            assert pixels.ndim in (2, 3)
