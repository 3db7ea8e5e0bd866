"""Label files of every form, against the publisher's decoder and the arrays they were made of."""

import io
import json

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from support import publisher

from _platelet_em.errors import ImageFormatError, LabelFormatError
from _platelet_em.limits import MAX_ID
from _platelet_em.publisher import label_files
from _platelet_em.publisher.label_files import read_labels

SHAPE = (4, 7, 9)
JSON, TIF = "50-labels.json", "50-labels.tif"


def dense(store):
    """Runs as voxels, slice by slice; runs must not overlap."""
    result = np.zeros(store.shape, np.int64)
    for z in range(store.shape[0]):
        flat, runs = result[z].reshape(-1), store.slice(z)
        for start, stop, owner in zip(
            runs.starts.tolist(), runs.stops.tolist(), runs.owners.tolist(), strict=True
        ):
            assert 0 <= start < stop <= flat.size
            assert not flat[start:stop].any()
            flat[start:stop] = store.ids[owner]
    return result


def read(data, *, semantic=False, name=TIF, shape=None):
    file = io.BytesIO(data)
    with read_labels(file, name, semantic=semantic, shape=shape) as store:
        assert file.closed
        assert store.ids.dtype == np.int32
        return dense(store), store.ids.tolist()


def read_json(labels, **options):
    return read(json.dumps(labels).encode(), name=JSON, **options)


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
    found, ids = read(publisher.tif(array.astype(dtype), compression=compression))
    np.testing.assert_array_equal(found, array)
    appearance = list(dict.fromkeys(array[array > 0].tolist()))
    assert ids == appearance


@pytest.mark.parametrize("dtype", INDEX_DTYPES)
def test_class_indices_are_classes(dtype):
    classes = random_classes()
    found, _ = read(publisher.tif(classes.astype(dtype)), semantic=True, shape=SHAPE)
    np.testing.assert_array_equal(found, classes)


def test_a_mask_of_bits_is_label_one():
    mask = random_classes() > 3
    found, ids = read(publisher.tif(mask))
    np.testing.assert_array_equal(found, mask)
    assert ids == [1]


def test_the_largest_id_is_read():
    array = np.zeros(SHAPE, np.uint32)
    array[1, 2, 3:5] = MAX_ID
    assert read(publisher.tif(array))[1] == [MAX_ID]


@pytest.mark.parametrize(
    ("dtype", "value"), [(np.uint32, MAX_ID + 1), (np.uint32, 2**32 - 1), (np.int16, -1)]
)
def test_indices_that_are_no_ids_are_refused_where_they_are(dtype, value):
    array = np.zeros(SHAPE, dtype)
    array[2, 3:, 5:] = value
    with pytest.raises(
        LabelFormatError,
        match=rf"^{TIF}: z=2, y=3, x=5: expected 0 to {MAX_ID}, got label {value}$",
    ):
        read(publisher.tif(array))


def test_an_index_that_is_no_class_is_refused_where_it_is():
    classes = random_classes()
    classes[1, 6, 8] = classes[2, 0, 0] = classes[3, 1, 1] = 7
    expected = r"expected classes from 0 to 6, got label 7 at 3 voxels, first at z=1, y=6, x=8$"
    with pytest.raises(LabelFormatError, match=rf"^{TIF}: {expected}"):
        read(publisher.tif(classes), semantic=True)
    assert 7 in read(publisher.tif(classes), semantic=False)[1]


# Colours

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
def test_colours_of_either_palette_are_classes(palette, samples, channels, compression):
    classes = random_classes()
    colors = SAMPLES[samples](publisher.rgba(classes, PALETTES[palette])[..., CHANNELS[channels]])
    found, ids = read(publisher.tif(colors, compression=compression), semantic=True, shape=SHAPE)
    np.testing.assert_array_equal(found, classes)
    assert ids == [5, 1, 6, 2, 4, 3]


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("samples", SAMPLES)
def test_other_colours_are_ids_by_first_appearance(samples, channels, compression):
    array = random_labels(30, seed=3)
    colors = SAMPLES[samples](
        publisher.rgba(array, publisher.colors(400))[..., CHANNELS[channels]]
    )
    found, ids = read(publisher.tif(colors, compression=compression), shape=SHAPE)
    np.testing.assert_array_equal(found, numbered(array))
    assert ids == list(range(1, 31))


def test_first_appearance_goes_by_z_then_y_then_x():
    array = np.zeros((2, 3, 4), np.int64)
    # In the order z, y, x; every other order of the axes gives other numbers.
    for label, place in enumerate([(0, 0, 3), (0, 2, 0), (0, 2, 1), (1, 0, 0), (1, 1, 0)], 1):
        array[place] = 6 - label
    array[1, 2, 3] = 5
    found, _ = read(publisher.tif(publisher.rgba(array, publisher.colors(6))))
    places = [tuple(p) for p in np.argwhere(found)]
    assert [found[p] for p in places] == [1, 2, 3, 4, 5, 1]


def test_colours_that_differ_in_one_sample_by_one_are_different_ids():
    base = np.array([8, 8, 8])
    lut = np.array([[0, 0, 0], base, *(base + np.eye(3, dtype=int))], np.uint8)
    array = np.arange(5).reshape(1, 1, 5)
    found, _ = read(publisher.tif(publisher.rgba(array, lut)))
    assert found.tolist() == [[[0, 1, 2, 3, 4]]]


@pytest.mark.parametrize("semantic", [False, True])
def test_black_and_transparent_voxels_are_background(semantic):
    colors = np.zeros((1, 1, 4, 4), np.uint8)
    colors[0, 0] = [[0, 0, 0, 255], [250, 94, 0, 0], [99, 99, 99, 0], [250, 94, 0, 255]]
    found, ids = read(publisher.tif(colors), semantic=semantic)
    assert found.tolist() == [[[0, 0, 0, 5 if semantic else 1]]]
    assert len(ids) == 1


def test_a_file_of_background_alone_has_no_labels():
    for array in (np.zeros((2, 3, 4, 4), np.uint8), np.zeros((2, 3, 4), np.uint16)):
        for semantic in (False, True):
            found, ids = read(publisher.tif(array), semantic=semantic)
            assert not found.any()
            assert ids == []


@pytest.mark.parametrize("palette", PALETTES)
def test_the_palette_is_chosen_by_the_colours_that_are_there(palette):
    for index in range(1, 7):
        classes = np.full((1, 2, 2), index)
        found, ids = read(publisher.tif(publisher.rgba(classes, PALETTES[palette])), semantic=True)
        assert ids == [index]
        assert (found == index).all()


@pytest.mark.parametrize("samples", SAMPLES)
def test_an_unknown_colour_is_named_with_its_count_and_first_place(samples):
    colors = publisher.rgba(random_classes(), publisher.OLD)
    colors[1, 2, 3:6] = colors[3, 0, 0] = (36, 36, 36, 255)
    expected = (
        rf"^{TIF}: expected colours of one palette: A: .*\(1, 1, 224\).*; B: .*\(0, 40, 255\).*, "
        r"got colour \(36, 36, 36\) at 4 voxels, first at z=1, y=2, x=3: what the colour"
    )
    with pytest.raises(LabelFormatError, match=expected):
        read(publisher.tif(SAMPLES[samples](colors)), semantic=True)


def test_the_first_of_several_unknown_colours_is_named():
    colors = publisher.rgba(np.zeros(SHAPE, int), publisher.OLD)
    colors[2, 0, 0], colors[1, 6, 8] = (7, 7, 7, 255), (9, 9, 9, 255)
    with pytest.raises(
        LabelFormatError, match=r"got colour \(9, 9, 9\) at 1 voxels, first at z=1, y=6, x=8"
    ):
        read(publisher.tif(colors), semantic=True)


def test_colours_of_both_palettes_are_refused():
    colors = publisher.rgba(np.array([[[1, 4, 4]]]), publisher.OLD)
    colors[0, 0, 1, :3] = publisher.JET[4]
    with pytest.raises(
        LabelFormatError,
        match=rf"^{TIF}: expected colours of one palette, got colours of palette A and of palette "
        r"B together: \[\(1, 1, 224\), \(255, 229, 0\), \(255, 224, 0\)\]",
    ):
        read(publisher.tif(colors), semantic=True)


@pytest.mark.parametrize("alpha", [1, 128, 254])
@pytest.mark.parametrize("semantic", [False, True])
def test_a_voxel_that_is_half_transparent_is_refused(alpha, semantic):
    colors = publisher.rgba(random_classes(), publisher.JET)
    colors[2, 3, 5:, 3] = alpha
    expected = r"z=2, y=3, x=5: expected 0 \(transparent\) or 255 \(opaque\), got alpha"
    with pytest.raises(LabelFormatError, match=rf"^{TIF}: {expected} {alpha}$"):
        read(publisher.tif(colors), semantic=semantic)


@pytest.mark.parametrize("alpha", [254, 256, 65534])
def test_so_is_one_of_sixteen_bits(alpha):
    colors = publisher.rgba(random_classes(), publisher.JET).astype(np.uint16) * 257
    colors[1, 0, 2, 3] = alpha
    expected = r"z=1, y=0, x=2: expected 0 \(transparent\) or 255 or 65535 \(opaque\), got alpha"
    with pytest.raises(LabelFormatError, match=rf"^{TIF}: {expected} {alpha}$"):
        read(publisher.tif(colors))


def test_sixteen_bit_samples_of_neither_scale_are_refused():
    colors = publisher.rgba(random_labels(5), publisher.colors(400)).astype(np.uint16) * 257
    colors[2, 0, 1:3] = (257, 300, 0, 65535)
    expected = (
        rf"^{TIF}: expected samples that are all below 256, or all multiples of 257, got colour "
        r"\(257, 300, 0\) at 2 voxels, first at z=2, y=0, x=1$"
    )
    with pytest.raises(LabelFormatError, match=expected):
        read(publisher.tif(colors))


@pytest.mark.parametrize("dtype", [np.uint32, np.int16])
def test_colours_of_another_dtype_are_refused(dtype):
    colors = publisher.rgba(random_classes(), publisher.OLD).astype(dtype)
    with pytest.raises(
        LabelFormatError, match=rf"^{TIF}: expected colour samples .* got dtype {np.dtype(dtype)}$"
    ):
        read(publisher.tif(colors), semantic=True)


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.zeros(SHAPE, np.float32), r"shape \(4, 7, 9\), dtype float32"),
        (np.zeros((*SHAPE, 3), np.float32), r"shape \(4, 7, 9, 3\), dtype float32"),
        (np.zeros((*SHAPE, 2), np.uint8), r"shape \(4, 7, 9, 2\), dtype uint8"),
        (np.zeros((*SHAPE, 5), np.uint8), r"shape \(4, 7, 9, 5\), dtype uint8"),
    ],
)
def test_a_tif_that_holds_no_labels_is_refused(array, found):
    options = {"planarconfig": "contig"} if array.ndim == 4 else {}
    data = publisher.tif(array, photometric="minisblack", **options)
    with pytest.raises(
        LabelFormatError, match=rf"^{TIF}: expected integer indices .* got {found}$"
    ):
        read(data)


# Files that do not fit, or are damaged


@pytest.mark.parametrize("shape", [(5, 7, 9), (3, 7, 9), (4, 9, 7), (4, 7, 8), (4, 6, 9)], ids=str)
@pytest.mark.parametrize("form", ["json", "index", "rgba"])
def test_labels_of_another_shape_than_the_image_are_refused(form, shape):
    classes = random_classes(shape=shape)
    if form == "json":
        name, data = JSON, json.dumps(publisher.encode(classes)).encode()
    else:
        colors = classes if form == "index" else publisher.rgba(classes, publisher.OLD)
        name, data = TIF, publisher.tif(colors)
    found, wanted = (str(s).replace("(", r"\(").replace(")", r"\)") for s in (shape, SHAPE))
    with pytest.raises(
        LabelFormatError,
        match=rf"^{name}: expected the image's shape {wanted}, got shape {found}$",
    ):
        read(data, name=name, semantic=True, shape=SHAPE)


@pytest.mark.parametrize("shape", [[10, 10], [5], [1, 2, 3, 4]])
def test_labels_that_are_no_volume_are_refused(shape):
    with pytest.raises(
        LabelFormatError, match=rf"^{JSON}: expected a volume \(z, y, x\), got shape \({shape[0]},"
    ):
        read_json({".info": {"shape": shape}, "1": "1 1"})


@pytest.mark.parametrize(
    ("name", "data", "error", "message"),
    [
        (JSON, b"II*\0", LabelFormatError, rf"{JSON}: at byte 0: expected '{{', got b'II"),
        (TIF, b'{"1": ""}', ImageFormatError, f"{TIF}: the file: expected a readable TIF"),
        (JSON, b'{".info": {"shape": [9]}}', LabelFormatError, f"{JSON}: expected a volume"),
        (TIF, publisher.tif(np.zeros(SHAPE, float)), LabelFormatError, f"{TIF}: expected integer"),
    ],
)
def test_a_file_that_is_refused_is_closed(name, data, error, message):
    file = io.BytesIO(data)
    with pytest.raises(error, match=f"^{message}"):
        read_labels(file, name, semantic=False)
    assert file.closed


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
        read(out.getvalue())


# JSON


def test_the_publishers_example_as_a_volume():
    labels = {**publisher.EXAMPLE, ".info": {"shape": [2, 5, 10], "dtype": "np.int"}}
    found, ids = read_json(labels, semantic=True, shape=(2, 5, 10))
    np.testing.assert_array_equal(found, publisher.decode(labels))
    assert ids == [1, 2]


def test_true_ids_are_kept_in_the_order_of_the_file():
    array = random_labels(30)
    labels = publisher.encode(array)
    keys = [".info", *sorted(list(labels)[1:], key=hash)]
    found, ids = read_json({key: labels[key] for key in keys}, shape=SHAPE)
    np.testing.assert_array_equal(found, array)
    assert [str(i) for i in ids] == keys[1:]


def test_later_keys_win_where_masks_overlap():
    info = {".info": {"shape": [2, 2, 4]}}
    first = {**info, "9": "1 12", "2": "5 6", "5": "8 1 16 1"}
    last = {**info, "5": "8 1 16 1", "2": "5 6", "9": "1 12"}
    for labels in (first, last):
        found, _ = read_json(labels)
        np.testing.assert_array_equal(found, publisher.decode(labels))
    assert read_json(first)[0].ravel().tolist() == [9] * 4 + [2] * 3 + [5] + [
        2,
        2,
        9,
        9,
        0,
        0,
        0,
        5,
    ]
    assert read_json(last)[0].ravel().tolist() == [9] * 12 + [0] * 3 + [5]


def test_labels_without_voxels_are_kept():
    labels = {".info": {"shape": [1, 2, 3]}, "4": "", "7": "2 1", "8": " ", "9": "1 6"}
    found, ids = read_json(labels)
    assert ids == [4, 7, 8, 9]
    assert (found == 9).all()


def test_runs_that_cross_slices_are_cut_at_them():
    labels = {".info": {"shape": [4, 2, 3]}, "4": "5 16"}
    np.testing.assert_array_equal(read_json(labels)[0], publisher.decode(labels))


def test_a_volume_without_voxels_is_read():
    for shape in ([0, 2, 3], [2, 0, 3], [2, 3, 0]):
        found, ids = read_json({".info": {"shape": shape}, "3": ""})
        assert found.shape == tuple(shape)
        assert ids == [3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 1 2", r"id 7: expected pairs of start and length, got 3 numbers"),
        ("0 1", r"id 7: run 1 is 0 1; expected a start from 1, .* within the 24 voxels"),
        ("3 1 24 2", r"id 7: run 2 is 24 2; expected"),
        ("1 -1", r"id 7: expected digits and blanks, got '-' at character 3"),
        (r"1 1\x2 1", r"id 7: expected digits and blanks, got '\\\\' at character 4"),
    ],
)
@pytest.mark.parametrize("batch", [1 << 19, 1])
def test_a_damaged_text_is_refused_and_its_id_is_named(text, message, batch, monkeypatch):
    monkeypatch.setattr(label_files, "_BATCH", batch)
    data = f'{{".info": {{"shape": [2, 3, 4]}}, "4": "2 1", "7": "{text}", "9": "1 1"}}'
    if batch == 1:
        # A text that is read piece by piece counts from where the message says.
        message = message.split(":")[0]
    with pytest.raises(LabelFormatError, match=rf"^{JSON}: {message}"):
        read(data.encode(), name=JSON)


def test_a_label_that_is_no_class_is_refused():
    labels = {".info": {"shape": [1, 2, 3]}, "6": "1 1", "7": "2 1"}
    with pytest.raises(
        LabelFormatError, match=rf"^{JSON}: expected classes from 0 to 6, got label 7$"
    ):
        read_json(labels, semantic=True)
    assert read_json(labels)[1] == [6, 7]


@st.composite
def label_dicts(draw):
    shape = draw(st.tuples(*[st.integers(1, 5)] * 3))
    size = int(np.prod(shape))
    labels = {".info": {"shape": list(shape), "dtype": "int64"}}
    for label in draw(st.lists(st.integers(1, MAX_ID), max_size=6, unique=True)):
        runs = draw(st.lists(st.tuples(st.integers(1, size), st.integers(1, size)), max_size=6))
        blank = draw(st.sampled_from([" ", "  ", "\n"]))
        numbers = [str(n) for a, b in runs for n in (a, min(b, size - a + 1))]
        labels[str(label)] = blank.join(numbers).replace("\n", " ")
    return labels


@given(label_dicts(), st.sampled_from([1, 2, 3, 7, 20, 1 << 19]))
def test_any_labels_are_decoded_as_the_publisher_does_however_they_are_batched(labels, batch):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label_files, "_BATCH", batch)
        found, ids = read_json(labels)
    np.testing.assert_array_equal(found, publisher.decode(labels))
    assert [str(i) for i in ids] == [key for key in labels if key != ".info"]


def test_texts_longer_than_a_batch_are_read_whole():
    # Every other voxel, so that each text is longer than what is parsed at a time.
    shape = (3, 300, 300)
    array = np.zeros(shape, np.int64).reshape(-1)
    array[0::2], array[1::4] = 11, 5
    labels = publisher.encode(array.reshape(shape))
    assert len(labels["11"]) > 2 * label_files._BATCH
    assert len(labels["5"]) > label_files._BATCH
    found, _ = read_json({**labels, "8": "100000 20"})
    array[99_999:100_019] = 8
    np.testing.assert_array_equal(found.ravel(), array)


def test_no_changed_byte_is_read_differently_than_the_publisher_reads_it():
    labels = {".info": {"shape": [2, 2, 3]}, "9": "1 2 6 1", "10": "2 1 12 1", "3": ""}
    data = json.dumps(labels).encode()
    good = bad = 0
    for place in range(len(data)):
        for byte in b'01 9",:{}[]\\-\x80\n':
            changed = data[:place] + bytes([byte]) + data[place + 1 :]
            try:
                found, _ = read(changed, name=JSON)
            except LabelFormatError:
                bad += 1
                continue
            expected = publisher.decode(json.loads(changed.decode("latin-1"), strict=False))
            np.testing.assert_array_equal(found, expected)
            good += 1
    assert good > 50
    assert bad > 500
