"""Stacks of files, page by page against the arrays that they were written from."""

import threading
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from support import png_writer

from _platelet_em.errors import ArchiveError, ImageFormatError, MissingMemberError
from _platelet_em.limits import MAX_PAGES, MAX_VOXELS
from _platelet_em.sources import file_stack
from _platelet_em.sources.file_stack import FileStack

RNG = np.random.default_rng(0)
PAGES = RNG.integers(0, 256, (4, 5, 6), np.uint8)


def save(path, array, **options):
    if path.suffix == ".png":
        Image.fromarray(array).save(path)
    else:
        tifffile.imwrite(path, array, metadata=None, **{"photometric": "minisblack", **options})
    return path


def save_slices(folder, pages, suffixes=(".png",)):
    return [
        save(folder / f"slice {z}{suffixes[z % len(suffixes)]}", page)
        for z, page in enumerate(pages)
    ]


def read(stack):
    return np.stack([stack.page(z) for z in reversed(range(stack.shape[0]))])[::-1]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32])
def test_one_file_of_several_pages(dtype, tmp_path):
    pages = PAGES.astype(dtype)
    with FileStack([save(tmp_path / "all.tif", pages)], "all.tif") as stack:
        assert (stack.shape, stack.dtype, stack.has_colors) == (pages.shape, dtype, False)
        np.testing.assert_array_equal(read(stack), pages)


@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_one_picture_is_a_volume_of_one_slice(suffix, tmp_path):
    with FileStack([save(tmp_path / f"one{suffix}", PAGES[0])], "one") as stack:
        assert stack.shape == stack.volume_shape == (1, 5, 6)
        np.testing.assert_array_equal(stack.page(0), PAGES[0])


@pytest.mark.parametrize("suffixes", [(".tif",), (".png",), (".png", ".tif"), (".tif", ".png")])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_one_file_per_slice(suffixes, dtype, tmp_path):
    pages = PAGES.astype(dtype)
    with FileStack(save_slices(tmp_path, pages, suffixes), "slices") as stack:
        assert (stack.shape, stack.dtype) == (pages.shape, dtype)
        np.testing.assert_array_equal(read(stack), pages)


def test_colors_have_channels(tmp_path):
    pages = RNG.integers(0, 256, (3, 5, 6, 3), np.uint8)
    with FileStack(save_slices(tmp_path, pages), "slices") as stack:
        assert stack.shape == pages.shape
        assert stack.volume_shape == (3, 5, 6)
        np.testing.assert_array_equal(read(stack), pages)


def test_pictures_of_1_bit_are_0_and_255(tmp_path):
    mask = PAGES > 100
    paths = [
        save(tmp_path / "0.png", mask[0]),
        save(tmp_path / "1.tif", mask[1]),
        save(tmp_path / "2.png", mask[2] * np.uint8(255)),
        save(tmp_path / "3.tif", mask[3] * np.uint8(255)),
    ]
    tifffile.imwrite(tmp_path / "all.tif", mask, photometric="minisblack", metadata=None)
    for files in (paths, paths[::-1], [tmp_path / "all.tif"]):
        with FileStack(files, "mask") as stack:
            assert stack.dtype == np.uint8
            found = read(stack)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, 255 * (mask[::-1] if files == paths[::-1] else mask))


def test_palettes_have_a_color_map_per_slice(tmp_path):
    colors = RNG.integers(0, 256, (2, 4, 3))
    for z in (0, 1):
        data = png_writer.write(PAGES[z] % 4, png_writer.PALETTE, 2, palette=colors[z])
        (tmp_path / f"{z}.png").write_bytes(data)
    with FileStack([tmp_path / "0.png", tmp_path / "1.png"], "slices") as stack:
        assert stack.has_colors
        for z in (0, 1):
            np.testing.assert_array_equal(stack.color_map(z), colors[z])
            np.testing.assert_array_equal(stack.page(z), PAGES[z] % 4)


def test_a_palette_of_1_bit_keeps_its_indices(tmp_path):
    indices = PAGES[0] % 2
    data = png_writer.write(indices, png_writer.PALETTE, 1, palette=[[9, 9, 9], [7, 0, 0]])
    (tmp_path / "0.png").write_bytes(data)
    with FileStack([tmp_path / "0.png"], "slices") as stack:
        np.testing.assert_array_equal(stack.page(0), indices)


def test_a_palette_of_1_bit_in_a_tif_keeps_its_indices(tmp_path):
    path, indices = tmp_path / "0.tif", PAGES[0] % 2
    colors = (320, "H", 6, (2313, 1799, 2313, 0, 2313, 0), True)
    tifffile.imwrite(path, indices.astype(bool), photometric="minisblack", extratags=[colors])
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags[262].overwrite(3)
    with FileStack([path], "slices") as stack:
        assert stack.color_map(0).tolist() == [[9, 9, 9], [7, 0, 0]]
        np.testing.assert_array_equal(stack.page(0), indices)


# Many slices


def count_open():
    """Number of files that this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_only_the_first_file_is_read_for_the_shape(tmp_path):
    paths = [save(tmp_path / "0.png", PAGES[0])]
    paths += [tmp_path / f"{z}.png" for z in range(1, 10_000)]
    with FileStack(paths, "slices") as stack:
        assert stack.shape == (10_000, 5, 6)


@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_files_of_slices_are_closed_again(suffix, tmp_path):
    paths = save_slices(tmp_path, np.repeat(PAGES, 20, axis=0), (suffix,))
    before = count_open()
    with FileStack(paths, "slices") as stack:
        for z in range(len(paths)):
            stack.page(z)
            assert count_open() == before


def test_pages_are_read_from_several_threads(tmp_path):
    pages = RNG.integers(0, 256, (40, 30, 20), np.uint8)
    whole = save(tmp_path / "all.tif", pages, compression="zlib")
    for files in ([whole], save_slices(tmp_path, pages, (".png", ".tif"))):
        with FileStack(files, "slices") as stack:
            found = [None] * 40

            def read_some(k, stack=stack, found=found):
                for z in range(k, 40, 4):
                    found[z] = stack.page(z)

            threads = [threading.Thread(target=read_some, args=(k,)) for k in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        np.testing.assert_array_equal(found, pages)


def test_more_slices_or_voxels_than_a_volume_has_are_refused(tmp_path, monkeypatch):
    first = save(tmp_path / "0.png", PAGES[0])
    with pytest.raises(
        ImageFormatError,
        match=rf"^slices: expected at most {MAX_PAGES} slices and .*, got 16385 s",
    ):
        FileStack([first] * (MAX_PAGES + 1), "slices")
    monkeypatch.setattr(file_stack, "MAX_VOXELS", 59)
    with pytest.raises(ImageFormatError, match=r"at most .* 59 voxels, got 2 slices of 5 x 6 pix"):
        FileStack([first] * 2, "slices")
    assert MAX_VOXELS > 59


# Files that do not fit


@pytest.mark.parametrize(
    ("other", "match"),
    [
        (PAGES[0, :, :5], "got uint8 pictures of 5 x 5 pixels: write all slices"),
        (PAGES[0].astype(np.uint16), "got uint16 pictures of 5 x 6 pixels"),
        (
            np.repeat(PAGES[0][..., None], 3, 2),
            "got uint8 pictures of 5 x 6 pixels and 3 channels",
        ),
    ],
)
def test_slices_of_another_form_are_refused(other, match, tmp_path):
    paths = save_slices(tmp_path, PAGES)
    save(paths[2], other)
    expected = rf"^{paths[2]}: expected uint8 pictures of 5 x 6 pixels, as in {paths[0]}, {match}"
    with FileStack(paths, "slices") as stack:
        np.testing.assert_array_equal(stack.page(1), PAGES[1])
        with pytest.raises(ImageFormatError, match=expected):
            stack.page(2)


def test_a_palette_among_gray_slices_is_refused(tmp_path):
    paths = save_slices(tmp_path, PAGES)
    colors = RNG.integers(0, 256, (256, 3))
    paths[1].write_bytes(png_writer.write(PAGES[1], png_writer.PALETTE, palette=colors))
    with (
        FileStack(paths, "slices") as stack,
        pytest.raises(
            ImageFormatError, match=r"slice 1\.png: .*got uint8 .*pixels with a palette"
        ),
    ):
        stack.page(1)


@pytest.mark.parametrize("index", [0, 2])
def test_files_of_several_pages_among_slices_are_refused(index, tmp_path):
    paths = save_slices(tmp_path, PAGES, (".tif",))
    save(paths[index], PAGES[:2])
    expected = rf"^{paths[index]}: expected one page, since slices are 4 files, got 2 pages: name"
    with pytest.raises(ImageFormatError, match=expected), FileStack(paths, "slices") as stack:
        stack.page(index)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"\xff\xd8\xff\xe0JFIF", "expected a TIF or PNG, got a JPEG: convert it without loss"),
        (b"", "expected a TIF or PNG, got an empty file"),
        (b"BM12345678", "expected a TIF or PNG, got b'BM123456'"),
        (b"II*\0", "the file: expected a readable TIF"),
        (png_writer.MAGIC, "expected a PNG with its header"),
    ],
)
def test_other_files_are_refused(content, match, tmp_path):
    path = tmp_path / "slice.png"
    path.write_bytes(content)
    with pytest.raises(ImageFormatError, match=rf"^{path}: {match}"):
        FileStack([path], "slices")


def test_files_that_cannot_be_opened_are_refused(tmp_path):
    paths = save_slices(tmp_path, PAGES)
    with FileStack(paths, "slices") as stack:
        paths[2].unlink()
        with pytest.raises(
            MissingMemberError, match=r"slice 2\.png: expected a TIF or PNG, found"
        ):
            stack.page(2)
        paths[2].mkdir()
        with pytest.raises(
            ArchiveError, match=r"slice 2\.png: expected a regular file, found a f"
        ):
            stack.page(2)


@pytest.mark.parametrize("count", [1, 4])
def test_a_closed_stack_reads_no_pages(count, tmp_path):
    stack = FileStack(save_slices(tmp_path, PAGES)[:count], "slices")
    stack.close()
    for read_part in (stack.page, stack.color_map):
        with pytest.raises(ValueError, match="slices: the file is closed: read pages before clos"):
            read_part(0)


def test_names_of_files_are_printable(tmp_path):
    path = Path(tmp_path, "a\x1b[2J.png")
    path.write_bytes(b"")
    with pytest.raises(ImageFormatError, match=r"a\\x1b\[2J\.png: expected"):
        FileStack([path], "slices")
