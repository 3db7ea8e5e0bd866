import contextlib
import io
import struct

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from _platelet_em.arrays.page import encode_page
from _platelet_em.arrays.tiff_directory import list_pages, read_first_tags
from _platelet_em.limits import MAX_PAGES

PAGE = np.arange(6, dtype=np.uint16).reshape(2, 3)


def tiff(pages, **options):
    out = io.BytesIO()
    with tifffile.TiffWriter(out, **options) as writer:
        for _ in range(pages):
            writer.write(PAGE, contiguous=False)
    return out.getvalue()


def directory(entries, link):
    """A little-endian directory of these entries: tag, type, number of values, value."""
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return struct.pack("<H", len(entries)) + packed + struct.pack("<I", link)


def chain(*links):
    """A TIFF of empty directories at the bytes 8, 14, 20, ..., each with this link."""
    return b"II*\0" + struct.pack("<I", 8) + b"".join(directory([], link) for link in links)


# --- list_pages ------------------------------------------------------------------------------


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("pages", [1, 2, 5])
def test_pages_are_counted_in_every_layout(pages, byteorder, bigtiff):
    file = io.BytesIO(tiff(pages, byteorder=byteorder, bigtiff=bigtiff))
    file.seek(3)
    assert list_pages(file) == [0] * pages
    assert file.tell() == 0


def test_as_many_pages_as_the_limit_are_counted_and_no_more():
    links = [8 + 6 * (i + 1) for i in range(MAX_PAGES - 1)]
    assert list_pages(io.BytesIO(chain(*links, 0))) == [0] * MAX_PAGES
    more = chain(*links, 8 + 6 * MAX_PAGES, 0)
    with pytest.raises(ValueError, match=f"^more than {MAX_PAGES} pages$"):
        list_pages(io.BytesIO(more))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"^it begins with b''$"),
        (b"II", r"^it begins with b'II'$"),
        (b"\x89PNG\r\n\x1a\n", r"^it begins with b'\\x89PNG'$"),
        (b"IM*\0" + bytes(20), r"^it begins with b'IM\*\\x00'$"),
        (b"MM*\0" + bytes(20), r"^it begins with b'MM\*\\x00'$"),
        (chain(8), "^page 1 is an earlier one again: the chain of pages never ends$"),
        (chain(14, 20, 14), "^page 3 is an earlier one again"),
        (chain(14, 2**31), "^2 pages, and another one at byte 2147483648 of a file of 20 bytes$"),
        (
            b"II*\0\x08\0\0\0" + directory([(256, 3, 1, 1)] * 9, 0)[:20] + bytes(6),
            "^page 0 has 9 tags in 34 bytes of file$",
        ),
        (
            b"II*\0\x08\0\0\0" + directory([(273, 4, 7, 8)], 0),
            "^tag 273 has 7 values in 26 bytes of file$",
        ),
        (
            b"II*\0\x08\0\0\0" + directory([(270, 99, 27, 8)], 0),
            "^tag 270 has 27 values in 26 bytes of file$",
        ),
    ],
)
def test_a_file_that_would_mislead_a_reader_is_refused(data, message):
    with pytest.raises(ValueError, match=message):
        list_pages(io.BytesIO(data))


@pytest.mark.parametrize("length", [6, 9, 20, -1])
def test_a_file_that_ends_too_early_is_refused(length):
    data = b"II*\0\x08\0\0\0" + directory([(256, 3, 1, 1)], 0)
    assert list_pages(io.BytesIO(data)) == [0]
    with pytest.raises(struct.error):  # its message is Python's
        list_pages(io.BytesIO(data[:length]))


@given(data=st.data())
def test_damaged_bytes_give_a_count_or_one_of_the_two_errors(data):
    damaged = bytearray(tiff(2))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ValueError, struct.error):
        assert list_pages(io.BytesIO(bytes(damaged))) is not None


# --- read_first_tags --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_the_tags_of_a_page_are_those_that_tifffile_reads(kind):
    data = encode_page(PAGE)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        expected = {tag.code: tag.value for tag in file.pages[0].tags if tag.dtype in (3, 4)}
    expected = {code: v[0] if isinstance(v, tuple) else v for code, v in expected.items()}
    found = {code: value for code, value in read_first_tags(kind(data)).items() if value >= 0}
    assert found == {code: int(value) for code, value in expected.items()}


@pytest.mark.parametrize("pages", [1, 3])
def test_only_the_first_page_is_read(pages):
    tags = read_first_tags(tiff(pages))
    assert (tags[256], tags[257]) == (3, 2)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"II*",
        b"II*\0\x08\0\0",
        b"\x89PNG\r\n\x1a\n",
        tiff(1, byteorder=">"),
        tiff(1, bigtiff=True),
        b"II*\0" + struct.pack("<I", 2**32 - 1),
        b"II*\0\x08\0\0\0\x01",
        (b"II*\0\x08\0\0\0" + directory([(256, 3, 1, 1)], 0))[:-5],
    ],
)
def test_other_bytes_have_no_tags(data):
    assert read_first_tags(data) is None


def test_tags_of_other_types_or_several_values_are_no_integers():
    entries = [(256, 3, 1, 0xABCD0007), (257, 4, 1, 0xABCD0007), (258, 3, 2, 1), (259, 12, 1, 1)]
    data = b"II*\0\x08\0\0\0" + directory(entries, 0)
    assert read_first_tags(data) == {256: 7, 257: 0xABCD0007, 258: -1, 259: -1}
