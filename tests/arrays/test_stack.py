import copy
import io
import pickle

import numpy as np
import pyarrow as pa
import pytest
import tifffile
from PIL import Image
from support import publisher

from _platelet_em.arrays.page import encode_page
from _platelet_em.arrays.stack import LazyStack
from _platelet_em.errors import ImageFormatError
from _platelet_em.facts import PUBLISHED
from _platelet_em.publisher.palettes import class_palettes

PALETTES = class_palettes(PUBLISHED)
VOLUME = publisher.random_volume((5, 12, 17), 8)
IMAGE_PAGES = [encode_page(page) for page in VOLUME.images]
MASK_PAGES = [encode_page(page, PALETTES["A"]) for page in VOLUME.semantic]


@pytest.fixture
def decoded(monkeypatch):
    """The z of the pages that were read, in order."""
    read = []
    decode = LazyStack._decode

    def record(self, z):
        read.append(z)
        return decode(self, z)

    monkeypatch.setattr(LazyStack, "_decode", record)
    return read


def encoded(picture, file_format):
    out = io.BytesIO()
    Image.fromarray(picture).save(out, file_format)
    return out.getvalue()


@pytest.mark.parametrize(
    ("pages", "dense"), [(IMAGE_PAGES, VOLUME.images), (MASK_PAGES, VOLUME.semantic)]
)
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, pa.py_buffer])
def test_pages_of_any_buffer_are_one_array(pages, dense, kind):
    lazy = LazyStack([kind(page) for page in pages])
    assert (lazy.shape, lazy.dtype, lazy.ndim) == (dense.shape, dense.dtype, 3)
    np.testing.assert_array_equal(np.asarray(lazy), dense)
    np.testing.assert_array_equal(lazy[1:4, ::-2, 3], dense[1:4, ::-2, 3])
    for other in (pickle.loads(pickle.dumps(lazy)), copy.copy(lazy), copy.deepcopy(lazy)):
        assert type(other) is LazyStack
        np.testing.assert_array_equal(np.asarray(other), dense)


def test_arrays_png_and_tiff_pages_stand_side_by_side():
    first, second, third, fourth, fifth = VOLUME.semantic
    lazy = LazyStack(
        [
            first,
            encode_page(second, PALETTES["B"]),
            encoded(third, "PNG"),
            publisher.tif(fourth, compression="zlib"),
            publisher.tif(fifth, rowsperstrip=1),
        ]
    )
    np.testing.assert_array_equal(np.asarray(lazy), VOLUME.semantic)


@pytest.mark.parametrize(
    "page",
    [
        VOLUME.images[0].astype(">u2"),
        publisher.tif(VOLUME.images[0], byteorder=">"),
        publisher.tif(VOLUME.images[0], byteorder="<"),
    ],
    ids=["array", "big-endian tiff", "little-endian tiff"],
)
def test_byte_order_does_not_matter(page):
    lazy = LazyStack([page, IMAGE_PAGES[1], page])
    assert lazy.dtype == np.dtype(np.uint16)
    whole = np.asarray(lazy)
    assert whole.dtype == np.dtype(np.uint16)
    np.testing.assert_array_equal(whole, VOLUME.images[[0, 1, 0]])


def test_only_the_first_page_is_decoded_to_know_the_stack(decoded):
    lazy = LazyStack(IMAGE_PAGES)
    assert (lazy.shape, lazy.size, len(lazy)) == (VOLUME.images.shape, VOLUME.images.size, 5)
    assert repr(lazy)
    assert lazy.nbytes > 0
    assert decoded == [0]


@pytest.mark.parametrize(
    ("index", "pages"),
    [
        (3, [3]),
        ((-1, slice(2, 4), slice(5, 9)), [4]),
        (slice(1, 3), [1, 2]),
        ((slice(None, None, -1), 0, 0), [4, 3, 2, 1, 0]),
        (slice(4, None, -2), [4, 2, 0]),
        ((None, 2, ..., 0), [2]),
        (slice(3, 3), []),
        ((slice(None), slice(4, 4)), []),
    ],
)
def test_a_window_decodes_the_pages_that_it_touches(decoded, index, pages):
    lazy = LazyStack(IMAGE_PAGES)
    decoded.clear()
    np.testing.assert_array_equal(lazy[index], VOLUME.images[index])
    assert decoded == pages


def test_views_are_kept_and_decoded_pages_are_not():
    plain = LazyStack(IMAGE_PAGES)
    assert plain._page(1) is plain._page(1)
    assert np.shares_memory(plain._page(1), np.frombuffer(IMAGE_PAGES[1], np.uint8))
    compressed = LazyStack([encoded(page, "png") for page in VOLUME.images])
    assert not np.shares_memory(compressed._page(1), compressed._page(1))
    assert len(pickle.dumps(plain)) < 1.01 * plain.nbytes + 1000


def test_a_damaged_page_is_named_when_it_is_read_and_not_before():
    lazy = LazyStack([*IMAGE_PAGES[:2], b"no picture", *IMAGE_PAGES[3:]])
    np.testing.assert_array_equal(lazy[:2], VOLUME.images[:2])
    np.testing.assert_array_equal(lazy[3:, 4], VOLUME.images[3:, 4])
    with pytest.raises(ImageFormatError, match=r"^page 2: expected an encoded picture, got b'n"):
        lazy[1:3]


@pytest.mark.parametrize(
    ("page", "found"),
    [
        (encode_page(VOLUME.images[0, 1:]), r"\(11, 17\) and uint16"),
        (encode_page(VOLUME.images[0].T.copy()), r"\(17, 12\) and uint16"),
        (MASK_PAGES[0], r"\(12, 17\) and uint8"),
        (np.zeros((12, 17), np.int16), r"\(12, 17\) and int16"),
        (encoded(np.zeros((12, 17, 3), np.uint8), "PNG"), r"\(12, 17, 3\) and uint8"),
    ],
)
def test_a_page_unlike_the_first_is_named(page, found):
    lazy = LazyStack([IMAGE_PAGES[0], page])
    expected = r"expected shape \(12, 17\) and dtype uint16 as in page 0, got "
    with pytest.raises(ImageFormatError, match=f"^page 1: {expected}{found}$"):
        lazy[1, 2, 3]


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (encoded(np.zeros((4, 5, 3), np.uint8), "PNG"), r"axes \(y, x\), got shape \(4, 5, 3\)"),
        (np.zeros(4), r"^page 0: expected the axes \(y, x\), got shape \(4,\)"),
        (b"", r"^page 0: expected an encoded picture, got b''"),
    ],
)
def test_a_first_page_that_is_no_plane_is_refused_at_once(page, message):
    with pytest.raises(ImageFormatError, match=message):
        LazyStack([page])


def test_a_stack_without_pages_is_empty():
    lazy = LazyStack([])
    assert (lazy.shape, lazy.dtype, len(lazy), lazy.nbytes) == ((0, 0, 0), np.uint8, 0, 0)
    assert np.asarray(lazy).shape == (0, 0, 0)
    assert pickle.loads(pickle.dumps(lazy)).shape == (0, 0, 0)


def test_pickles_name_the_public_class():
    assert LazyStack.__module__ == "platelet_em"
    assert b"_platelet_em" not in pickle.dumps(LazyStack(IMAGE_PAGES))


def test_nbytes_counts_what_is_stored():
    assert LazyStack(IMAGE_PAGES).nbytes == sum(map(len, IMAGE_PAGES))
    assert LazyStack([pa.py_buffer(page) for page in MASK_PAGES]).nbytes == sum(
        map(len, MASK_PAGES)
    )
    assert LazyStack([np.zeros((2, 3), np.uint16)] * 4).nbytes == 4 * 12


def test_repr_tells_shape_dtype_and_bytes():
    lazy = LazyStack([np.zeros((2, 3), np.uint16)] * 4)
    assert repr(lazy) == "LazyStack(shape=(4, 2, 3), dtype=uint16, 48 bytes encoded)"


def test_pages_are_those_that_were_given():
    lazy = LazyStack(IMAGE_PAGES)
    assert all(a is b for a, b in zip(lazy.pages, IMAGE_PAGES, strict=True))
    lazy.pages.clear()
    assert len(lazy.pages) == 5


def test_a_published_tif_page_by_page_is_a_stack():
    with tifffile.TiffFile(io.BytesIO(publisher.tif(VOLUME.images))) as file:
        lazy = LazyStack([page.asarray() for page in file.pages])
    np.testing.assert_array_equal(np.asarray(lazy), VOLUME.images)
