"""Images of a user's own files: which forms are gray values, and which are refused."""

import numpy as np
import pytest
import tifffile
from PIL import Image
from support import png_writer

from _platelet_em.errors import ImageFormatError
from _platelet_em.sources.own_images import OwnImages

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (5, 6), np.uint8)


def open_png(path, array, *form, **options):
    path.write_bytes(png_writer.write(array, *form, **options))
    return OwnImages([path], "raw")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "0.png"


def check(images, expected):
    assert images.shape == (1, 5, 6)
    page = images.page(0)
    assert page.dtype == images.dtype == expected.dtype
    np.testing.assert_array_equal(page, expected)
    images.close()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_gray_values_stay_as_they_are(dtype, path):
    expected = GRAY.astype(dtype) * (257 if dtype == np.uint16 else 1)
    check(open_png(path, expected, png_writer.GRAY, 8 * expected.itemsize), expected)


@pytest.mark.parametrize("bits", [2, 4])
def test_gray_values_of_few_bits_are_not_scaled(bits, path):
    expected = GRAY % (1 << bits)
    check(open_png(path, expected, png_writer.GRAY, bits), expected)


def test_equal_channels_are_gray(path):
    rgb = np.repeat(GRAY[..., None], 3, axis=2)
    check(open_png(path, rgb, png_writer.RGB), GRAY)
    opaque = np.full((5, 6, 1), 255, np.uint8)
    check(open_png(path, np.concatenate([rgb, opaque], 2), png_writer.RGBA), GRAY)
    check(open_png(path, np.concatenate([rgb[..., :1], opaque], 2), png_writer.GRAY_ALPHA), GRAY)


def test_equal_channels_of_16_bits_are_gray(tmp_path):
    rgb = np.repeat(RNG.integers(0, 2**16, (5, 6, 1), np.uint16), 3, axis=2)
    tifffile.imwrite(tmp_path / "0.tif", rgb, photometric="rgb")
    check(OwnImages([tmp_path / "0.tif"], "raw"), rgb[..., 0])


def test_other_channels_are_refused(path):
    rgb = np.repeat(GRAY[..., None], 3, axis=2)
    rgb[3, 4] = 7, 7, 8
    expected = (
        rf"^{path}: z=0, y=3, x=4: expected a gray value, which is the same in all channels, got "
        r"the color \(7, 7, 8\): write the image as gray values"
    )
    with pytest.raises(ImageFormatError, match=expected):
        open_png(path, rgb, png_writer.RGB).page(0)


@pytest.mark.parametrize("color", [png_writer.RGBA, png_writer.GRAY_ALPHA])
def test_transparent_pixels_are_refused(color, path):
    channels = 4 if color == png_writer.RGBA else 2
    pixels = np.repeat(GRAY[..., None], channels, axis=2)
    pixels[..., -1] = 255
    pixels[2, 1, -1] = 0
    expected = r"0\.png: z=0, y=2, x=1: expected alpha 255 \(opaque\), got 0: write the picture w"
    with pytest.raises(ImageFormatError, match=expected):
        open_png(path, pixels, color).page(0)


def test_palettes_of_grays_give_gray_values(path):
    colors = np.repeat(RNG.permutation(256)[:, None], 3, axis=1)
    check(
        open_png(path, GRAY, png_writer.PALETTE, palette=colors), colors[GRAY, 0].astype(np.uint8)
    )
    ramp = np.repeat(np.arange(256)[:, None], 3, axis=1)
    check(open_png(path, GRAY, png_writer.PALETTE, palette=ramp), GRAY)


def test_grays_of_a_palette_that_are_no_8_bit_values_are_refused(tmp_path):
    """They are in 16 bits, and no multiples of what writers scale 8 bits by."""
    path, colors = tmp_path / "0.tif", np.repeat(np.arange(256)[None] * 258, 3, axis=0) % 65536
    colors = colors.astype(np.uint16)
    tifffile.imwrite(path, GRAY, photometric="palette", colormap=colors)
    y, x = (int(c) for c in np.argwhere(colors[0][GRAY] > 255)[0])
    expected = rf"z=0, y={y}, x={x}: expected a gray value"
    with OwnImages([path], "raw") as images, pytest.raises(ImageFormatError, match=expected):
        images.page(0)


def test_colors_of_palettes_only_matter_where_they_are_used(path):
    colors = np.repeat(np.arange(256)[::-1, None], 3, axis=1)
    colors[17] = 1, 2, 3
    indices = np.where(GRAY == 17, 18, GRAY).astype(np.uint8)
    check(open_png(path, indices, png_writer.PALETTE, palette=colors), 255 - indices)
    indices[4, 5] = 17
    with pytest.raises(ImageFormatError, match=r"z=0, y=4, x=5: .* got the color \(1, 2, 3\)"):
        open_png(path, indices, png_writer.PALETTE, palette=colors).page(0)


def test_masks_are_black_and_white(path):
    Image.fromarray(GRAY > 99).save(path)
    check(OwnImages([path], "raw"), (GRAY > 99) * np.uint8(255))


@pytest.mark.parametrize(
    ("dtype", "remedy"),
    [
        (np.int8, "add 128, and write them as uint8"),
        (np.int16, "add 32768, and write them as uint16"),
        (np.uint32, "scale them, and write them as uint16"),
        (np.float32, "scale them, and write them as uint16"),
    ],
)
def test_other_dtypes_are_refused(dtype, remedy, tmp_path):
    path = tmp_path / "0.tif"
    tifffile.imwrite(path, (GRAY // 2).astype(dtype), photometric="minisblack")
    expected = rf"^raw: expected images of uint8 or uint16, got {np.dtype(dtype)}: {remedy}"
    with pytest.raises(ImageFormatError, match=expected):
        OwnImages([path], "raw")
