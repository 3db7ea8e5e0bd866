"""Labels of a user's own files, against the arrays that they were written from."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage.measure import label
from support import png_writer

from _platelet_em.errors import ImageFormatError, LabelFormatError, MissingMemberError
from _platelet_em.limits import MAX_ID
from _platelet_em.sources import own_labels
from _platelet_em.sources.own_labels import read_own_labels
from _platelet_em.spec import Components, DatasetSpec, SemanticClass

RNG = np.random.default_rng(0)
SHAPE = (3, 5, 7)
IDS = np.array([0, 0, 3, 7, 200])[RNG.integers(0, 5, SHAPE)]
NAMES = ("background", "membrane", "glia")
CLASSES = DatasetSpec(name="own", classes=tuple(SemanticClass(name=name) for name in NAMES))
COLORS = [(0, 90, 90), (0, 0, 0), (255, 255, 255)]
COLORED = DatasetSpec(
    name="own",
    palettes=("colors",),
    classes=tuple(
        SemanticClass(name=name, colors=(color,))
        for name, color in zip(NAMES, COLORS, strict=True)
    ),
)
CODED = DatasetSpec(
    name="own",
    classes=CLASSES.classes,
    semantic_codes=((255, 0), (0, 1), (32, 1), (159, 2), (-4, 2), (70_000, 2)),
)
INDICES = RNG.integers(0, 3, SHAPE)


def read(paths, column="cells", spec=CLASSES, shape=SHAPE, **options):
    paths = paths if isinstance(paths, list) else [paths]
    found = read_own_labels(paths, "labels", column, spec, image=("raw", shape), **options)
    assert found.shape == shape
    return found


def save_tif(folder, array, **options):
    tifffile.imwrite(
        folder / "all.tif", array, **{"photometric": "minisblack", "metadata": None, **options}
    )
    return folder / "all.tif"


def save_pngs(folder, array, *form, **options):
    paths = [folder / f"{z}.png" for z in range(len(array))]
    for path, page in zip(paths, array, strict=True):
        path.write_bytes(png_writer.write(page, *form, **options))
    return paths


def with_channels(gray, count, last=None):
    pixels = np.repeat(np.asarray(gray, np.uint8)[..., None], count, axis=-1)
    if last is not None:
        pixels[..., -1] = last
    return pixels


# Ids of instances


@pytest.mark.parametrize(
    "dtype", [np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]
)
def test_ids_stay_as_they_are(dtype, tmp_path):
    labels = read(save_tif(tmp_path, IDS.astype(dtype)))
    np.testing.assert_array_equal(np.asarray(labels), IDS)
    assert sorted(labels.ids.tolist()) == [3, 7, 200]


def test_ids_of_one_file_per_slice(tmp_path):
    labels = read(save_pngs(tmp_path, IDS * 300, png_writer.GRAY, 16))
    np.testing.assert_array_equal(np.asarray(labels), IDS * 300)


def test_the_largest_id(tmp_path):
    ids = np.where(IDS == 7, MAX_ID, 0).astype(np.uint32)
    assert read(save_tif(tmp_path, ids)).ids.tolist() == [MAX_ID]


@pytest.mark.parametrize("wrong", [-1, MAX_ID + 1, 2**40])
def test_ids_out_of_range_are_refused(wrong, tmp_path):
    ids = IDS.astype(np.int64)
    ids[1, 4, 6] = wrong
    path = save_tif(tmp_path, ids)
    expected = rf"^{path}: z=1, y=4, x=6: expected ids from 0, the background, to .*, got {wrong}:"
    with pytest.raises(LabelFormatError, match=expected):
        read(path)


def test_ids_that_are_no_integers_are_refused(tmp_path):
    path = save_tif(tmp_path, IDS.astype(np.float32))
    with pytest.raises(LabelFormatError, match=r"^labels: expected integers, got dtype float32"):
        read(path)


@pytest.mark.parametrize(("channels", "color"), [(3, png_writer.RGB), (4, png_writer.RGBA)])
def test_equal_channels_are_ids(channels, color, tmp_path):
    alpha = None if channels == 3 else 255
    labels = read(save_pngs(tmp_path, with_channels(IDS, channels, alpha), color))
    np.testing.assert_array_equal(np.asarray(labels), IDS)


def test_transparent_pixels_are_background(tmp_path):
    is_opaque = RNG.random(SHAPE) < 0.5
    for channels, color in ((4, png_writer.RGBA), (2, png_writer.GRAY_ALPHA)):
        pixels = with_channels(IDS, channels, 255 * is_opaque)
        labels = read(save_pngs(tmp_path, pixels, color))
        np.testing.assert_array_equal(np.asarray(labels), IDS * is_opaque)


def test_half_transparent_pixels_are_refused(tmp_path):
    pixels = with_channels(IDS, 4, 255)
    pixels[2, 0, 3, 3] = 128
    expected = (
        r"2\.png: z=2, y=0, x=3: expected alpha 0 \(transparent\) or 255 \(opaque\), got 128"
    )
    with pytest.raises(LabelFormatError, match=expected):
        read(save_pngs(tmp_path, pixels, png_writer.RGBA))


def test_other_colors_of_instances_are_refused(tmp_path):
    pixels = with_channels(IDS, 3)
    pixels[1, 2, 0] = 4, 5, 6
    expected = (
        r"1\.png: z=1, y=2, x=0: expected a label, .*, got the color \(4, 5, 6\): write labels as "
        "integers"
    )
    with pytest.raises(LabelFormatError, match=expected):
        read(save_pngs(tmp_path, pixels, png_writer.RGB))


def test_indices_of_a_palette_are_ids(tmp_path):
    colors = RNG.integers(0, 256, (256, 3))
    labels = read(save_pngs(tmp_path, IDS, png_writer.PALETTE, palette=colors))
    np.testing.assert_array_equal(np.asarray(labels), IDS)


def test_a_palette_of_other_gray_values_is_refused(tmp_path):
    grays = with_channels(np.arange(255, -1, -1), 3)
    ids = np.full((1, 5, 7), 3)
    paths = save_pngs(tmp_path, ids, png_writer.PALETTE, palette=grays)
    expected = (
        r"0\.png: z=0, y=0, x=0: expected ids, got index 3 of a palette, where it is the gray "
        "value 252, and which of them is the id is not known"
    )
    with pytest.raises(LabelFormatError, match=expected):
        read(paths, shape=(1, 5, 7))


def test_more_labels_than_files_of_this_size_have_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(own_labels, "MAX_LABELS", 2)
    path = save_tif(tmp_path, IDS.astype(np.uint8))
    assert len(read(path).ids) == 3
    monkeypatch.setattr(own_labels, "TIF_BYTES_PER_LABEL", 10**6)
    with pytest.raises(LabelFormatError, match=r"^labels: expected at most 2 labels, got more"):
        read(path)
    pieces = save_tif(tmp_path, (IDS > 0) & (np.arange(IDS.shape[-1]) % 2 == 0))
    with pytest.raises(LabelFormatError, match=r"^labels: expected at most 2 labels, got more"):
        read(pieces, components=Components(connectivity=1))


# Masks


@pytest.mark.parametrize("connectivity", [1, 2, 3])
@pytest.mark.parametrize("threshold", [0, 127, 199])
def test_pieces_of_a_mask_are_instances(threshold, connectivity, tmp_path):
    gray = RNG.integers(0, 256, SHAPE, np.uint8)
    rule = Components(threshold=threshold, connectivity=connectivity)
    expected = label(gray > threshold, connectivity=connectivity)
    for paths in (save_tif(tmp_path, gray), save_pngs(tmp_path, gray)):
        labels = read(paths, components=rule)
        np.testing.assert_array_equal(np.asarray(labels), expected)
        assert labels.ids.tolist() == list(range(1, expected.max() + 1))


def test_masks_of_1_bit_and_of_gray_palettes(tmp_path):
    mask = RNG.random(SHAPE) < 0.4
    rule = Components(threshold=127)
    for form, options in [
        ((png_writer.GRAY, 1), {}),
        ((png_writer.PALETTE, 1), {"palette": [[0, 0, 0], [255, 255, 255]]}),
    ]:
        labels = read(save_pngs(tmp_path, mask, *form, **options), components=rule)
        np.testing.assert_array_equal(np.asarray(labels), label(mask, connectivity=3))


def test_an_empty_mask_has_no_instances(tmp_path):
    labels = read(save_tif(tmp_path, np.zeros(SHAPE, np.uint8)), components=Components())
    assert labels.ids.tolist() == []


# Semantic classes


def test_class_indices(tmp_path):
    labels = read(save_tif(tmp_path, INDICES.astype(np.uint16)), "semantic")
    np.testing.assert_array_equal(np.asarray(labels), INDICES)


def test_indices_of_a_palette_are_classes_that_have_no_colors(tmp_path):
    colors = RNG.integers(0, 256, (3, 3))
    paths = save_pngs(tmp_path, INDICES, png_writer.PALETTE, palette=colors)
    np.testing.assert_array_equal(np.asarray(read(paths, "semantic")), INDICES)


def test_unknown_classes_are_refused(tmp_path):
    indices = INDICES.astype(np.uint8)
    indices[2, 4, 1] = 3
    path = save_tif(tmp_path, indices)
    expected = (
        rf"^{path}: z=2, y=4, x=1: expected classes from 0 to 2, got label 3: add it to the "
        "description"
    )
    with pytest.raises(LabelFormatError, match=expected):
        read(path, "semantic")


def test_colors_of_instances_are_no_classes_without_colors(tmp_path):
    paths = save_pngs(tmp_path, np.array(COLORS, np.uint8)[INDICES], png_writer.RGB)
    with pytest.raises(LabelFormatError, match=r"got the color \(0, 90, 90\): write labels as"):
        read(paths, "semantic")


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int64])
def test_stored_codes_stand_for_classes(dtype, tmp_path):
    pairs = [(c, k) for c, k in CODED.semantic_codes if c <= np.iinfo(dtype).max]
    codes, classes = np.array(pairs).T
    picked = RNG.integers(0, len(codes), SHAPE)
    labels = read(save_tif(tmp_path, codes[picked].astype(dtype)), "semantic", CODED)
    np.testing.assert_array_equal(np.asarray(labels), classes[picked])
    assert set(labels.ids.tolist()) == {1, 2}


def test_values_without_a_code_are_indices_unless_their_class_has_codes(tmp_path):
    spec = replace(CODED, semantic_codes=((255, 0),))
    values = np.uint8([255, 1, 2])[RNG.integers(0, 3, SHAPE)]
    labels = read(save_tif(tmp_path, values), "semantic", spec)
    assert np.array_equal(np.asarray(labels), np.where(values == 255, 0, values))
    values[1, 2, 3] = 0  # is it class 0, too, or something else?
    with pytest.raises(
        LabelFormatError, match=r"z=1, y=2, x=3: expected the codes 1, 2, 255 of .*, got label 0"
    ):
        read(save_tif(tmp_path, values), "semantic", spec)


def test_codes_of_one_class_that_touch_are_one_run(tmp_path):
    spec = replace(CODED, semantic_codes=((0, 0), (5, 1), (6, 1)))
    path = tmp_path / "a.json"
    path.write_text(json.dumps({".info": {"shape": [1, 2, 4]}, "5": "2 2", "6": "4 3"}))
    labels = read(path, "semantic", spec, shape=(1, 2, 4))
    assert (labels.ids.tolist(), labels.rle) == ([1], ["2 5"])


@pytest.mark.parametrize("form", ["gray", "rgb", "palette"])
def test_codes_in_other_forms(form, tmp_path):
    codes = np.array([255, 0, 32, 159])
    picked = RNG.integers(0, 4, SHAPE)
    pixels = {
        "gray": lambda: save_pngs(tmp_path, codes[picked]),
        "rgb": lambda: save_pngs(tmp_path, with_channels(codes[picked], 3), png_writer.RGB),
        "palette": lambda: save_pngs(
            tmp_path, codes[picked], png_writer.PALETTE, palette=RNG.integers(0, 256, (256, 3))
        ),
    }
    labels = read(pixels[form](), "semantic", CODED)
    np.testing.assert_array_equal(np.asarray(labels), np.array([0, 1, 1, 2])[picked])


def test_unknown_codes_are_refused_with_the_first_place(tmp_path):
    codes = np.full(SHAPE, 255, np.uint8)
    codes[1, 3, 2:5] = 33
    codes[2, 0, 0] = 34
    path = save_tif(tmp_path, codes)
    expected = (
        rf"^{path}: z=1, y=3, x=2: expected the codes -4, 0, 32, 159, 255, 70000 of "
        "semantic_codes, got label 33: add it to the description, or correct the labels"
    )
    with pytest.raises(LabelFormatError, match=expected):
        read(path, "semantic", CODED)


def test_a_value_beyond_64_bits_with_sign_is_no_negative_code(tmp_path):
    path = save_tif(tmp_path, np.full(SHAPE, 2**64 - 4, np.uint64))
    with pytest.raises(LabelFormatError, match="got label 18446744073709551612"):
        read(path, "semantic", CODED)


@pytest.mark.parametrize("scale", [1, 257])
@pytest.mark.parametrize("alpha", [False, True])
def test_colors_stand_for_classes_black_included(alpha, scale, tmp_path):
    dtype = np.uint8 if scale == 1 else np.uint16
    pixels = (np.array(COLORS)[INDICES] * scale).astype(dtype)
    expected = INDICES
    options = {"photometric": "rgb"}
    if alpha:
        is_opaque = RNG.random(SHAPE) < 0.7
        expected = INDICES * is_opaque
        opaque = np.where(is_opaque, np.iinfo(dtype).max, 0)[..., None].astype(dtype)
        pixels = np.concatenate([pixels, opaque], axis=-1)
        options["extrasamples"] = ["unassalpha"]
    labels = read(save_tif(tmp_path, pixels, **options), "semantic", COLORED)
    np.testing.assert_array_equal(np.asarray(labels), expected)


def test_colors_of_a_palette_stand_for_classes(tmp_path):
    order = [2, 0, 1]
    indices = np.argsort(order)[INDICES]
    paths = save_pngs(tmp_path, indices, png_writer.PALETTE, 2, palette=np.array(COLORS)[order])
    np.testing.assert_array_equal(np.asarray(read(paths, "semantic", COLORED)), INDICES)


def test_indices_of_classes_that_have_colors(tmp_path):
    labels = read(save_tif(tmp_path, INDICES.astype(np.uint8)), "semantic", COLORED)
    np.testing.assert_array_equal(np.asarray(labels), INDICES)


def test_unknown_colors_are_refused(tmp_path):
    pixels = np.array(COLORS, np.uint8)[INDICES]
    pixels[1, 0, 6] = 0, 90, 91
    paths = save_pngs(tmp_path, pixels, png_writer.RGB)
    expected = (
        rf"^{paths[1]}: z=1, y=0, x=6: expected colors of classes \(background \(0, 90, 90\), "
        r"membrane \(0, 0, 0\), glia \(255, 255, 255\)\), got the color \(0, 90, 91\)"
    )
    with pytest.raises(LabelFormatError, match=expected):
        read(paths, "semantic", COLORED)


# JSON label files


def save_json(folder, shape, labels):
    path = folder / "Labels.JSON"
    path.write_text(json.dumps({".info": {"shape": shape}, **labels}))
    return path


def test_a_json_label_file(tmp_path):
    labels = read(save_json(tmp_path, SHAPE, {"9": "1 2 36 1", "4": "", "6": "105 1"}))
    assert labels.ids.tolist() == [9, 4, 6]
    assert labels.areas.tolist() == [3, 0, 1]


def test_a_json_label_file_of_one_slice(tmp_path):
    labels = read(save_json(tmp_path, [5, 7], {"9": "8 2"}), shape=(1, 5, 7))
    assert labels[0, 1, :3].tolist() == [9, 9, 0]


def test_a_json_label_file_of_classes(tmp_path):
    labels = read(save_json(tmp_path, SHAPE, {"2": "1 2"}), "semantic")
    assert labels.ids.tolist() == [2]
    with pytest.raises(
        LabelFormatError, match=r"^labels: expected classes from 0 to 2, got label 3"
    ):
        read(save_json(tmp_path, SHAPE, {"3": "1 2"}), "semantic")


def test_a_json_label_file_of_codes(tmp_path):
    strings = {"255": "1 2 50 56", "32": "3 4", "159": "8 1 10 2"}
    labels = np.asarray(read(save_json(tmp_path, SHAPE, strings), "semantic", CODED)).ravel()
    expected = np.full(105, 1)  # code 0, where nothing is stored
    expected[[0, 1, *range(49, 105)]] = 0
    expected[[7, 9, 10]] = 2
    np.testing.assert_array_equal(labels, expected)


def test_an_unknown_code_in_a_json_label_file(tmp_path):
    path = save_json(tmp_path, SHAPE, {"33": "37 2"})
    with pytest.raises(
        LabelFormatError, match=r"^labels: z=1, y=0, x=1: expected .* got label 33"
    ):
        read(path, "semantic", CODED)


def test_json_label_files_that_are_refused(tmp_path):
    path = save_json(tmp_path, SHAPE, {})
    with pytest.raises(LabelFormatError, match=r"one JSON label file, .* got 2 files with Labels"):
        read([path, path])
    with pytest.raises(
        LabelFormatError, match="which has instances already: leave out components"
    ):
        read(path, components=Components())
    path.unlink()
    with pytest.raises(MissingMemberError, match=r"Labels\.JSON: expected a JSON label file, fou"):
        read(path)


# Files that do not belong to the image


@pytest.mark.parametrize("shape", [(2, 5, 7), (3, 7, 5), (1, 5, 7)], ids=str)
def test_labels_of_another_shape_are_refused(shape, tmp_path):
    array = np.ones(shape, np.uint8)
    found = str(shape).replace("(", r"\(").replace(")", r"\)")
    for paths in (
        save_tif(tmp_path, array), save_pngs(tmp_path, array), save_json(tmp_path, shape, {}),
    ):  # fmt: skip
        with pytest.raises(
            LabelFormatError,
            match=rf"^labels: expected the shape \(3, 5, 7\) of the image raw, got shape {found}",
        ):
            read(paths)


def test_pictures_with_loss_are_refused(tmp_path):
    Image.fromarray(IDS[0].astype(np.uint8)).save(tmp_path / "0.jpg")
    with pytest.raises(ImageFormatError, match=r"0\.jpg: expected a TIF or PNG, got a JPEG"):
        read(tmp_path / "0.jpg")
