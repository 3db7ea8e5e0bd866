"""The table of all objects equals what scikit-image measures on the dense volumes."""

import numpy as np
import pytest
from skimage.measure import regionprops

import platelet_em
from _platelet_em.arrays.instances import Instances
from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.facts import PUBLISHED
from _platelet_em.rows.instances import describe_objects


@pytest.fixture(scope="module")
def rows(archives, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    loaded = platelet_em.load_dataset("instances", data_dir=archives, cache_dir=cache)
    return {"50": list(loaded["train"]), "24": list(loaded["validation"])}


def measure(volume, name):
    """The table by scikit-image and NumPy."""
    found = []
    for kind, array in (("cell", volume.cell), ("organelle", volume.organelle)):
        for region in regionprops(array):
            inside = array == region.label
            votes = np.bincount(volume.semantic[inside], minlength=7)
            votes[:2] = 0
            cells = np.bincount(volume.cell[inside])
            z0, y0, x0, z1, y1, x1 = region.bbox
            index = 1 if kind == "cell" else (int(votes.argmax()) if votes.any() else 0)
            border = any(
                low == 0 or high == size
                for low, high, size in zip((z0, y0, x0), (z1, y1, x1), array.shape, strict=True)
            )
            organelle = kind == "organelle"
            row = {
                "volume": name, "kind": kind, "id": region.label, "class_id": index,
                "class_name": PUBLISHED.class_names[index], "voxels": int(region.area),
                "purity": float(np.float32(votes.max() / inside.sum())) if organelle else None,
                "cell": int(cells.argmax()) if organelle else None,
                "z_min": z0, "z_max": z1 - 1, "y_min": y0, "y_max": y1 - 1,
                "x_min": x0, "x_max": x1 - 1, "touches_border": border,
            }  # fmt: skip
            found.append(row)
    return found


@pytest.mark.parametrize("name", ["50", "24"])
def test_each_object_is_a_row(rows, publication, name):
    expected = measure(publication.volumes[name], name)
    assert rows[name] == expected
    assert {row["kind"] for row in expected} == {"cell", "organelle"}


def test_no_voxel_is_decoded(monkeypatch):
    array = np.zeros((2, 4, 5), np.int32)
    array[1, 1:3, 2:4] = 7
    labels = LazyLabels.from_array(array)

    def fail(*_, **__):
        raise AssertionError("decoded")

    monkeypatch.setattr(LazyLabels, "__array__", fail)
    monkeypatch.setattr(LazyLabels, "__getitem__", fail)
    (row,) = describe_objects("a", PUBLISHED.instance("cells"), labels, PUBLISHED)
    assert (row["voxels"], row["z_min"], row["x_max"], row["purity"]) == (4, 1, 3, None)


def test_boxes_are_computed_once_for_any_number_of_objects(monkeypatch):
    dense = np.zeros((2, 40, 3), np.int32)
    dense[1, :, 1] = np.arange(1, 41)
    labels = LazyLabels.from_array(dense)
    arguments = ("v", PUBLISHED.instances[0], labels, PUBLISHED)
    expected = [*describe_objects(*arguments)]
    calls = []
    compute = vars(Instances)["bboxes"].fget
    monkeypatch.setattr(Instances, "bboxes", property(lambda x: calls.append(x) or compute(x)))
    monkeypatch.setattr("_platelet_em.rows.instances._CHUNK", 3)
    assert [*describe_objects(*arguments)] == expected
    assert [row["y_min"] for row in expected] == [*range(40)]
    assert len(calls) == 1
