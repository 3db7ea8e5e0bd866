"""Rows against the dense arrays that the archives were made of, with plain NumPy as the judge."""

import io
import json

import datasets
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from skimage.measure import regionprops
from support import publisher

from _platelet_em.errors import TooLargeError
from _platelet_em.facts import PUBLISHED
from _platelet_em.publisher.archive import find_source
from _platelet_em.publisher.volume import ArchiveVolume
from _platelet_em.rows import volumes
from _platelet_em.rows.make import CONFIGS, config_named, make_rows, make_table
from _platelet_em.rows.picture import SliceArrays, draw_preview
from _platelet_em.rows.schema import arrow_schema, json_features
from _platelet_em.rows.shards import plan_shards

SOURCES = ["json", "tif"]
NAMES = ["50", "24"]
CONFIG_NAMES = ["slices", "volumes", "instances", "preview"]


def numbered(array):
    """Labels numbered by their first appearance in (z, y, x) order."""
    result = np.zeros_like(array)
    values = [value for value in dict.fromkeys(array.ravel().tolist()) if value]
    for number, value in enumerate(values, 1):
        result[array == value] = number
    return result


class Truth:
    """What the rows of a volume should say."""

    def __init__(self, dense, source):
        self.image, self.semantic = dense.images, dense.semantic
        renamed = {"json": np.asarray, "tif": numbered}[source]
        self.cells, self.organelles = renamed(dense.cell), renamed(dense.organelle)
        self.shape = self.image.shape

    def properties(self, label):
        """class_id, purity and cell of an organelle."""
        inside = self.organelles == label
        classes = np.bincount(self.semantic[inside], minlength=7)
        class_id = 2 + int(classes[2:].argmax()) if classes[2:].any() else 0
        cells = np.bincount(self.cells[inside])
        cell = 0
        if len(cells) > 1 and cells[1:].max() >= cells[0]:
            cell = 1 + int(cells[1:].argmax())
        return class_id, np.float32(classes[class_id] / inside.sum()), cell


def check_labels(struct, dense):
    """Everything about a struct that can be told from its own row."""
    assert struct["shape"] == list(dense.shape)
    expected = publisher.encode(dense)
    del expected[".info"]
    assert dict(zip(map(str, struct["id"]), struct["rle"], strict=True)) == expected
    assert struct["id"] == np.unique(dense[dense > 0]).tolist()
    labels = {".info": {"shape": struct["shape"]}}
    labels |= dict(zip(map(str, struct["id"]), struct["rle"], strict=True))
    np.testing.assert_array_equal(publisher.decode(labels), dense)
    regions = regionprops(dense)
    assert struct["area"] == [int(region.area) for region in regions]
    assert struct["bbox"] == [list(map(int, region.bbox)) for region in regions]
    border = set()
    for axis in range(dense.ndim):
        for end in (0, -1):
            border |= set(np.take(dense, end, axis).ravel().tolist())
    assert struct["touches_border"] == [label in border for label in struct["id"]]


def check_organelles(struct, dense, truth):
    check_labels(struct, dense)
    found = list(zip(struct["class_id"], struct["purity"], struct["cell"], strict=True))
    assert found == [truth.properties(label) for label in struct["id"]]


def properties_by_id(row):
    struct = row["organelles"]
    columns = (struct[name] for name in ("class_id", "purity", "cell"))
    return dict(zip(struct["id"], zip(*columns, strict=True), strict=True))


def check_slice(row, truth, z):
    image, semantic = (Image.open(io.BytesIO(row[c]["bytes"])) for c in ("image", "semantic"))
    assert image.mode == "I;16"
    np.testing.assert_array_equal(np.asarray(image), truth.image[z])
    assert semantic.mode == "P"
    assert semantic.getpalette()[:21] == [sample for color in publisher.OLD for sample in color]
    np.testing.assert_array_equal(np.asarray(semantic), truth.semantic[z])
    assert row["z"] == z
    assert row["n_cells"] == len(row["cells"]["id"])
    assert row["n_organelles"] == len(row["organelles"]["id"])
    check_labels(row["cells"], truth.cells[z])
    check_organelles(row["organelles"], truth.organelles[z], truth)


def make(volume, config, start=0, stop=None):
    """Rows of a configuration by its name."""
    config = config_named(config)
    stop = config.count_parts(volume.shape) if stop is None else stop
    return list(make_rows(config, volume, PUBLISHED, start, stop))


def to_table(config, rows):
    return make_table(config_named(config), rows, PUBLISHED)


def read_rows(volume, config):
    """Rows as they come out of Arrow."""
    return to_table(config, make(volume, config)).to_pylist()


def open_volume(source, name="50", label_source="json"):
    return ArchiveVolume(source, PUBLISHED.volume(name), label_source, PUBLISHED)


@pytest.fixture(scope="module", params=SOURCES)
def source(request):
    return request.param


@pytest.fixture(scope="module", params=NAMES)
def volume(request, source, archives):
    with open_volume(find_source(archives, source, PUBLISHED), request.param, source) as opened:
        yield opened


@pytest.fixture(scope="module")
def truth(volume, source, publication):
    return Truth(publication.volumes[volume.name], source)


def ship(dense, path):
    """A folder of the publisher whose two volumes are both `dense`."""
    return find_source(
        publisher.Publication(dict.fromkeys(NAMES, dense)).folder(path, "json"), "json", PUBLISHED
    )


def small(**arrays):
    """A volume of 2 x 3 x 4 voxels, empty but for what is given."""
    shape = (2, 3, 4)
    images = np.arange(24).reshape(shape).astype(np.uint16)
    semantic, cell, organelle = (np.zeros(shape, np.int32) for _ in range(3))
    fields = {"images": images, "semantic": semantic.astype(np.uint8)}
    return publisher.Volume(**{**fields, "cell": cell, "organelle": organelle, **arrays})


# Rows


def test_slices_are_the_dense_arrays(volume, truth):
    rows = read_rows(volume, "slices")
    assert len(rows) == truth.shape[0]
    for z, row in enumerate(rows):
        assert row["volume"] == volume.name
        check_slice(row, truth, z)


def test_the_volume_is_the_dense_arrays(volume, truth):
    (row,) = read_rows(volume, "volumes")
    assert row["volume"] == volume.name
    assert row["shape"] == list(truth.shape)
    assert row["voxel_size_nm"] == [40.0, 10.0, 10.0]
    for name, dense in (("image", truth.image), ("semantic", truth.semantic)):
        pages = [np.asarray(Image.open(io.BytesIO(page["bytes"]))) for page in row[name]]
        np.testing.assert_array_equal(pages, dense)
    assert row["n_cells"] == len(np.unique(truth.cells)) - 1
    assert row["n_organelles"] == len(np.unique(truth.organelles)) - 1
    check_labels(row["cells"], truth.cells)
    check_organelles(row["organelles"], truth.organelles, truth)


def test_previews_are_drawn_of_their_own_slice(volume, truth):
    rows = read_rows(volume, "preview")
    assert [(row["volume"], row["z"]) for row in rows] == [
        (volume.name, z) for z in range(truth.shape[0])
    ]
    pictures = [row["preview"] for row in rows]
    (whole,) = read_rows(volume, "volumes")
    middle = truth.shape[0] // 2
    assert whole["preview"]["bytes"] == pictures[middle]["bytes"]
    for z, picture in enumerate(pictures):
        labels = {"cells": truth.cells[z], "organelles": truth.organelles[z]}
        drawn = draw_preview(SliceArrays(truth.image[z], truth.semantic[z], labels), PUBLISHED)
        found = Image.open(io.BytesIO(picture["bytes"]))
        assert (found.format, found.mode) == ("PNG", "RGB")
        np.testing.assert_array_equal(np.asarray(found), drawn)


def test_ids_and_properties_are_the_same_in_slices_and_volume(volume):
    rows, (whole,) = read_rows(volume, "slices"), read_rows(volume, "volumes")
    for kind in ("cells", "organelles"):
        area = dict.fromkeys(whole[kind]["id"], 0)
        for row in rows:
            for label, pixels in zip(row[kind]["id"], row[kind]["area"], strict=True):
                area[label] += pixels
        assert list(area.values()) == whole[kind]["area"]
    expected = properties_by_id(whole)
    found = [properties_by_id(row).items() for row in rows]
    assert set().union(*found) == expected.items()


def test_pages_are_named_by_volume_kind_and_slice(volume):
    (row,) = make(volume, "slices", 3, 4)
    name = volume.name
    assert row["image"]["path"] == f"{name}-image-003.tif"
    assert row["semantic"]["path"] == f"{name}-semantic-003.tif"
    assert make(volume, "preview", 3, 4)[0]["preview"]["path"] == f"{name}-preview-003.png"


def test_a_slice_without_instances_has_empty_lists(archives, publication):
    with open_volume(find_source(archives, "json", PUBLISHED)) as volume:
        assert not publication.volumes["50"].cell[0].any()
        table = to_table("slices", make(volume, "slices", 0, 1))
    (row,) = table.to_pylist()
    columns = config_named("slices").columns(PUBLISHED)
    for kind in ("cells", "organelles"):
        assert row[f"n_{kind}"] == 0
        assert row[kind]["shape"] == [23, 31]
        assert {name: v for name, v in row[kind].items() if name != "shape"} == {
            name: [] for name in json_features(columns)[kind] if name != "shape"
        }
    assert not np.asarray(Image.open(io.BytesIO(row["semantic"]["bytes"]))).any()


def test_rows_can_be_made_in_any_order(volume):
    depth = volume.shape[0]
    forwards = to_table("slices", make(volume, "slices"))
    backwards = [make(volume, "slices", z, z + 1)[0] for z in reversed(range(depth))]
    assert to_table("slices", backwards[::-1]).equals(forwards)


def test_dense_views_and_lazy_labels_agree_with_the_rows(volume, truth):
    for z in range(truth.shape[0]):
        np.testing.assert_array_equal(volume.image(z), truth.image[z])
        np.testing.assert_array_equal(volume.semantic(z), truth.semantic[z])
        np.testing.assert_array_equal(np.asarray(volume.labels("cells", z)), truth.cells[z])
    assert volume.image(0).dtype == np.uint16
    assert volume.semantic(0).dtype == np.uint8
    np.testing.assert_array_equal(np.asarray(volume.labels("organelles")), truth.organelles)


@pytest.mark.parametrize("seed", range(6))
def test_untidy_volumes(seed, tmp_path):
    shape = [(1, 5, 6), (4, 1, 9), (5, 8, 2), (3, 12, 11), (6, 7, 9), (2, 20, 20)][seed]
    dense = publisher.random_volume(shape, seed + 50)
    truth = Truth(dense, "json")
    assert truth.cells.any()
    with open_volume(ship(dense, tmp_path)) as volume:
        for z, row in enumerate(read_rows(volume, "slices")):
            check_slice(row, truth, z)
        (row,) = read_rows(volume, "volumes")
        check_organelles(row["organelles"], truth.organelles, truth)


# Whole objects


def one_organelle(tmp_path, classes, cells=()):
    """Properties of an organelle whose voxels have these classes, and lie in these cells."""
    organelle, semantic, cell = (np.zeros((2, 3, 4), np.int32) for _ in range(3))
    # Over the end of the first slice, so that no slice has all of it.
    begin = 12 - len(classes) // 2
    organelle.reshape(-1)[begin : begin + len(classes)] = 5
    semantic.reshape(-1)[begin : begin + len(classes)] = classes
    cell.reshape(-1)[begin : begin + len(cells)] = cells
    dense = small(semantic=semantic.astype(np.uint8), cell=cell, organelle=organelle)
    with open_volume(ship(dense, tmp_path)) as volume:
        rows = read_rows(volume, "slices")
    structs = [row["organelles"] for row in rows]
    found = {(s["class_id"][0], s["purity"][0], s["cell"][0]) for s in structs if s["id"]}
    assert len(found) == 1
    return found.pop()


@pytest.mark.parametrize(
    ("classes", "class_id", "purity"),
    [
        ([3, 3, 3, 4], 3, 0.75),
        ([3, 4, 4, 4], 4, 0.75),
        ([6, 4, 4, 6], 4, 0.5),
        ([6, 5, 4, 3], 3, 0.25),
        ([1, 1, 1, 2], 2, 0.25),
        ([0, 0, 0, 6], 6, 0.25),
        ([0, 0, 1, 1], 0, 0.5),
        ([1, 1, 1, 1], 0, 0.0),
        ([0, 0, 0, 0], 0, 1.0),
    ],
)
def test_the_class_is_that_of_most_voxels_among_the_organelles(
    classes, class_id, purity, tmp_path
):
    assert one_organelle(tmp_path, classes)[:2] == (class_id, purity)


@pytest.mark.parametrize(
    ("cells", "cell"),
    [
        ([7, 7, 9, 9, 9], 9),
        ([7, 7, 9, 9, 0], 7),
        ([9, 9, 7, 7, 0], 7),
        ([7, 7, 0, 0, 9], 7),
        ([7, 0, 0, 0, 7], 0),
        ([7, 8, 0, 0, 9], 0),
        ([0, 0, 0, 0, 0], 0),
    ],
)
def test_the_cell_is_that_of_most_voxels_unless_more_lie_in_none(cells, cell, tmp_path):
    assert one_organelle(tmp_path, [3, 3, 3, 3, 3], cells)[2] == cell


def test_overlaps_are_resolved_and_ids_ascend_whatever_the_order_of_keys(tmp_path):
    labels = {
        ".info": {"shape": [2, 3, 4]},
        "9": "1 14",
        "2": "5 6",
        "30": "6 1 24 1",
        "4": "24 1",
    }
    path = ship(small(), tmp_path).path
    for kind in ("cell", "organelle"):
        (path / f"labels-instance/50-instance-{kind}.json").write_text(json.dumps(labels))
    truth = publisher.decode(labels)
    with open_volume(find_source(path, "json", PUBLISHED)) as volume:
        rows, (whole,) = read_rows(volume, "slices"), read_rows(volume, "volumes")
    for kind in ("cells", "organelles"):
        check_labels(whole[kind], truth)
        assert whole[kind]["id"] == [2, 4, 9, 30]
        for z, row in enumerate(rows):
            check_labels(row[kind], truth[z])
    assert whole["organelles"]["cell"] == [2, 4, 9, 30]


def test_labels_without_voxels_are_no_instances(tmp_path):
    labels = {".info": {"shape": [2, 3, 4]}, "3": "", "5": "7 2", "6": "7 2"}
    path = ship(small(), tmp_path).path
    (path / "labels-instance/50-instance-organelle.json").write_text(json.dumps(labels))
    with open_volume(find_source(path, "json", PUBLISHED)) as volume:
        (whole,) = read_rows(volume, "volumes")
    assert whole["organelles"]["id"] == [6]
    assert whole["n_organelles"] == 1


# What does not fit


def test_a_volume_that_one_row_cannot_hold_is_left_out(volume, monkeypatch):
    size = 3 * int(np.prod(volume.shape))
    monkeypatch.setattr(volumes, "MAX_ROW_BYTES", size)
    assert len(make(volume, "volumes")) == 1
    monkeypatch.setattr(volumes, "MAX_ROW_BYTES", size - 1)
    assert make(volume, "volumes") == []
    assert plan_shards(config_named("volumes"), [("50", volume.shape)]) == []
    assert make(volume, "slices", 0, 1)[0]["z"] == 0


# Tables


def volume_objects(volume):
    return [i for kind in volume.kinds for i in volume.labels(kind).ids]


@pytest.mark.parametrize("config", CONFIG_NAMES)
def test_tables_have_the_schema_of_the_features(config, volume):
    columns = config_named(config).columns(PUBLISHED)
    table = to_table(config, make(volume, config, 0, 1))
    assert table.schema.equals(datasets.Features.from_dict(json_features(columns)).arrow_schema)
    assert table.schema.equals(arrow_schema(columns))
    assert table.num_rows == (1 if config != "instances" else len(volume_objects(volume)))


@pytest.mark.parametrize("config", CONFIG_NAMES)
def test_a_table_without_rows_has_its_columns(config):
    table = to_table(config, [])
    assert table.num_rows == 0
    assert table.schema.equals(arrow_schema(config_named(config).columns(PUBLISHED)))


@pytest.mark.parametrize("config", CONFIG_NAMES)
def test_the_rows_of_the_shards_are_all_rows_in_order(config, volume):
    whole = to_table(config, make(volume, config))
    planned = plan_shards(config_named(config), [("50", volume.shape)])
    shards = [to_table(config, make(volume, config, a, b)) for [(_, a, b)] in planned]
    assert pa.concat_tables(shards).equals(whole)


def test_parts_of_a_volume_are_its_slices_or_one():
    parts = {config.name: config.count_parts((50, 800, 800)) for config in CONFIGS}
    assert parts == {"slices": 50, "volumes": 1, "instances": 1, "preview": 50}


def test_a_column_that_arrow_cannot_hold_is_one_error(monkeypatch):
    def overflow(values, arrow_type):
        raise pa.lib.ArrowCapacityError("array cannot contain more than 2147483646 bytes")

    monkeypatch.setattr("_platelet_em.rows.make._to_array", overflow)
    rows = [dict.fromkeys(config_named("volumes").columns(PUBLISHED)) | {"volume": "noise"}]
    with pytest.raises(TooLargeError, match="volume noise: expected at most 2 GiB of image in a"):
        make_table(config_named("volumes"), rows, PUBLISHED)
