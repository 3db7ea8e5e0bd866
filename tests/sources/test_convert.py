"""Label files converted to other forms, against the publisher's decoder and tifffile."""

import dataclasses
import io
import json
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support import publisher

from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.errors import (
    ConversionError,
    ImageFormatError,
    LabelFormatError,
    MissingMemberError,
    OutputError,
)
from _platelet_em.facts import PUBLISHED
from _platelet_em.publisher import label_write as write_module
from _platelet_em.publisher.label_write import write_json
from _platelet_em.sources import convert as convert_module
from _platelet_em.sources.convert import convert
from _platelet_em.spec import DatasetSpec, SemanticClass

SHAPE = (3, 6, 8)
PALETTES = {"A": publisher.OLD, "B": publisher.JET}


def write_labels(path, labels):
    path.write_text(json.dumps(labels))
    return path


def random_ids(top=65535, seed=0, shape=SHAPE):
    rng = np.random.default_rng(seed)
    ids = np.concatenate([[0, top], rng.integers(1, top, 12)])
    array = ids[rng.integers(0, len(ids), shape)]
    array[-1, -1, -1] = top
    return array


def random_classes(seed=0):
    classes = np.random.default_rng(seed).integers(0, 7, SHAPE)
    classes[0, 0, :7] = range(7)
    return classes


@pytest.fixture
def instances(tmp_path):
    """A JSON file of instances, and its voxels."""
    array = random_ids()
    return write_labels(tmp_path / "50-instance-cell.json", publisher.encode(array)), array


@pytest.fixture
def classes(tmp_path):
    """A JSON file of classes, and its voxels."""
    array = random_classes()
    return write_labels(tmp_path / "50-semantic.json", publisher.encode(array)), array


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# From JSON


def test_instances_become_a_tif_of_their_ids(instances, tmp_path):
    source, array = instances
    convert(source, tmp_path / "a.tif", form="index")
    found = tifffile.imread(tmp_path / "a.tif")
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, array)


def test_classes_become_a_tif_of_their_indices(classes, tmp_path):
    source, array = classes
    convert(source, tmp_path / "a.tif", form="index")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), array)


@pytest.mark.parametrize("palette", PALETTES)
def test_classes_become_colors_of_a_palette(palette, classes, tmp_path):
    source, array = classes
    convert(source, tmp_path / "a.tif", palette=palette)
    found = tifffile.imread(tmp_path / "a.tif")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, publisher.rgba(array, PALETTES[palette]))


def test_the_default_palette_is_b(classes, tmp_path):
    source, array = classes
    convert(source, tmp_path / "a.tif")
    found = tifffile.imread(tmp_path / "a.tif")
    np.testing.assert_array_equal(found, publisher.rgba(array, publisher.JET))


@pytest.mark.parametrize("top", [255, 65535, 2**24 - 1])
def test_each_instance_gets_a_color_of_its_own(top, tmp_path, same_partition):
    array = random_ids(top)
    # Ids that differ in one bit have different colors, too.
    array[0, 1:3].flat = [min(1 + 2**k, top) for k in range(8, 24)]
    array[0, 3] = 1
    source = write_labels(tmp_path / "50-instance-cell.json", publisher.encode(array))
    convert(source, tmp_path / "a.tif", form="rgba")
    found = tifffile.imread(tmp_path / "a.tif")
    assert found.shape == (*SHAPE, 4)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found[..., 3], np.where(array > 0, 255, 0))
    assert not found[array == 0].any()
    codes = found[..., :3].astype(int) @ [2**16, 2**8, 1]
    assert (codes[array > 0] > 0).all()
    assert same_partition(codes, array)


def test_tifs_are_deflated_and_have_one_page_per_slice(instances, tmp_path):
    source, _ = instances
    for form in ("index", "rgba"):
        convert(source, tmp_path / "a.tif", form=form, force=True)
        with tifffile.TiffFile(tmp_path / "a.tif") as file:
            assert len(file.pages) == SHAPE[0]
            assert {page.compression.name for page in file.pages} == {"ADOBE_DEFLATE"}


def test_overlaps_are_resolved_as_the_publisher_does(tmp_path):
    labels = {".info": {"shape": [2, 2, 4]}, "9": "1 12", "2": "5 6", "5": "8 1 16 1"}
    source = write_labels(tmp_path / "50-instance-cell.json", labels)
    truth = publisher.decode(labels)
    convert(source, tmp_path / "a.tif", form="index")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), truth)
    convert(source, tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text()) == publisher.encode(truth)


def test_json_becomes_canonical_json(tmp_path):
    labels = {".info": {"shape": [2, 2, 4], "dtype": "np.int"}, "30": "9 1 3 2  5 1", "4": ""}
    source = write_labels(tmp_path / "50-instance-cell.json", labels)
    convert(source, tmp_path / "a.json")
    found = json.loads((tmp_path / "a.json").read_text())
    assert found == {".info": {"shape": [2, 2, 4], "dtype": "int64"}, "4": "", "30": "3 3 9 1"}
    assert list(found) == [".info", "4", "30"]


# From TIF


def convert_back(array, tmp_path, kind, **options):
    """JSON to TIF to JSON: the labels before and after."""
    labels = publisher.encode(array)
    source = write_labels(tmp_path / f"50-{kind}.json", labels)
    convert(source, tmp_path / f"{kind}.tif", **options, force=True)
    convert(tmp_path / f"{kind}.tif", tmp_path / f"{kind}-again.json", force=True)
    return labels, json.loads((tmp_path / f"{kind}-again.json").read_text())


def test_ids_survive_a_tif_of_ids(tmp_path):
    before, after = convert_back(random_ids(), tmp_path, "instance-cell", form="index")
    assert after == before


def test_classes_survive_a_tif_of_indices(tmp_path):
    before, after = convert_back(random_classes(), tmp_path, "semantic", form="index")
    assert after == before


@pytest.mark.parametrize("palette", PALETTES)
def test_classes_survive_colors(palette, tmp_path):
    before, after = convert_back(random_classes(), tmp_path, "semantic", palette=palette)
    assert after == before
    assert list(after) == [".info", "1", "2", "3", "4", "5", "6"]


def test_instances_survive_colors_as_a_partition(tmp_path, same_partition):
    array = random_ids(2**24 - 1)
    _, after = convert_back(array, tmp_path, "instance-organelle", form="rgba")
    found = publisher.decode(after)
    assert same_partition(found, array)
    first = [np.argmax(found == label) for label in range(1, int(found.max()) + 1)]
    assert all(a < b for a, b in pairwise(first))


@pytest.mark.parametrize("palette", PALETTES)
def test_a_tif_of_the_publisher_becomes_json(palette, tmp_path):
    array = random_classes()
    source = tmp_path / "50-semantic.tif"
    source.write_bytes(publisher.tif(publisher.rgba(array, PALETTES[palette])))
    convert(source, tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text()) == publisher.encode(array)


def test_one_palette_becomes_the_other(tmp_path):
    array = random_classes()
    source = tmp_path / "50-semantic.tif"
    source.write_bytes(publisher.tif(publisher.rgba(array, publisher.OLD)))
    convert(source, tmp_path / "a.tif", palette="B")
    np.testing.assert_array_equal(
        tifffile.imread(tmp_path / "a.tif"), publisher.rgba(array, publisher.JET)
    )


@settings(max_examples=30)
@given(
    hnp.arrays(
        np.int32,
        st.tuples(*[st.integers(1, 4)] * 3),
        elements=st.sampled_from([0, 1, 2, 3, 300, 65535]),
    ),
    st.sampled_from(["index", "rgba"]),
)
def test_any_labels_survive_any_form(array, form):
    with tempfile.TemporaryDirectory() as folder:
        before, after = convert_back(array, Path(folder), "instance-cell", form=form)
        assert publisher.decode(after).shape == array.shape
        if form == "index":
            assert after == before
        else:
            assert sorted(list(after.values())[1:]) == sorted(list(before.values())[1:])


def test_labels_without_any_id_survive(tmp_path):
    for form in ("index", "rgba"):
        before, after = convert_back(np.zeros(SHAPE, int), tmp_path, "instance-cell", form=form)
        assert after == before


# Conversions that would lose ids


def test_an_id_too_large_for_a_tif_of_ids_is_refused(tmp_path):
    array = random_ids(65536)
    source = write_labels(tmp_path / "50-instance-cell.json", publisher.encode(array))
    expected = r"50-instance-cell\.json: id 65536 does not fit a uint16 TIF \(at most 65535\)"
    with pytest.raises(ConversionError, match=expected):
        convert(source, tmp_path / "a.tif", form="index")
    assert names(tmp_path) == ["50-instance-cell.json"]


def test_an_id_beyond_the_number_of_colors_is_refused(tmp_path):
    array = random_ids(2**24)
    source = write_labels(tmp_path / "50-instance-cell.json", publisher.encode(array))
    expected = rf"id {2**24} has no color of its own: 8-bit RGB distinguishes {2**24 - 1} ids: k"
    with pytest.raises(ConversionError, match=expected):
        convert(source, tmp_path / "a.tif", form="rgba")
    assert names(tmp_path) == ["50-instance-cell.json"]


@pytest.mark.parametrize("form", ["index", "rgba"])
@pytest.mark.parametrize(
    "labels", [{"4": "1 3", "7": ""}, {"7": "2 1 14 2", "4": "1 3", "5": "13 4"}], ids=str
)
def test_an_id_without_voxels_of_its_own_is_refused(form, labels, tmp_path):
    labels = {".info": {"shape": [2, 2, 4]}, **labels}
    source = write_labels(tmp_path / "50-instance-cell.json", labels)
    expected = r"50-instance-cell\.json: id 7 has no voxels of its own, .* keep the JSON"
    with pytest.raises(ConversionError, match=expected):
        convert(source, tmp_path / "a.tif", form=form)
    assert names(tmp_path) == ["50-instance-cell.json"]
    convert(source, tmp_path / "a.json")
    assert "7" in json.loads((tmp_path / "a.json").read_text())


# Form, and classes or instances


@pytest.mark.parametrize(("target", "channels"), [("a.json", None), ("a.tif", 4), ("a.TIFF", 4)])
def test_the_form_follows_from_the_suffix_of_the_target(target, channels, classes, tmp_path):
    source, array = classes
    convert(str(source), str(tmp_path / target))
    if channels is None:
        assert json.loads((tmp_path / target).read_text()) == publisher.encode(array)
    else:
        assert tifffile.imread(tmp_path / target).shape == (*SHAPE, channels)


@pytest.mark.parametrize(
    ("name", "colored"), [("50-semantic.json", True), ("50-instance-organelle.json", False)]
)
def test_the_name_of_the_source_says_whether_labels_are_classes(name, colored, tmp_path):
    array = random_classes()
    source = write_labels(tmp_path / name, publisher.encode(array))
    convert(source, tmp_path / "a.tif")
    found = tifffile.imread(tmp_path / "a.tif")
    assert np.array_equal(found, publisher.rgba(array, publisher.JET)) is colored


@pytest.mark.parametrize("semantic", [True, False])
@pytest.mark.parametrize("name", ["labels.json", "50-semantic.json", "50-instance-cell.json"])
def test_the_argument_semantic_is_preferred_to_the_name(name, semantic, tmp_path):
    array = random_classes()
    source = write_labels(tmp_path / name, publisher.encode(array))
    convert(source, tmp_path / "a.tif", semantic=semantic)
    found = tifffile.imread(tmp_path / "a.tif")
    assert np.array_equal(found, publisher.rgba(array, publisher.JET)) is semantic


@pytest.mark.parametrize("name", ["labels.json", "semantic-and-instance.json"])
def test_a_name_that_says_neither_or_both_is_refused(name, tmp_path):
    source = write_labels(tmp_path / name, publisher.encode(random_classes()))
    with pytest.raises(
        ConversionError, match=rf"^{name}: its name does not say .*: pass semantic=True or"
    ):
        convert(source, tmp_path / "a.tif")
    assert names(tmp_path) == [name]


def test_only_the_name_of_the_file_counts_and_not_that_of_its_folder(tmp_path):
    folder = tmp_path / "labels-semantic-instance"
    folder.mkdir()
    array = random_classes()
    source = write_labels(folder / "50-semantic.json", publisher.encode(array))
    convert(source, tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text()) == publisher.encode(array)


@pytest.mark.parametrize(
    ("options", "got"),
    [
        ({"form": "png"}, "got form 'png', palette 'B'"),
        ({"palette": "C"}, "got form 'rgba', palette 'C'"),
        ({"form": "RGBA"}, "expected a form of json, index, rgba, and a palette of A, B; got"),
    ],
)
def test_an_unknown_form_or_palette_is_refused(options, got, classes, tmp_path):
    source, _ = classes
    with pytest.raises(ConversionError, match=rf"50-semantic\.json to .*a\.tif: .*{got}"):
        convert(source, tmp_path / "a.tif", **options)
    assert names(tmp_path) == ["50-semantic.json"]


def test_a_file_is_not_converted_onto_itself(classes, tmp_path, monkeypatch):
    source, array = classes
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConversionError, match=r"to 50-semantic\.json: expected another file"):
        convert(source, "50-semantic.json")
    assert json.loads(source.read_text()) == publisher.encode(array)


def test_another_dataset_has_other_classes_and_palettes(tmp_path):
    classes = (
        SemanticClass(name="background", colors=((0, 0, 0),)),
        SemanticClass(name="glia", colors=((0, 255, 0),)),
    )
    spec = dataclasses.replace(PUBLISHED, palettes=("only",), classes=classes)
    labels = {".info": {"shape": [1, 1, 2]}, "1": "2 1"}
    source = write_labels(tmp_path / "a-semantic.json", labels)
    convert(source, tmp_path / "a.tif", palette="only", spec=spec)
    assert tifffile.imread(tmp_path / "a.tif").tolist() == [[[0, 0, 0, 0], [0, 255, 0, 255]]]
    convert(source, tmp_path / "default.tif", spec=spec)
    assert (tmp_path / "default.tif").read_bytes() == (tmp_path / "a.tif").read_bytes()
    with pytest.raises(ConversionError, match="a palette of only; got form 'rgba', palette 'B'"):
        convert(source, tmp_path / "b.tif", palette="B", spec=spec)
    write_labels(source, {**labels, "2": "1 1"})
    with pytest.raises(LabelFormatError, match="expected classes from 0 to 1, got label 2"):
        convert(source, tmp_path / "a.json", palette="only", spec=spec)


def test_classes_without_colors_become_indices(tmp_path):
    classes = (SemanticClass(name="background"), SemanticClass(name="glia"))
    spec = DatasetSpec(name="own", classes=classes, semantic_codes=((255, 0), (0, 1)))
    source = tmp_path / "a-semantic.tif"
    source.write_bytes(publisher.tif(np.uint8([[[255, 0, 0]]])))
    convert(source, tmp_path / "a.tif", spec=spec)
    assert np.squeeze(tifffile.imread(tmp_path / "a.tif")).tolist() == [0, 1, 1]
    with pytest.raises(ConversionError, match="a palette of the dataset, which has none; got"):
        convert(source, tmp_path / "b.tif", form="rgba", spec=spec)
    instances = write_labels(
        tmp_path / "instance.json", {".info": {"shape": [1, 1, 2]}, "9": "2 1"}
    )
    convert(instances, tmp_path / "c.tif", spec=spec)
    assert tifffile.imread(tmp_path / "c.tif").shape[-1] == 4


# Errors


def test_a_missing_source_is_named(tmp_path):
    with pytest.raises(
        MissingMemberError, match=r"50-semantic\.json: expected a label file .*No such file"
    ):
        convert(tmp_path / "50-semantic.json", tmp_path / "a.tif")
    assert names(tmp_path) == []


DAMAGED = {
    "50-semantic.json": (b"{", LabelFormatError, "at character 1: expected JSON"),
    "50-instance-cell.tif": (b"II*", ImageFormatError, "the file: expected a readable TIF"),
    "50-semantic.tif": (
        publisher.tif(np.full((1, 2, 2), 9, np.uint8)),
        *(LabelFormatError, "expected classes from 0 to 6, got label 9"),
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_damaged_source_changes_nothing(name, old, tmp_path):
    data, error, message = DAMAGED[name]
    (tmp_path / name).write_bytes(data)
    if old is not None:
        (tmp_path / "a.json").write_bytes(old)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(error, match=rf"{name}: {message}"):
        convert(tmp_path / name, tmp_path / "a.json", force=True)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_an_existing_target_is_replaced_only_when_asked(instances, tmp_path, monkeypatch):
    source, array = instances
    target = tmp_path / "a.json"
    target.write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"a\.json: exists already: .* replace it with --force"):
        convert(source, target)
    assert target.read_bytes() == b"mine"
    convert(source, target, force=True)
    assert json.loads(target.read_text()) == publisher.encode(array)
    # One that appears during the conversion is kept as well.
    write = convert_module.write_json

    def write_late(out, labels):
        (tmp_path / "late.json").write_bytes(b"mine")
        write(out, labels)

    monkeypatch.setattr(convert_module, "write_json", write_late)
    with pytest.raises(OutputError, match=r"late\.json: exists already"):
        convert(source, tmp_path / "late.json")
    assert (tmp_path / "late.json").read_bytes() == b"mine"


def test_a_damaged_rle_string_changes_nothing(tmp_path):
    labels = {".info": {"shape": [2, 2, 4]}, "4": "1 3", "7": "9 1 17 1"}
    source = write_labels(tmp_path / "50-instance-cell.json", labels)
    with pytest.raises(LabelFormatError, match=r"cell\.json: id 7: run 2 is 17 1; expected .* 16"):
        convert(source, tmp_path / "a.tif")
    assert names(tmp_path) == ["50-instance-cell.json"]


@pytest.mark.parametrize("form", ["index", "rgba"])
def test_an_error_between_two_pages_leaves_nothing_behind(form, instances, tmp_path, monkeypatch):
    source, _ = instances
    paint = write_module.paint
    painted = []

    def stop_at_the_second(*arguments):
        painted.append(1)
        if len(painted) == 2:
            raise KeyboardInterrupt("enough")
        return paint(*arguments)

    monkeypatch.setattr(write_module, "paint", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt, match="enough"):
        convert(source, tmp_path / "a.tif", form=form)
    assert names(tmp_path) == ["50-instance-cell.json"]


def test_a_target_that_cannot_be_written_is_named(classes):
    source, array = classes
    with pytest.raises(OutputError, match=r"50-semantic\.json/a\.tif: cannot be written: .+: ch"):
        convert(source, source / "a.tif")
    assert json.loads(source.read_text()) == publisher.encode(array)


def test_the_same_labels_give_the_same_bytes(instances, tmp_path):
    source, _ = instances
    for form in ("json", "index", "rgba"):
        suffix = "json" if form == "json" else "tif"
        a, b = (tmp_path / f"{name}.{suffix}" for name in "ab")
        convert(source, a, form=form, force=True)
        convert(source, b, form=form, force=True)
        assert a.read_bytes() == b.read_bytes()


@pytest.mark.parametrize(("name", "form"), [("a.png", None), ("a", "rgba"), ("a.tif", "json")])
def test_a_suffix_that_contradicts_the_form_is_refused(name, form, instances, tmp_path):
    with pytest.raises(ConversionError, match="expected the suffix"):
        convert(instances[0], tmp_path / name, form=form)


def test_a_stack_in_one_page_is_refused(instances, tmp_path):
    _, array = instances
    path = tmp_path / "50-instance-cell.tif"
    tifffile.imwrite(path, array.astype(np.uint16), photometric="minisblack", truncate=True)
    with pytest.raises(ImageFormatError, match=f"{len(array)} planes in one page"):
        convert(path, tmp_path / "a.json")


def test_a_class_without_voxels_loses_nothing(tmp_path):
    labels = {".info": {"shape": [1, 2, 2]}, "1": "1 2", "6": ""}
    source = tmp_path / "50-semantic.json"
    source.write_text(json.dumps(labels))
    convert(source, tmp_path / "a.tif")
    assert tifffile.imread(tmp_path / "a.tif")[0, 0].tolist() == [0, 40, 255, 255]


@pytest.mark.parametrize("form", ["json", "index"])
def test_a_depth_that_no_volume_has_is_refused(form, tmp_path):
    labels = {".info": {"shape": [2**40, 1, 1]}, "1": "7 2"}
    source = write_labels(tmp_path / "e-instance.json", labels)
    with pytest.raises(LabelFormatError, match="expected at most 16384 slices"):
        convert(source, tmp_path / f"a.{'json' if form == 'json' else 'tif'}", form=form)
    assert names(tmp_path) == ["e-instance.json"]


def test_json_is_written_to_any_open_file():
    out = io.BytesIO()
    write_json(out, LazyLabels((1, 2, 2), [3], [""]))
    assert json.loads(out.getvalue()) == {".info": {"shape": [1, 2, 2], "dtype": "int64"}, "3": ""}


def test_an_unknown_form_is_reported_before_the_suffix(instances, tmp_path):
    with pytest.raises(ConversionError, match=r"form of json, index, rgba.*got form 'png'"):
        convert(instances[0], tmp_path / "a.png", form="png")
