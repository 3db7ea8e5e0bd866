"""TIF stacks read page by page, against tifffile reading all pages at once."""

import io
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile
from support import publisher

from _platelet_em.errors import ImageFormatError
from _platelet_em.publisher.tiff import TiffStack, write_pages

SHAPES = [(1, 1, 1), (3, 5, 7), (4, 5, 7, 3), (4, 5, 7, 4), (3, 3, 4), (4, 4, 3)]
NAME = "a.zip: images/50-images.tif"


def random_array(shape, dtype, seed=0):
    top = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, top, shape, dtype, endpoint=True)


def open_stack(data):
    return TiffStack(io.BytesIO(data), NAME)


def read(data):
    with open_stack(data) as stack:
        return np.stack([stack.page(z) for z in range(stack.shape[0])])


def write(pages, **options):
    out = io.BytesIO()
    write_pages(out, pages, **options)
    return out.getvalue()


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
@pytest.mark.parametrize("shape", SHAPES)
def test_pages_are_those_that_tifffile_wrote(shape, dtype, compression):
    array = random_array(shape, dtype)
    with open_stack(publisher.tif(array, compression=compression)) as stack:
        assert stack.shape == shape
        assert stack.dtype == dtype
        for z in range(shape[0]):
            page = stack.page(z)
            assert page.dtype == dtype
            np.testing.assert_array_equal(page, array[z])


@pytest.mark.parametrize("options", [{"byteorder": ">"}, {"rowsperstrip": 2}, {"tile": (16, 16)}])
def test_other_layouts_of_pages_are_read(options):
    array = random_array((3, 20, 33), np.uint16)
    np.testing.assert_array_equal(read(publisher.tif(array, compression="zlib", **options)), array)


def test_a_temporary_file_without_a_name_is_read():
    array = random_array((2, 3, 4), np.uint16)
    with tempfile.TemporaryFile() as file:
        file.write(publisher.tif(array))
        file.seek(0)
        with TiffStack(file, NAME) as stack:
            np.testing.assert_array_equal(stack.page(1), array[1])
        assert file.closed


def test_pages_can_be_read_in_any_order_and_again():
    array = random_array((5, 3, 4), np.uint16)
    with open_stack(publisher.tif(array)) as stack:
        for z in (4, 0, 2, 2, 4):
            np.testing.assert_array_equal(stack.page(z), array[z])


class SlowFile(io.BytesIO):
    """Other threads run between a seek and the next read."""

    def seek(self, *arguments):
        position = super().seek(*arguments)
        time.sleep(1e-4)
        return position


def test_threads_may_read_pages_at_the_same_time():
    array = random_array((40, 30, 40), np.uint16)
    file = SlowFile(publisher.tif(array, compression="zlib"))
    with TiffStack(file, NAME) as stack, ThreadPoolExecutor(4) as threads:
        order = np.random.default_rng(0).permutation(np.repeat(np.arange(40), 4))
        for z, page in zip(order, threads.map(stack.page, order), strict=True):
            np.testing.assert_array_equal(page, array[z])


@pytest.mark.parametrize("description", ["a synthetic scene", None])
def test_the_description_is_that_of_the_first_page(description):
    pages = random_array((2, 3, 4), np.uint16)
    with open_stack(write(pages, description=description)) as stack:
        assert stack.description == (description or "")


# Files that are no stack


@pytest.mark.parametrize("data", [b"", b"<html>", b"II*\0", b"II*\0\x08\0\0\0", b"PK\3\4" * 9])
def test_a_file_that_is_not_a_tif_is_refused_and_closed(data):
    file = io.BytesIO(data)
    with pytest.raises(
        ImageFormatError, match=rf"^{NAME}: the file: expected a readable TIF: .+: the file is dam"
    ):
        TiffStack(file, NAME)
    assert file.closed


def test_pages_of_other_axes_are_refused_and_closed():
    data = publisher.tif(
        random_array((16, 16, 16, 3), np.uint8), volumetric=True, tile=(16, 16, 16)
    )
    file = io.BytesIO(data)
    with pytest.raises(
        ImageFormatError, match=rf"^{NAME}: expected pages of the axes \(y, x\), got \(16, 16, 16"
    ):
        TiffStack(file, NAME)
    assert file.closed


@pytest.mark.parametrize(
    ("page", "found"),
    [
        (np.zeros((4, 5), np.uint16), r"got \(4, 5\) and uint16"),
        (np.zeros((4, 6), np.uint8), r"got \(4, 6\) and uint8"),
        (np.zeros((4, 6, 3), np.uint16), r"got \(4, 6, 3\) and uint16"),
    ],
)
def test_a_page_unlike_the_first_is_refused_and_named(page, found):
    first = np.zeros((4, 6), np.uint16)
    with open_stack(write([first, first, page, first])) as stack:
        assert stack.shape == (4, 4, 6)
        expected = r"page 2: expected shape \(4, 6\) and dtype uint16 as in page 0, "
        with pytest.raises(ImageFormatError, match=f"^{NAME}: {expected}{found}: the file is dam"):
            stack.page(2)
        assert stack.page(3).shape == (4, 6)


def test_a_page_beyond_the_last_is_refused():
    with (
        open_stack(write([np.zeros((4, 6), np.uint16)])) as stack,
        pytest.raises(ImageFormatError, match=f"^{NAME}: page 1: expected a readable TIF: .*rang"),
    ):
        stack.page(1)


def test_a_closed_stack_gives_no_pages():
    with open_stack(write([np.zeros((4, 6), np.uint16)])) as stack:
        pass
    with pytest.raises(ValueError, match=f"^{NAME}: the file is closed"):
        stack.page(0)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_file_that_ends_too_early_is_refused(share, compression):
    data = publisher.tif(random_array((9, 20, 30), np.uint16), compression=compression)
    with pytest.raises(ImageFormatError, match=rf"^{NAME}: (page \d|the file): expected a readab"):
        read(data[: int(share * len(data))])


def test_a_file_that_is_cut_between_its_pages_does_not_pass_for_a_shorter_one():
    data = publisher.tif(random_array((9, 20, 30), np.uint16), compression="zlib")
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        offset = file.pages[5].offset
    with pytest.raises(
        ImageFormatError,
        match=rf"^{NAME}: the file: .*: 5 pages, and another one at byte {offset}",
    ):
        open_stack(data[:offset])


def test_a_page_larger_than_its_file_can_hold_is_refused_before_memory_is_allocated():
    data = bytearray(publisher.tif(np.zeros((1, 4, 4), np.uint16), compression="zlib"))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        tags = file.pages[0].tags
        for name in ("ImageLength", "ImageWidth"):
            # The low bytes of a short or long.
            data[tags[name].valueoffset : tags[name].valueoffset + 2] = b"\x00\x10"
    with open_stack(bytes(data)) as stack:
        assert stack.shape == (1, 4096, 4096)
        with pytest.raises(
            ImageFormatError,
            match=rf"^{NAME}: page 0: .*: 33554432 bytes of pixels in {len(data)} ",
        ):
            stack.page(0)


def test_damaged_pixels_are_refused_and_the_page_is_named():
    data = bytearray(publisher.tif(random_array((3, 20, 30), np.uint16), compression="zlib"))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        data[file.pages[1].dataoffsets[0] + 2] ^= 0xFF
    with open_stack(bytes(data)) as stack:
        assert stack.page(0).shape == (20, 30)
        with pytest.raises(ImageFormatError, match=f"^{NAME}: page 1: expected a readable TIF: "):
            stack.page(1)


SMALL = publisher.tif(random_array((2, 3, 4, 4), np.uint8), compression="zlib")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("bit", range(8))
def test_no_flipped_bit_gives_another_exception(bit):
    refused = 0
    for position in range(len(SMALL)):
        data = bytearray(SMALL)
        data[position] ^= 1 << bit
        try:
            read(bytes(data))
        except ImageFormatError:
            refused += 1
    assert refused > 10


# Writing


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", SHAPES)
def test_written_pages_are_read_by_tifffile_and_by_this_package(shape, dtype, compression):
    array = random_array(shape, dtype)
    data = write(iter(array), compression=compression)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        assert file.byteorder == "<"
        assert len(file.pages) == shape[0]
        page = file.pages[0]
        assert page.photometric.name == ("RGB" if len(shape) == 4 else "MINISBLACK")
        assert page.compression.name == ("NONE" if compression is None else "ADOBE_DEFLATE")
        alpha = [sample.name for sample in page.extrasamples]
        assert alpha == (["UNASSALPHA"] if shape[3:] == (4,) else [])
        np.testing.assert_array_equal([p.asarray() for p in file.pages], array)
    np.testing.assert_array_equal(read(data), array)


def test_the_same_pages_give_the_same_bytes_and_name_no_software():
    array = random_array((3, 5, 7), np.uint16)
    first, second = write(array), write(array)
    assert first == second
    assert b"tifffile" not in first


def test_written_files_are_deflated():
    assert len(write([np.zeros((100, 100), np.uint16)])) < 1000
