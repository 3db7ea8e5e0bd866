"""TIFs of many writers, forms and compressions: read as their tags say, or refused by the tag.

Samples are compared with libtiff (through imagecodecs) and with what was written. What samples
mean is worked out here, pixel by pixel, from TIFF 6.0: libraries differ in it.
"""

import io
import itertools
import re
import warnings

import imagecodecs
import numpy as np
import pytest
import tifffile
from packaging.version import Version
from PIL import Image
from skimage import io as skimage_io
from support import tiff_writer

from _platelet_em.arrays.page import decode_page
from _platelet_em.errors import ImageFormatError
from _platelet_em.publisher.tiff import TiffStack

DEPTH, HEIGHT, WIDTH = 2, 9, 13
RNG = np.random.default_rng(0)
COMPRESSIONS = {
    "none": 1, "LZW": 5, "deflate": 8, "old deflate": 32946, "PackBits": 32773, "LZMA": 34925,
    "Zstandard": 50000,
}  # fmt: skip


def samples(dtype, channels=0):
    shape = (DEPTH, HEIGHT, WIDTH, channels)[: 4 if channels else 3]
    if dtype is bool:
        return RNG.integers(0, 2, shape).astype(bool)
    return RNG.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def opaque(array):
    """RGBA that is transparent or opaque, the transparent pixels black."""
    clear = RNG.integers(0, 2, array.shape[:3]) == 0
    array[..., 3] = np.where(clear, 0, np.iinfo(array.dtype).max)
    array[clear] = 0
    return array


FORMS = {
    "gray 8": samples(np.uint8),
    "gray 16": samples(np.uint16),
    "index 32": samples(np.uint32),
    "signed 16": samples(np.int16),
    "bits": samples(bool),
    "RGB 8": samples(np.uint8, 3),
    "RGB 16": samples(np.uint16, 3),
    "RGBA 8": opaque(samples(np.uint8, 4)),
    "RGBA 16": opaque(samples(np.uint16, 4)),
}


def by_tifffile(array, **options):
    out = io.BytesIO()
    color = array.ndim == 4
    options = {"photometric": "rgb" if color else "minisblack", **options}
    if color and array.shape[-1] == 4:
        options["extrasamples"] = ["unassalpha"]
    if options.get("planarconfig") == "separate":
        array = np.moveaxis(array, -1, 1)
    tifffile.imwrite(out, array, **options)
    return out.getvalue()


def by_pillow(array, compression, **options):
    out = io.BytesIO()
    pages = [p if isinstance(p, Image.Image) else Image.fromarray(p) for p in array]
    pages[0].save(
        out, "TIFF", save_all=True, append_images=pages[1:], compression=compression, **options
    )
    return out.getvalue()


def tifffile_table():
    layouts = {
        "": {}, "big-endian": {"byteorder": ">"}, "tiled": {"tile": (16, 16)},
        "strips": {"rowsperstrip": 2}, "BigTIFF": {"bigtiff": True},
    }  # fmt: skip
    codecs = {
        "none": {}, "deflate": {"compression": "zlib"}, "LZW": {"compression": "lzw"},
        "deflate, predictor": {"compression": "zlib", "predictor": 2},
        "LZW, predictor": {"compression": "lzw", "predictor": 2},
        "PackBits": {"compression": "packbits"}, "LZMA": {"compression": "lzma"},
        "Zstandard, predictor": {"compression": "zstd", "predictor": 2},
    }  # fmt: skip
    for (form, array), (layout, a), (codec, b) in itertools.product(
        FORMS.items(), layouts.items(), codecs.items()
    ):
        if form == "bits" and codec != "none":
            continue  # tifffile writes none
        yield (
            f"tifffile: {form}, {layout or 'plain'}, {codec}",
            by_tifffile(array, **a, **b),
            array,
        )
    for form in ("RGB 8", "RGB 16", "RGBA 8", "RGBA 16"):
        for codec, options in codecs.items():
            data = by_tifffile(FORMS[form], planarconfig="separate", **options)
            yield f"tifffile: planar {form}, {codec}", data, FORMS[form]


def pillow_table():
    for form, codec in itertools.product(
        ("gray 8", "gray 16", "bits", "RGB 8", "RGBA 8"),
        (None, "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits", "lzma", "zstd"),
    ):
        yield f"Pillow: {form}, {codec}", by_pillow(FORMS[form], codec), FORMS[form]


def tag_table():
    """Written tag by tag: each compression with each odd tag."""
    for (name, code), order in itertools.product(COMPRESSIONS.items(), "<>"):
        gray = FORMS["gray 16"]
        end = f"{name}, {order}"
        for predictor, fill in itertools.product((1, 2), (1, 2)):
            tags = {259: code, 317: predictor, 266: fill}
            data = tiff_writer.write(gray, tags, order=order)
            yield f"tags: predictor {predictor}, fill order {fill}, {end}", data, gray
        stored = {259: code, 262: 0}
        white = tiff_writer.write(gray, stored, order=order)
        yield f"tags: MinIsWhite 16, {end}", white, 65535 - gray
        eight = FORMS["gray 8"]
        yield f"tags: MinIsWhite 8, {end}", tiff_writer.write(eight, stored), 255 - eight
        for orientation in range(1, 9):
            data = tiff_writer.write(gray, {259: code, 274: orientation}, order=order)
            yield f"tags: orientation {orientation}, {end}", data, turned(gray, orientation)
        rgbx = np.concatenate([FORMS["RGB 8"], np.full((DEPTH, HEIGHT, WIDTH, 1), 255)], -1)
        rgbx = rgbx.astype(np.uint8)
        yield f"tags: RGB, opaque extra, {end}", tiff_writer.write(rgbx, {259: code}), rgbx
        alpha = {259: code, 338: 1}
        rgba = FORMS["RGBA 8"]
        yield f"tags: associated alpha, {end}", tiff_writer.write(rgba, alpha), rgba
        small = tiff_writer.write(
            [gray[0], gray[0, ::2, ::2], gray[1], gray[1, ::2, ::2]],
            {259: code},
            order=order,
            page_tags={1: {254: 1}, 3: {255: 2} if order == "<" else {254: 1}},
        )
        yield f"tags: smaller copies, {end}", small, gray


def turned(pages, orientation):
    """Each stored pixel at the place where TIFF 6.0 (page 36) says that it is seen."""
    height, width = pages.shape[1:]
    rows, columns = (height, width) if orientation < 5 else (width, height)
    out = np.zeros((len(pages), rows, columns), pages.dtype)
    for r, c in itertools.product(range(height), range(width)):
        y, x = {
            1: (r, c), 2: (r, columns - 1 - c), 3: (rows - 1 - r, columns - 1 - c),
            4: (rows - 1 - r, c), 5: (c, r), 6: (c, columns - 1 - r),
            7: (rows - 1 - c, columns - 1 - r), 8: (rows - 1 - c, r),
        }[orientation]  # fmt: skip
        out[:, y, x] = pages[:, r, c]
    return out


TABLE = {
    name: (data, expected)
    for name, data, expected in itertools.chain(tifffile_table(), pillow_table(), tag_table())
}


def read(data):
    with TiffStack(io.BytesIO(data), "a.tif") as stack:
        return np.stack([stack.page(z) for z in range(stack.shape[0])])


def test_the_table_is_large():
    assert len(TABLE) > 600


@pytest.mark.parametrize("name", TABLE)
def test_a_file_means_what_its_tags_say_to_both_doors(name):
    data, expected = TABLE[name]
    pages = read(data)
    assert pages.dtype == expected.dtype
    assert pages.dtype.isnative
    np.testing.assert_array_equal(pages, expected)
    np.testing.assert_array_equal(decode_page(data), expected[0])
    if name.startswith("tags"):
        return
    if "bits" in name and Version(imagecodecs.__version__) < Version("2026"):
        pytest.skip("the newest imagecodecs for Python 3.10 reads no 1-bit TIFs")
    # Where tags say nothing beyond samples, libtiff reads the same.
    planar = "planar" in name
    for z, page in enumerate(pages):
        by_libtiff = imagecodecs.tiff_decode(data, index=z)
        np.testing.assert_array_equal(
            np.moveaxis(by_libtiff, 0, -1) if planar else by_libtiff, page
        )


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("fill", [1, 2])
@pytest.mark.parametrize("predictor", [1, 2])
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_samples_of_odd_files_are_those_of_libtiff(compression, predictor, fill, order):
    tags = {259: COMPRESSIONS[compression], 317: predictor, 266: fill}
    data = tiff_writer.write(FORMS["gray 16"], tags, order=order)
    for z, page in enumerate(read(data)):
        np.testing.assert_array_equal(imagecodecs.tiff_decode(data, index=z), page)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_plain_pillow_turns_pages_the_same(orientation):
    data, expected = TABLE[f"tags: orientation {orientation}, none, <"]
    with Image.open(io.BytesIO(data)) as picture:
        np.testing.assert_array_equal(np.asarray(picture), expected[0])


# Files whose meaning is not certain

GRAY, RGB, RGBA = FORMS["gray 16"], FORMS["RGB 8"], FORMS["RGBA 8"]
BLANK = np.concatenate([RGB, np.zeros((DEPTH, HEIGHT, WIDTH, 1), np.uint8)], -1)
DEEP = np.concatenate([GRAY] * 3)


def described(array, text, tags=()):
    return tiff_writer.write(array, {270: text.encode() + b"\0", **dict(tags)})


def auto(array):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        out = io.BytesIO()
        tifffile.imwrite(out, array)
        return out.getvalue()


def by_skimage(array, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        skimage_io.imsave(tmp_path / "a.tif", array, check_contrast=False)
    return (tmp_path / "a.tif").read_bytes()


REFUSED = {
    "CMYK": (by_tifffile(RGBA, photometric="separated"), "PhotometricInterpretation is .*SEPAR"),
    "CMYK by Pillow": (
        by_pillow([Image.fromarray(RGBA[0], "CMYK")], None),
        "PhotometricInterpretation is .*SEPARATED",
    ),
    "CIELab": (tiff_writer.write(RGB, {262: 8}), "PhotometricInterpretation is .*CIELAB"),
    "no photometric": (tiff_writer.write(GRAY, {262: None}), "PhotometricInterpretation is miss"),
    "a blank fourth sample": (tiff_writer.write(BLANK, {338: 0}), "ExtraSamples says nothing"),
    "a fourth sample without tag": (tiff_writer.write(BLANK), "ExtraSamples says nothing"),
    "five samples": (
        tiff_writer.write(np.concatenate([RGBA, RGBA[..., :1]], -1), {338: [2, 0]}),
        "SamplesPerPixel is 5",
    ),
    "three gray samples": (tiff_writer.write(RGB, {262: 1}), "SamplesPerPixel is 3"),
    "an unknown extra sample": (tiff_writer.write(RGBA, {338: 9}), "ExtraSamples is 9"),
    "MinIsWhite by ImageJ": (
        described(GRAY, "ImageJ=1.53t\nimages=2\nslices=2\n", {262: 0}),
        "PhotometricInterpretation is MinIsWhite, and ImageJ wrote the file: .* Invert LUT",
    ),
    **{
        f"bits by tifffile {options}": (
            by_tifffile(FORMS["bits"], **{"photometric": None, **options}),
            "PhotometricInterpretation is MinIsWhite, and tifffile wrote the file: .* bits",
        )
        for options in ({}, {"software": False}, {"metadata": None})
    },
    "MinIsWhite of signed numbers": (
        tiff_writer.write(GRAY.view(np.int16), {262: 0, 339: 2}),
        "PhotometricInterpretation is MinIsWhite, which has no meaning for samples of int16",
    ),
    "orientation 9": (tiff_writer.write(GRAY, {274: 9}), "Orientation is 9, expected 1 to 8"),
    "fill order 3": (tiff_writer.write(GRAY, {266: 3}), "FillOrder is .*3"),
    "planes of kind 3": (tiff_writer.write(RGB, {284: 3}), "PlanarConfiguration is 3"),
    "predictor 3": (tiff_writer.write(GRAY, {259: 8, 317: 3}), "Predictor is .*3"),
    "a palette without colors": (tiff_writer.write(FORMS["gray 8"], {262: 3}), "ColorMap has 0"),
    "a palette of 5 colors": (
        tiff_writer.write(FORMS["gray 8"], {262: 3, 320: [0] * 15}),
        "ColorMap has 15 values, expected 768",
    ),
    "a mask": (tiff_writer.write(GRAY, page_tags={1: {254: 4}}), "NewSubfileType says .* mask"),
    "smaller copies alone": (tiff_writer.write(GRAY, {254: 1}), "NewSubfileType says"),
    "three slices by tifffile": (auto(GRAY[[0, 1, 0]]), "PlanarConfiguration says .* 3 slices"),
    "four slices by tifffile": (auto(GRAY[[0, 1, 0, 1]]), "PlanarConfiguration says .* 4 slices"),
    "channels by ImageJ": (
        by_tifffile(DEEP, imagej=True, metadata={"axes": "CYX"}),
        "ImageDescription says otherwise: ImageJ names 6 channels, 1 slices",
    ),
    "a composite by ImageJ": (
        by_tifffile(DEEP.reshape(2, 3, HEIGHT, WIDTH), imagej=True, metadata={"axes": "ZCYX"},
                    photometric="minisblack", planarconfig=None),
        "ImageJ names 3 channels, 2 slices and 1 time",
    ),
    "slices and time points by ImageJ": (
        described(DEEP, "ImageJ=1.53t\nimages=6\nslices=3\nframes=2\nhyperstack=true\n"),
        "ImageJ names 1 channels, 3 slices and 2 time points",
    ),
    "channels by OME": (
        by_tifffile(DEEP, ome=True, metadata={"axes": "CYX"}),
        "OME names 6 channels, 1 slices",
    ),
    "several images by OME": (
        described(GRAY, '<?xml version="1.0"?><OME><Image ><Pixels/></Image><Image /></OME>'),
        "OME names 2 images",
    ),
    **{
        f"channels by OME: {head}": (
            described(DEEP, f"{head}{image}<{name}Pixels SizeC={q}2{q}\nSizeZ = {q}3{q}/>"),
            "OME names 2 channels, 3 slices",
        )
        for head, image, name, q in (
            ("<OME>", "<Image >", "", '"'),
            ("<?xml version='1.0'?><OME>", "<Image>", "", "'"),
            ("<ome:OME>", "<ome:Image\nID='1'>", "ome:", '"'),
        )
    },
    "several images by OME in lines": (
        described(GRAY, "<OME><Image\nID='1'><Pixels/></Image><Image\nID='2'/></OME>"),
        "OME names 2 images",
    ),
    "channels by tifffile": (
        by_tifffile(GRAY, metadata={"axes": "CYX"}),
        r"tifffile wrote the shape \(2, 9, 13\), axes CYX",
    ),
    "four axes by tifffile": (
        by_tifffile(DEEP.reshape(2, 3, HEIGHT, WIDTH), planarconfig=None,
                    photometric="minisblack"),
        r"tifffile wrote the shape \(2, 3, 9, 13\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_of_uncertain_meaning_is_refused_and_its_tag_named(name):
    data, message = REFUSED[name]
    with pytest.raises(ImageFormatError, match=f"^a.tif: .*tag .*{message}") as caught:
        read(data)
    assert re.search(": (write|choose) ", str(caught.value))


def with_missing_tile():
    """Tiles of which the last is not written, as in a sparse file of GDAL."""
    tiles = [np.ones((16, 16), np.uint16).tobytes()] * 3
    out = io.BytesIO()
    options = {"shape": (32, 32), "dtype": np.uint16, "tile": (16, 16)}
    tifffile.imwrite(out, iter([*tiles, b""]), photometric="minisblack", **options)
    return out.getvalue()


BITS = np.packbits(FORMS["bits"][0], axis=1)
INCOMPLETE = {
    **{
        f"{part} 0, {name}": (tiff_writer.write(GRAY, {259: code, tag: [0]}), f"Strip{part} is 0")
        for (name, code), (part, tag) in itertools.product(
            COMPRESSIONS.items(), {"Offsets": 273, "ByteCounts": 279}.items()
        )
    },
    "a tile": (with_missing_tile(), "Tile[A-Za-z]+ is 0 for number 3"),
    "a GDAL value of missing pixels": (
        tiff_writer.write(GRAY, {273: [0], 279: [0], 42113: b"7\0"}),
        "StripOffsets is 0",
    ),
    "a short strip": (
        tiff_writer.write(GRAY, {279: [2 * HEIGHT * WIDTH - 2]}),
        f"StripByteCounts sums up to {2 * HEIGHT * WIDTH - 2}, expected {2 * HEIGHT * WIDTH}",
    ),
    "a short strip of bits": (
        tiff_writer.write([BITS], {256: WIDTH, 258: 1, 279: [17]}),
        "StripByteCounts sums up to 17, expected 18",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", INCOMPLETE)
def test_pixels_that_are_not_in_the_file_are_not_invented(name):
    data, message = INCOMPLETE[name]
    with pytest.raises(ImageFormatError, match=f"the tag {message}.*: fetch the file again"):
        read(data)
    with pytest.raises(ImageFormatError, match=f"the tag {message}.*: fetch the file again"):
        decode_page(data)


def test_three_slices_by_scikit_image_are_refused(tmp_path):
    with pytest.raises(ImageFormatError, match="PlanarConfiguration says"):
        read(by_skimage(GRAY[[0, 1, 0]], tmp_path))


ACCEPTED = {
    "slices by ImageJ": by_tifffile(GRAY, imagej=True, metadata={"axes": "ZYX"}),
    "time points by ImageJ": by_tifffile(GRAY, imagej=True, metadata={"axes": "TYX"}),
    "slices by OME": by_tifffile(GRAY, ome=True, metadata={"axes": "ZYX"}),
    "slices by tifffile": by_tifffile(GRAY, metadata={"axes": "ZYX"}),
    "a description of another shape": described(GRAY, '{"shape": [2, 3, 9, 13]}'),
    "no JSON": described(GRAY, '{"shape": '),
    "JSON of another kind": described(GRAY, '{"shape": {"x": 1}}'),
}


def test_inverted_bits_of_other_writers_are_read():
    bits = FORMS["bits"]
    stored = [np.packbits(~page, axis=1) for page in bits]
    data = tiff_writer.write(stored, {256: WIDTH, 258: 1, 262: 0})
    np.testing.assert_array_equal(read(data), bits)
    with Image.open(io.BytesIO(data)) as picture:
        np.testing.assert_array_equal(np.asarray(picture), bits[0])


@pytest.mark.parametrize("name", ACCEPTED)
def test_descriptions_of_slices_are_read(name):
    np.testing.assert_array_equal(read(ACCEPTED[name]), GRAY)


def test_more_channels_than_imagej_shows_are_slices():
    deep = np.concatenate([GRAY] * 4)
    for options in ({"imagej": True}, {"ome": True}):
        np.testing.assert_array_equal(read(by_tifffile(deep, **options)), deep)


# Palettes


def colors(array, order):
    """A palette TIF of these indices, whose map holds `order` in 16 bits."""
    table = np.zeros((256, 3), np.uint16)
    table[: len(order)] = order
    return tiff_writer.write(array, {262: 3, 320: table.T.reshape(-1).tolist()})


@pytest.mark.parametrize("scale", [256, 257])
def test_a_palette_of_the_gray_values_is_gray(scale):
    gray = FORMS["gray 8"]
    data = colors(gray, np.repeat(np.arange(256), 3).reshape(256, 3) * scale)
    with TiffStack(io.BytesIO(data), "a.tif") as stack:
        assert not stack.has_colors
        np.testing.assert_array_equal(stack.page(1), gray[1])


@pytest.mark.parametrize("scale", [1, 256, 257])
def test_the_colors_of_a_palette_are_in_eight_bits(scale):
    table = np.array([[0, 0, 0], [1, 171, 254], [255, 224, 0]])
    with TiffStack(io.BytesIO(colors(FORMS["gray 8"], table * scale)), "a.tif") as stack:
        assert stack.has_colors
        assert stack.color_map(1)[:3].tolist() == table.tolist()


def test_pages_with_and_without_colors_are_refused():
    gray = FORMS["gray 8"]
    table = np.arange(768).tolist()
    data = tiff_writer.write(gray, page_tags={1: {262: 3, 320: table}})
    with pytest.raises(ImageFormatError, match=r"page 1: its tag ColorMap has colors, unlike"):
        read(data)
