"""Odd and hostile TIFs, read with little memory, against tifffile."""

import io
import itertools
import lzma
import re
import struct
import zlib
from functools import cache

import numpy as np
import pytest
import tifffile
from PIL import Image
from support import limits

from _platelet_em.errors import MissingExtraError
from _platelet_em.publisher.tiff import TiffStack

SHAPE = (3, 40, 50)
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, OFFSETS, SAMPLES, ROWS, COUNTS = (
    256, 257, 258, 259, 262, 273, 277, 278, 279,
)  # fmt: skip
SUBIFDS = 330
SHORT, LONG, LONG8 = 3, 4, 16


def directory(tags, order, big):
    """The bytes of a directory without the offset of the next: {tag: (type, count, value)}."""
    number, entry = ("Q", "HHQ") if big else ("H", "HHI")
    field = "Q" if big else "I"
    out = struct.pack(order + number, len(tags))
    for tag, (type_, count, value) in sorted(tags.items()):
        out += struct.pack(order + entry, tag, type_, count)
        size = struct.calcsize(order + field)
        value_form = {SHORT: "H", LONG: "I"}.get(type_, field)
        out += struct.pack(order + value_form, value).ljust(size, b"\0")
    return out


def raw_tif(changes=(), *, pixels=bytes(16), pages=1, order="<", big=False, next_page=0):
    """A TIF of pages of 4 x 4 pixels of 8 bits, whose tags may be wrong."""
    head = 16 if big else 8
    tags = {
        WIDTH: (LONG, 1, 4),
        HEIGHT: (LONG, 1, 4),
        BITS: (SHORT, 1, 8),
        COMPRESSION: (SHORT, 1, 1),
        PHOTOMETRIC: (SHORT, 1, 1),
        OFFSETS: (LONG, 1, head),
        SAMPLES: (SHORT, 1, 1),
        ROWS: (LONG, 1, 4),
        COUNTS: (LONG, 1, len(pixels)),
        **dict(changes),
    }
    field = "Q" if big else "I"
    size = len(directory(tags, order, big)) + struct.calcsize(order + field)
    offsets = [head + len(pixels) + i * size for i in range(pages)]
    body = b"".join(
        directory(tags, order, big) + struct.pack(order + field, following)
        for following in [*offsets[1:], next_page or 0]
    )
    magic = {"<": b"II", ">": b"MM"}[order]
    version = (43, 8, 0) if big else (42,)
    start = struct.pack(order + ("HHHQ" if big else "HI"), *version, offsets[0])
    return magic + start + pixels + body


def written(array, **options):
    out = io.BytesIO()
    tifffile.imwrite(out, array, **{"photometric": "minisblack", **options})
    return out.getvalue()


def written_by_pillow(array, compression):
    """A TIF of Pillow, which has codecs of its own."""
    out = io.BytesIO()
    pages = [Image.fromarray(page) for page in array]
    pages[0].save(out, "TIFF", compression=compression, save_all=True, append_images=pages[1:])
    return out.getvalue()


PLANES = b"ImageJ=1.11a\nimages=5\nslices=5\n\0"
OME = b"""<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">
<Image ID="Image:0"><Pixels DimensionOrder="XYCZT" ID="Pixels:0" SizeX="4" SizeY="4" SizeZ="1"
SizeC="1" SizeT="1" Type="uint8"><TiffData><UUID FileName="elsewhere.tif">urn:uuid:1</UUID>
</TiffData></Pixels></Image></OME>\0"""


def described(text, **options):
    """A TIF with that description, which is stored before the pixels."""
    return raw_tif(
        {270: (2, len(text), 8), OFFSETS: (LONG, 1, 8 + len(text)), COUNTS: (LONG, 1, 16)},
        pixels=text + bytes(16),
        **options,
    )


RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 2**16, SHAPE).astype(np.uint16)
SMOOTH = (GRAY // 4096).astype(np.uint8)
RGB = RNG.integers(0, 256, (*SHAPE, 3)).astype(np.uint8)
RGBA = RNG.integers(0, 2**16, (*SHAPE, 4)).astype(np.uint16)
COLOR = {"photometric": "rgb"}
ALPHA = {**COLOR, "extrasamples": ["unassalpha"]}
PLANAR = {"planarconfig": "separate"}

ODD = {
    "big-endian": (written(GRAY, byteorder=">"), GRAY),
    "BigTIFF": (written(GRAY, bigtiff=True), GRAY),
    "big-endian BigTIFF": (written(GRAY, bigtiff=True, byteorder=">"), GRAY),
    "tiled": (written(GRAY, tile=(16, 32)), GRAY),
    "strips of one row": (written(GRAY, rowsperstrip=1), GRAY),
    "deflate": (written(GRAY, compression="zlib"), GRAY),
    "deflate, tiled, with a predictor": (
        written(GRAY, compression="zlib", tile=(16, 16), predictor=True),
        GRAY,
    ),
    "LZMA": (written(GRAY, compression="lzma"), GRAY),
    "PackBits": (written_by_pillow(SMOOTH, "packbits"), SMOOTH),
    "32 bits": (written(GRAY.astype(np.uint32)), GRAY.astype(np.uint32)),
    "signed": (written(GRAY.view(np.int16)), GRAY.view(np.int16)),
    "floats": (written(GRAY.astype(np.float32)), GRAY.astype(np.float32)),
    "bits": (written(GRAY > 9999, photometric="minisblack"), GRAY > 9999),
    "planar RGB": (written(np.moveaxis(RGB, -1, 1), **COLOR, **PLANAR), RGB),
    "planar RGBA, tiled": (
        written(np.moveaxis(RGBA, -1, 1), **ALPHA, **PLANAR, tile=(16, 16)),
        RGBA,
    ),
    "planar RGB, deflate, big-endian": (
        written(np.moveaxis(RGB, -1, 1), **COLOR, **PLANAR, compression="zlib", byteorder=">"),
        RGB,
    ),
    "OME": (written(GRAY, ome=True, metadata={"axes": "ZYX"}), GRAY),
    "ImageJ with one page per plane": (
        written(GRAY, imagej=True, metadata={"axes": "ZYX"}),
        GRAY,
    ),
    "a page that points to others": (
        raw_tif({SUBIFDS: (LONG, 1, 8)}, pixels=bytes(range(16))),
        np.arange(16, dtype=np.uint8).reshape(1, 4, 4),
    ),
    "one page that says it belongs to another file": (
        described(OME),
        np.zeros((1, 4, 4), np.uint8),
    ),
    "big-endian BigTIFF, tag by tag": (
        raw_tif(pixels=bytes(range(16)), pages=3, order=">", big=True),
        np.stack([np.arange(16, dtype=np.uint8).reshape(4, 4)] * 3),
    ),
}
PACKED = {
    "LZW": (written_by_pillow(SMOOTH, "tiff_lzw"), SMOOTH),
    "Zstandard": (written_by_pillow(SMOOTH, "zstd"), SMOOTH),
}


# A dictionary of 4 GiB, which a decoder allocates before it has read a byte.
GREEDY = lzma.compress(
    bytes(99),
    format=lzma.FORMAT_ALONE,
    filters=[{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 27}],
)
GREEDY = GREEDY[:1] + struct.pack("<I", 2**32 - 1) + GREEDY[5:]


@cache
def bomb():
    """Half a gigabyte of zeros, deflated piece by piece."""
    packer = zlib.compressobj(1)
    piece = bytes(1 << 20)
    parts = [packer.compress(piece) for _ in range(1 << 9)]
    return b"".join([*parts, packer.flush()])


def chained(count):
    """Pages whose last one leads back to the middle one; tifffile checks only the first 100."""
    whole = raw_tif(pages=count)
    with tifffile.TiffFile(io.BytesIO(whole)) as tif:
        back = tif.pages[count // 2].offset
    return whole[:-4] + struct.pack("<I", back)


def bad(message):
    return f"expected a readable TIF: {message}.*: the file is damaged: fetch it again, or write"


# Files that take long to make are functions, called where the files are read.
HOSTILE = {
    "a page that is its own next": (raw_tif(next_page=24), bad("page 1 is an earlier one again")),
    "a long chain in a circle": (chained(300), bad("page 300 is an earlier one again")),
    "thousands of pages": (lambda: raw_tif(pages=20_000), bad("more than 16384 pages")),
    "a next page outside the file": (raw_tif(next_page=2**31), bad("1 pages, and another one at")),
    "a width of 2**31": (
        raw_tif({WIDTH: (LONG, 1, 2**31)}),
        "expected 1 to 67108864 pixels per page .*, got 1 pages of 4 x 2147483648 pixels",
    ),
    "a square of 2**32": (
        raw_tif({WIDTH: (LONG, 1, 2**32 - 1), HEIGHT: (LONG, 1, 2**32 - 1)}),
        "got 1 pages of 4294967295 x 4294967295 pixels: the file is damaged, or too large",
    ),
    "pages of more voxels than any volume": (
        raw_tif({WIDTH: (LONG, 1, 8192), HEIGHT: (LONG, 1, 8192)}, pages=17),
        "expected .* and at most 1073741824 voxels, got 17 pages of 8192 x 8192 pixels",
    ),
    "no width": (raw_tif({WIDTH: (LONG, 1, 0)}), "expected 1 to .*, got 1 pages of 4 x 0 pixels"),
    "more pixels than the file": (
        raw_tif({WIDTH: (LONG, 1, 8000), HEIGHT: (LONG, 1, 8000)}),
        "page 0: the tag StripByteCounts sums up to 16, expected 64000000: fetch the file again",
    ),
    "a strip beyond the end": (
        raw_tif({OFFSETS: (LONG, 1, 2**31)}),
        "page 0: " + bad("a strip or tile of 16 bytes at byte 2147483648 of 138"),
    ),
    "a strip of gigabytes": (
        raw_tif({COUNTS: (LONG, 1, 2**32 - 1), COMPRESSION: (SHORT, 1, 8)}),
        "page 0: " + bad("4294967295 bytes of strips or tiles"),
    ),
    "a tag of billions of values": (
        raw_tif({OFFSETS: (LONG, 2**32 - 1, 8)}),
        "the file: " + bad("tag 273 has 4294967295 values in 138 bytes of file"),
    ),
    "a BigTIFF tag of 2**60 values": (
        raw_tif({OFFSETS: (LONG8, 2**60, 8)}, big=True),
        "the file: " + bad("tag 273 has 1152921504606846976 values"),
    ),
    "a BigTIFF directory of 2**60 tags": (
        raw_tif(big=True, pixels=struct.pack("<Q", 2**60) * 2)[:8]
        + struct.pack("<Q", 16)
        + struct.pack("<Q", 2**60) * 2,
        "the file: " + bad("page 0 has 1152921504606846976 tags in 32 bytes of file"),
    ),
    "fewer strips than rows need": (
        raw_tif({ROWS: (LONG, 1, 1), COUNTS: (LONG, 1, 4)}),
        "page 0: the tag StripByteCounts sums up to 4, expected 16: fetch the file again, or",
    ),
    "tiles of 2**31": (
        raw_tif(
            {
                322: (LONG, 1, 2**31),
                323: (LONG, 1, 2**31),
                324: (LONG, 1, 8),
                325: (LONG, 1, 16),
                COMPRESSION: (SHORT, 1, 8),
            }
        ),
        "page 0: " + bad("tiles of 2147483648 x 2147483648 pixels"),
    ),
    "a deflate bomb": (
        lambda: raw_tif({COMPRESSION: (SHORT, 1, 8)}, pixels=bomb()),
        "page 0: " + bad("a strip or tile that unpacks to more than the 67108880 bytes"),
    ),
    "a deflate bomb by the other number": (
        lambda: raw_tif({COMPRESSION: (SHORT, 1, 32946)}, pixels=bomb()),
        "page 0: " + bad("a strip or tile that unpacks to more than"),
    ),
    "deflate of too few pixels": (
        raw_tif({COMPRESSION: (SHORT, 1, 8)}, pixels=zlib.compress(bytes(9))),
        "page 0: " + bad(""),
    ),
    "no deflate": (
        raw_tif({COMPRESSION: (SHORT, 1, 8)}, pixels=b"\xff" * 16),
        "page 0: " + bad(""),
    ),
    "JPEG": (
        written_by_pillow(SMOOTH, "jpeg"),
        "page 0: the tag Compression is .*JPEG.*, expected none, deflate, LZW, .*: write the",
    ),
    "an unknown compression": (
        raw_tif({COMPRESSION: (SHORT, 1, 54321)}),
        "page 0: the tag Compression is 54321, expected none, .*: write the page again",
    ),
    "subsampled colors": (
        raw_tif({PHOTOMETRIC: (SHORT, 1, 6), SAMPLES: (SHORT, 1, 3), 530: (SHORT, 2, 2)}),
        "page 0: the tag PhotometricInterpretation is .*YCBCR.*: write the page again",
    ),
    "planes without pages": (
        described(PLANES),
        "5 planes in one page: tools that read pages would lose the others: write it with one",
    ),
    "pages of different sizes": (
        written_by_pillow([SMOOTH[0], SMOOTH[1, :7]], None),
        r"page 1: expected shape \(40, 50\) and dtype uint8 as in page 0, got \(7, 50\) and uint8",
    ),
    "an LZMA bomb": (
        lambda: raw_tif(
            {COMPRESSION: (SHORT, 1, 34925)}, pixels=lzma.compress(bytes(1 << 28), preset=0)
        ),
        "page 0: " + bad("a strip or tile that unpacks to more than the 67108880 bytes"),
    ),
    "LZMA with a dictionary of gigabytes": (
        raw_tif({COMPRESSION: (SHORT, 1, 34925)}, pixels=GREEDY),
        "page 0: " + bad("Memory usage limit"),
    ),
    "nothing": (b"", "the file: " + bad("it begins with b''")),
}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tif")
    (folder / "elsewhere.tif").write_bytes(written(GRAY))
    cases = {}
    for i, (name, (data, _)) in enumerate(itertools.chain(ODD.items(), HOSTILE.items())):
        path = folder / f"{i}.tif"
        path.write_bytes(data() if callable(data) else data)
        cases[name] = ("read_tif", path)
    return limits.outcomes(cases)


@pytest.mark.parametrize("case", ODD)
def test_an_odd_but_valid_file_gives_its_voxels(case, found):
    data, voxels = ODD[case]
    assert found[case] == {"value": [list(voxels.shape), str(voxels.dtype), limits.digest(voxels)]}
    by_tifffile = tifffile.imread(io.BytesIO(data), key=slice(None), is_ome=False)
    if case.startswith("planar"):
        by_tifffile = np.moveaxis(by_tifffile, 1, -1)
    np.testing.assert_array_equal(by_tifffile.reshape(voxels.shape), voxels)


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_one_error_that_names_the_file(case, found):
    outcome = found[case]
    assert outcome.get("ours"), outcome
    assert outcome["error"] == "ImageFormatError"
    assert re.match(rf"\d+\.tif: .*{HOSTILE[case][1]}", outcome["message"]), outcome["message"]
    assert len(outcome["message"]) < 300


NO_CODECS = "raise ImportError('not installed')\n"
SEVEN_BITS = raw_tif({BITS: (SHORT, 1, 7)})


def test_a_missing_codec_is_an_error_that_names_the_extra(tmp_path):
    (tmp_path / "without").mkdir()
    (tmp_path / "without/imagecodecs.py").write_text(NO_CODECS)
    cases = {}
    for name, data in {**{k: v[0] for k, v in PACKED.items()}, "7 bits": SEVEN_BITS}.items():
        (tmp_path / f"{name}.tif").write_bytes(data)
        cases[name] = ("read_tif", tmp_path / f"{name}.tif")
    found = limits.outcomes(cases, tmp_path / "without")
    for name, outcome in found.items():
        assert outcome["error"] == "MissingExtraError", outcome
        expected = rf"{name}\.tif: page 0: .*: pip install 'platelet-em\[codecs\]'$"
        assert re.match(expected, outcome["message"]), outcome["message"]


def test_zstandard_needs_the_extra_even_where_python_can_read_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with (
        TiffStack(io.BytesIO(PACKED["Zstandard"][0]), "a.tif") as stack,
        pytest.raises(MissingExtraError, match="Zstandard requires the 'imagecodecs' package"),
    ):
        stack.page(0)


def test_with_the_codecs_installed_files_are_read_and_bombs_refused(tmp_path):
    pytest.importorskip("imagecodecs")
    cases = {}
    for name, (data, _) in PACKED.items():
        (tmp_path / f"{name}.tif").write_bytes(data)
        cases[name] = ("read_tif", tmp_path / f"{name}.tif")
    for name in ("a deflate bomb", "an LZMA bomb"):
        (tmp_path / f"{name}.tif").write_bytes(HOSTILE[name][0]())
        cases[name] = ("read_tif", tmp_path / f"{name}.tif")
    found = limits.outcomes(cases)
    for name, (_, voxels) in PACKED.items():
        expected = [list(voxels.shape), str(voxels.dtype), limits.digest(voxels)]
        assert found[name] == {"value": expected}
    for name in ("a deflate bomb", "an LZMA bomb"):
        assert "unpacks to more than" in found[name]["message"]
