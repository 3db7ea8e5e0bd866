"""Labels as TIFs of indices or colors, against the arrays that they were made of."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageSequence
from support import publisher, tiff_writer
from support.label_files import TIF, read, read_tif

from _platelet_em.arrays.page import encode_page
from _platelet_em.errors import ImageFormatError, LabelFormatError
from _platelet_em.facts import PUBLISHED
from _platelet_em.limits import MAX_ID
from _platelet_em.publisher import label_file, label_tif, page_values
from _platelet_em.publisher.label_files import read_labels
from _platelet_em.publisher.palettes import class_palettes

SHAPE = (4, 7, 9)
RNG = np.random.default_rng(0)


def numbered(array):
    """Labels numbered by their first appearance in C order, with plain NumPy."""
    values, first = np.unique(array, return_index=True)
    values, first = values[values != 0], first[values != 0]
    result = np.zeros_like(array, np.int64)
    for number, value in enumerate(values[np.argsort(first)], 1):
        result[array == value] = number
    return result


def random_labels(top, seed=0, shape=SHAPE):
    rng = np.random.default_rng(seed)
    ids = np.concatenate([[0], rng.choice(np.arange(1, 400), top, replace=False)])
    return ids[rng.integers(0, top + 1, shape)].astype(np.int32)


def random_classes(seed=0, shape=SHAPE):
    classes = np.random.default_rng(seed).integers(0, 7, shape).astype(np.uint8)
    classes.reshape(-1)[:7] = [0, 5, 1, 6, 2, 4, 3]
    return classes


# Indices

INDEX_DTYPES = [np.uint8, np.uint16, np.int16, np.uint32, np.int32]


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("dtype", INDEX_DTYPES)
def test_indices_are_ids_in_the_order_of_their_appearance(dtype, compression):
    array = random_labels(20) % 250
    found, ids = read_tif(publisher.tif(array.astype(dtype), compression=compression))
    np.testing.assert_array_equal(found, array)
    appearance = list(dict.fromkeys(array[array > 0].tolist()))
    assert ids == appearance


@pytest.mark.parametrize("dtype", INDEX_DTYPES)
def test_class_indices_are_classes(dtype):
    classes = random_classes()
    found, _ = read_tif(publisher.tif(classes.astype(dtype)), semantic=True, shape=SHAPE)
    np.testing.assert_array_equal(found, classes)


def test_a_mask_of_bits_is_label_one():
    mask = random_classes() > 3
    found, ids = read_tif(publisher.tif(mask))
    np.testing.assert_array_equal(found, mask)
    assert ids == [1]


def test_the_largest_id_is_read():
    array = np.zeros(SHAPE, np.uint32)
    array[1, 2, 3:5] = MAX_ID
    assert read_tif(publisher.tif(array))[1] == [MAX_ID]


@pytest.mark.parametrize(
    ("dtype", "value"), [(np.uint32, MAX_ID + 1), (np.uint32, 2**32 - 1), (np.int16, -1)]
)
def test_the_first_index_that_is_no_id_is_named(dtype, value):
    array = np.zeros(SHAPE, dtype)
    array[2, 3:, 5:] = value
    with pytest.raises(
        LabelFormatError,
        match=rf"^{TIF}: z=2, y=3, x=5: expected 0 to {MAX_ID}, got label {value}: the",
    ):
        read_tif(publisher.tif(array))


def test_a_run_that_goes_on_in_the_next_slice_is_one_run():
    array = np.zeros((3, 2, 4), np.uint8)
    array.reshape(-1)[5:20] = 3
    for data in (publisher.tif(array), publisher.tif(publisher.rgba(array, publisher.OLD))):
        found = read(data, name=TIF)
        assert found.labels.rle == ["6 15"]


# Colors

SAMPLES = {
    "8 bit": lambda colors: colors,
    "16 bit, 257 times": lambda colors: colors.astype(np.uint16) * 257,
    "16 bit, 8-bit values": lambda colors: colors.astype(np.uint16),
    "16 bit, 8-bit values, full alpha": lambda colors: np.concatenate(
        [colors[..., :3].astype(np.uint16), colors[..., 3:].astype(np.uint16) * 257], -1
    ),
}
CHANNELS = {"RGB": slice(0, 3), "RGBA": slice(0, 4)}
PALETTES = {"A": publisher.OLD, "B": publisher.JET}


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("samples", SAMPLES)
@pytest.mark.parametrize("palette", PALETTES)
def test_colors_of_either_palette_are_classes(palette, samples, channels, compression):
    classes = random_classes()
    colors = SAMPLES[samples](publisher.rgba(classes, PALETTES[palette])[..., CHANNELS[channels]])
    found, ids = read_tif(
        publisher.tif(colors, compression=compression), semantic=True, shape=SHAPE
    )
    np.testing.assert_array_equal(found, classes)
    assert ids == [5, 1, 6, 2, 4, 3]


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("samples", SAMPLES)
def test_other_colors_are_ids_in_the_order_of_their_appearance(samples, channels, compression):
    array = random_labels(30, seed=3)
    colors = SAMPLES[samples](
        publisher.rgba(array, publisher.colors(400))[..., CHANNELS[channels]]
    )
    found, ids = read_tif(publisher.tif(colors, compression=compression), shape=SHAPE)
    np.testing.assert_array_equal(found, numbered(array))
    assert ids == list(range(1, 31))


def test_first_appearance_goes_by_z_then_y_then_x():
    array = np.zeros((2, 3, 4), np.int64)
    # In the order z, y, x; any other order of the axes gives other numbers.
    for label, voxel in enumerate([(0, 0, 3), (0, 2, 0), (0, 2, 1), (1, 0, 0), (1, 1, 0)], 1):
        array[voxel] = 6 - label
    array[1, 2, 3] = 5
    found, _ = read_tif(publisher.tif(publisher.rgba(array, publisher.colors(6))))
    voxels = [tuple(index) for index in np.argwhere(found)]
    assert [found[voxel] for voxel in voxels] == [1, 2, 3, 4, 5, 1]


def test_colors_that_differ_by_one_in_one_sample_are_different_ids():
    base = np.array([8, 8, 8])
    lut = np.array([[0, 0, 0], base, *(base + np.eye(3, dtype=int))], np.uint8)
    array = np.arange(5).reshape(1, 1, 5)
    found, _ = read_tif(publisher.tif(publisher.rgba(array, lut)))
    assert found.tolist() == [[[0, 1, 2, 3, 4]]]


@pytest.mark.parametrize("semantic", [False, True])
def test_black_and_transparent_voxels_are_background(semantic):
    colors = np.zeros((1, 1, 4, 4), np.uint8)
    colors[0, 0] = [[0, 0, 0, 255], [250, 94, 0, 0], [99, 99, 99, 0], [250, 94, 0, 255]]
    found, ids = read_tif(publisher.tif(colors), semantic=semantic)
    assert found.tolist() == [[[0, 0, 0, 5 if semantic else 1]]]
    assert len(ids) == 1


def test_a_file_of_background_alone_has_no_labels():
    for array in (np.zeros((2, 3, 4, 4), np.uint8), np.zeros((2, 3, 4), np.uint16)):
        for semantic in (False, True):
            found, ids = read_tif(publisher.tif(array), semantic=semantic)
            assert not found.any()
            assert ids == []


@pytest.mark.parametrize("name", PALETTES)
def test_the_form_names_samples_and_palette(name):
    colors = publisher.rgba(random_classes(), PALETTES[name])
    assert read(publisher.tif(colors), name=TIF, semantic=True).form == (
        f"TIF, RGBA uint8, palette {name}"
    )
    rgb = publisher.tif(colors[..., :3].astype(np.uint16))
    assert read(rgb, name=TIF).form == "TIF, RGB uint16"


def test_background_alone_is_of_either_palette():
    data = publisher.tif(np.zeros((1, 2, 2, 4), np.uint8))
    assert read(data, name=TIF, semantic=True).form == "TIF, RGBA uint8, palette A or B"


@pytest.mark.parametrize("palette", PALETTES)
def test_the_palette_is_chosen_by_the_colors_in_the_file(palette):
    for index in range(1, 7):
        classes = np.full((1, 2, 2), index)
        found, ids = read_tif(
            publisher.tif(publisher.rgba(classes, PALETTES[palette])), semantic=True
        )
        assert ids == [index]
        assert (found == index).all()


@pytest.mark.parametrize("samples", SAMPLES)
def test_an_unknown_color_is_named_with_its_count_and_first_voxel(samples):
    colors = publisher.rgba(random_classes(), publisher.OLD)
    colors[1, 2, 3:6] = colors[3, 0, 0] = (36, 36, 36, 255)
    expected = (
        rf"^{TIF}: expected colors of one palette: A: .*\(1, 1, 224\).*; B: .*\(0, 40, 255\).*, "
        r"got color \(36, 36, 36\) at 4 voxels, first at z=1, y=2, x=3: what the color"
    )
    with pytest.raises(LabelFormatError, match=expected):
        read_tif(publisher.tif(SAMPLES[samples](colors)), semantic=True)


def test_the_first_of_several_unknown_colors_is_named():
    colors = publisher.rgba(np.zeros(SHAPE, int), publisher.OLD)
    colors[2, 0, 0], colors[1, 6, 8] = (7, 7, 7, 255), (9, 9, 9, 255)
    with pytest.raises(
        LabelFormatError, match=r"got color \(9, 9, 9\) at 1 voxels, first at z=1, y=6, x=8"
    ):
        read_tif(publisher.tif(colors), semantic=True)


def test_colors_of_both_palettes_are_refused():
    colors = publisher.rgba(np.array([[[1, 4, 4]]]), publisher.OLD)
    colors[0, 0, 1, :3] = publisher.JET[4]
    with pytest.raises(
        LabelFormatError,
        match=rf"^{TIF}: expected colors of one palette, got colors of several palettes together: "
        r"\[\(1, 1, 224\), \(255, 229, 0\), \(255, 224, 0\)\]",
    ):
        read_tif(publisher.tif(colors), semantic=True)


@pytest.mark.parametrize("alpha", [1, 128, 254])
@pytest.mark.parametrize("semantic", [False, True])
def test_a_partly_transparent_voxel_is_refused(alpha, semantic):
    colors = publisher.rgba(random_classes(), publisher.JET)
    colors[2, 3, 5:, 3] = alpha
    expected = r"z=2, y=3, x=5: expected 0 \(transparent\) or 255 \(opaque\), got alpha"
    with pytest.raises(LabelFormatError, match=rf"^{TIF}: {expected} {alpha}: "):
        read_tif(publisher.tif(colors), semantic=semantic)


@pytest.mark.parametrize("alpha", [254, 256, 65534])
def test_a_partly_transparent_voxel_of_sixteen_bits_is_refused(alpha):
    colors = publisher.rgba(random_classes(), publisher.JET).astype(np.uint16) * 257
    colors[1, 0, 2, 3] = alpha
    expected = r"z=1, y=0, x=2: expected 0 \(transparent\) or 255 or 65535 \(opaque\), got alpha"
    with pytest.raises(LabelFormatError, match=rf"^{TIF}: {expected} {alpha}: "):
        read_tif(publisher.tif(colors))


def test_sixteen_bit_samples_of_neither_scale_are_refused():
    colors = publisher.rgba(random_labels(5), publisher.colors(400)).astype(np.uint16) * 257
    colors[2, 0, 1:3] = (257, 300, 0, 65535)
    expected = (
        rf"^{TIF}: expected samples that are all below 256, or all multiples of 257, got color "
        r"\(257, 300, 0\) at 2 voxels, first at z=2, y=0, x=1: the"
    )
    with pytest.raises(LabelFormatError, match=expected):
        read_tif(publisher.tif(colors))


@pytest.mark.parametrize("dtype", [np.uint32, np.int16])
def test_colors_of_another_dtype_are_refused(dtype):
    colors = publisher.rgba(random_classes(), publisher.OLD).astype(dtype)
    with pytest.raises(
        LabelFormatError, match=rf"^{TIF}: expected color samples .* got dtype {np.dtype(dtype)}: "
    ):
        read_tif(publisher.tif(colors), semantic=True)


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.zeros(SHAPE, np.float32), r"shape \(4, 7, 9\), dtype float32"),
        (np.zeros((*SHAPE, 3), np.float32), r"shape \(4, 7, 9, 3\), dtype float32"),
        (np.zeros((*SHAPE, 2), np.uint8), r"shape \(4, 7, 9, 2\), dtype uint8"),
        (np.zeros((*SHAPE, 5), np.uint8), r"shape \(4, 7, 9, 5\), dtype uint8"),
    ],
)
def test_a_tif_that_cannot_hold_labels_is_refused(array, found):
    options = {"planarconfig": "contig"} if array.ndim == 4 else {}
    data = publisher.tif(array, photometric="minisblack", **options)
    with pytest.raises(
        LabelFormatError, match=rf"^{TIF}: expected integer indices .* got {found}: "
    ):
        read_tif(data)


# Damaged and hostile files


@pytest.mark.parametrize("form", ["index", "rgba"])
def test_pages_of_different_shapes_are_refused(form):
    a, b = np.zeros((1, 7, 9), np.uint8), np.zeros((1, 7, 8), np.uint8)
    if form == "rgba":
        a, b = (publisher.rgba(array, publisher.OLD) for array in (a, b))
    out = io.BytesIO(publisher.tif(a, metadata=None))
    options = {"photometric": "rgb"} if form == "rgba" else {}
    with tifffile.TiffWriter(out, append=True) as writer:
        writer.write(b, metadata=None, **options)
    with pytest.raises(
        ImageFormatError, match=rf"^{TIF}: page 1: expected shape \(7, 9.* got \(7, 8"
    ):
        read_tif(out.getvalue())


def test_too_many_labels_are_refused(monkeypatch):
    monkeypatch.setattr(label_tif, "MAX_LABELS", 5)
    monkeypatch.setattr(label_tif, "TIF_BYTES_PER_LABEL", 10**6)
    array = np.array([[[1, 2, 3]], [[4, 5, 1]]], np.uint8)
    assert read_tif(publisher.tif(array))[1] == [1, 2, 3, 4, 5]
    for last in ([4, 5, 6], [7, 8, 9]):
        array[1, 0] = last
        with pytest.raises(LabelFormatError, match=rf"^{TIF}: expected at most 5 labels, got mor"):
            read_tif(publisher.tif(array))


def test_a_larger_file_may_have_more_labels(monkeypatch):
    monkeypatch.setattr(label_tif, "MAX_LABELS", 0)
    array = np.arange(1, 2001, dtype=np.uint16).reshape(2, 20, 50)
    data = publisher.tif(array, compression=None)
    most = len(data) // 4
    found = read_tif(publisher.tif(array % (most + 1), compression=None))[1]
    assert found == list(range(1, most + 1))
    with pytest.raises(LabelFormatError, match=rf"^{TIF}: expected at most {most} labels, got mo"):
        read_tif(data)


def test_too_many_runs_are_refused(monkeypatch):
    few, many = (
        publisher.tif(np.tile(np.array([1, 0], np.uint8), (3, 1, n)), compression=None)
        for n in (2, 3)
    )
    # A file may have a run more for each of its bytes.
    monkeypatch.setattr(page_values, "MAX_RUNS", 6 - len(few))
    assert read_tif(few)[1] == [1]
    monkeypatch.setattr(page_values, "MAX_RUNS", 8 - len(many))
    with pytest.raises(
        LabelFormatError, match=rf"^{TIF}: expected at most 8 runs, got more: .*no"
    ):
        read_tif(many)


def test_a_volume_of_too_many_slices_is_refused(monkeypatch):
    monkeypatch.setattr(label_file, "MAX_PAGES", 3)
    with pytest.raises(
        LabelFormatError, match=rf"^{TIF}: expected at most 3 slices, .* got shape"
    ):
        read_tif(publisher.tif(random_classes()))


# Palettes


def palette_tif(indices, colors):
    """A TIF of indices whose color map holds these colors, in 16 bits."""
    table = np.zeros((256, 3), np.int64)
    table[: len(colors)] = colors
    return tiff_writer.write(indices, {262: 3, 320: (table.T.reshape(-1) * 257).tolist()})


@pytest.mark.parametrize("palette", ["A", "B"])
def test_the_colors_of_a_color_map_are_classes_whatever_the_indices(palette):
    colors = class_palettes(PUBLISHED)[palette]
    order = np.array([3, 6, 0, 2, 5, 1, 4])
    indices = RNG.integers(0, 7, (2, 6, 8)).astype(np.uint8)
    data = palette_tif(indices, colors[order])
    found = read_labels(io.BytesIO(data), "a.tif", classes_of=PUBLISHED)
    np.testing.assert_array_equal(np.asarray(found.labels), order[indices])
    by_pillow = [np.asarray(page.convert("RGB")) for page in pillow_pages(data)]
    np.testing.assert_array_equal(colors[np.asarray(found.labels)], np.stack(by_pillow))
    assert found.form == f"TIF, color indices uint8, palette {palette}"


def pillow_pages(data):
    with Image.open(io.BytesIO(data)) as picture:
        yield from ImageSequence.Iterator(picture)


def test_a_color_map_of_other_colors_is_no_classes():
    data = palette_tif(np.ones((1, 2, 2), np.uint8), [[0, 0, 0], [9, 8, 7]])
    with pytest.raises(LabelFormatError, match=r"color \(9, 8, 7\) at 4 voxels"):
        read_labels(io.BytesIO(data), "a.tif", classes_of=PUBLISHED)


def test_ids_behind_a_color_map_are_refused():
    data = palette_tif(np.ones((1, 2, 2), np.uint8), [[0, 0, 0], [9, 8, 7]])
    with pytest.raises(LabelFormatError, match=r"^a.tif: its tag PhotometricInterpretation says"):
        read_labels(io.BytesIO(data), "a.tif")


def test_the_masks_that_this_package_writes_are_label_files_too():
    mask = RNG.integers(0, 7, (6, 8)).astype(np.uint8)
    data = encode_page(mask, class_palettes(PUBLISHED)["A"])
    found = read_labels(io.BytesIO(data), "a.tif", classes_of=PUBLISHED)
    np.testing.assert_array_equal(np.asarray(found.labels), mask[None])
