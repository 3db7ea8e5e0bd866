"""Properties of whole instances, against plain counting of voxels."""

import dataclasses

import numpy as np
import pytest
from support import publisher

from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.arrays.runs import Runs
from _platelet_em.facts import PUBLISHED
from _platelet_em.publisher.organelles import SharedVoxels, measure_instances

CELLS, ORGANELLES = PUBLISHED.instances


def measure(organelle, cell, semantic, order=None):
    """Ids and properties for dense arrays; `order` permutes the ids of the organelles."""
    labels, cells, classes = (
        LazyLabels.from_array(array) for array in (organelle, cell, semantic)
    )
    if order is not None:
        chosen = order(len(labels.ids))
        rle = labels.rle
        labels = LazyLabels(labels.shape, labels.ids[chosen], [rle[i] for i in chosen])
    return labels.ids, measure_instances(labels, ORGANELLES, classes, cells)


def expected(organelle, cell, semantic, ids):
    """Class, purity and cell of each id, by plain counting of voxels."""
    rows = []
    for label in ids:
        inside = organelle == label
        area = int(inside.sum())
        classes = np.bincount(semantic[inside], minlength=7)
        organelle_classes = np.where(np.arange(7) >= 2, classes, 0)
        class_id = int(organelle_classes.argmax()) if organelle_classes.any() else 0
        parents, votes = np.unique(cell[inside], return_counts=True)
        by_cell = dict(zip(parents.tolist(), votes.tolist(), strict=True))
        nowhere = by_cell.pop(0, 0)
        parent = max(by_cell, key=lambda c: (by_cell[c], -c)) if by_cell else 0
        if nowhere > by_cell.get(parent, 0):
            parent = 0
        rows.append((class_id, np.float32(classes[class_id] / area), parent))
    return rows


def rows_of(properties):
    return list(zip(*(properties[name] for name in ("class_id", "purity", "cell")), strict=True))


def line(*voxels):
    """A volume of two slices of one row each."""
    return np.array(voxels).reshape(2, 1, -1)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("shape", [(6, 18, 21), (1, 30, 30), (9, 1, 40)])
def test_properties_are_those_of_counting_voxels(shape, seed):
    volume = publisher.random_volume(shape, seed, cells=6, organelles=20)
    ids, properties = measure(volume.organelle, volume.cell, volume.semantic)
    assert len(ids) > 0
    assert rows_of(properties) == expected(volume.organelle, volume.cell, volume.semantic, ids)


def test_properties_follow_the_order_of_the_ids():
    volume = publisher.random_volume((6, 18, 21), 3, cells=6, organelles=20)
    arrays = volume.organelle, volume.cell, volume.semantic
    ids, properties = measure(*arrays, order=lambda n: np.roll(np.arange(n)[::-1], 3))
    assert ids.tolist() != sorted(ids.tolist())
    assert rows_of(properties) == expected(*arrays, ids)


def test_the_lower_class_wins_a_tie():
    rng = np.random.default_rng(0)
    ties = 0
    for _ in range(40):
        organelle = rng.integers(0, 4, (2, 2, 5))
        cell, semantic = rng.choice([0, 9, 4], (2, 2, 5)), rng.choice([0, 1, 3, 5], (2, 2, 5))
        ids, properties = measure(organelle, cell, semantic)
        assert rows_of(properties) == expected(organelle, cell, semantic, ids)
        for label in ids:
            counts = np.bincount(semantic[organelle == label], minlength=7)
            ties += counts[3] == counts[5] > 0
    assert ties > 5


@pytest.mark.parametrize(
    ("semantic", "class_id", "purity"),
    [
        ([2, 2, 3, 4], 2, 1 / 2),
        ([6, 6, 3, 3], 3, 1 / 2),
        ([5, 4, 1, 1], 4, 1 / 4),
        ([1, 1, 1, 6], 6, 1 / 4),
        ([0, 0, 0, 2], 2, 1 / 4),
        ([0, 0, 0, 0], 0, 1),
        ([1, 1, 1, 1], 0, 0),
        ([1, 0, 1, 0], 0, 1 / 2),
        ([6, 6, 6, 6], 6, 1),
    ],
)
def test_the_class_is_the_organelle_class_with_most_voxels(semantic, class_id, purity):
    _, properties = measure(line(7, 7, 7, 7), line(1, 1, 1, 1), line(*semantic))
    assert properties["class_id"].tolist() == [class_id]
    assert properties["purity"].tolist() == [purity]


@pytest.mark.parametrize(
    ("cell", "parent"),
    [
        ([8, 8, 3, 3], 3),
        ([3, 8, 8, 8], 8),
        ([0, 0, 3, 3], 3),
        ([0, 0, 3, 8], 0),
        ([0, 0, 0, 3], 0),
        ([0, 3, 8, 5], 3),
        ([0, 0, 0, 0], 0),
    ],
)
def test_the_cell_is_the_one_with_most_voxels_unless_more_have_none(cell, parent):
    _, properties = measure(line(7, 7, 7, 7), line(*cell), line(2, 2, 2, 2))
    assert properties["cell"].tolist() == [parent]


def test_class_and_cell_belong_to_the_whole_object_and_not_to_a_slice():
    organelle = np.array([[[7, 7, 7]], [[7, 7, 7]], [[7, 7, 7]]])
    semantic = np.array([[[2, 2, 3]], [[3, 3, 3]], [[2, 2, 3]]])
    cell = np.array([[[1, 1, 1]], [[4, 4, 4]], [[4, 4, 1]]])
    _, properties = measure(organelle, cell, semantic)
    assert (properties["class_id"].tolist(), properties["cell"].tolist()) == ([3], [4])
    assert properties["purity"].tolist() == [np.float32(5 / 9)]


def test_an_organelle_without_voxels_has_no_class_and_no_cell():
    labels = LazyLabels((2, 1, 3), [5, 6, 7], ["", "1 2", ""])
    cells, classes = (LazyLabels((2, 1, 3), [label], ["1 6"]) for label in (3, 4))
    properties = measure_instances(labels, ORGANELLES, classes, cells)
    assert rows_of(properties) == [(0, 0, 0), (4, 1, 3), (0, 0, 0)]


@pytest.mark.parametrize("shape", [(3, 4, 5), (0, 4, 5), (2, 0, 5)])
def test_without_organelles_properties_are_empty(shape):
    nothing = np.zeros(shape, int)
    ids, properties = measure(nothing, nothing, nothing)
    assert rows_of(properties) == []
    assert len(ids) == 0


def test_properties_have_the_dtypes_of_the_rows():
    _, properties = measure(line(7, 7), line(1, 0), line(2, 2))
    dtypes = {name: str(values.dtype) for name, values in properties.items()}
    assert dtypes == {"class_id": "int64", "purity": "float32", "cell": "int32"}


def test_volumes_beyond_two_to_the_31_voxels_are_counted_exactly():
    plane = 2**34
    shape = (3, 2**17, 2**17)

    def labels(ids, bounds):
        bounds = np.array(bounds)
        return LazyLabels.from_runs(shape, ids, Runs(bounds[:-1], bounds[1:], np.arange(len(ids))))

    organelles = labels([2**31 - 1], [0, 3 * plane])
    cells = labels([2**31 - 2], [0, 2 * plane])
    semantic = labels([6, 3], [0, plane, 3 * plane])
    properties = measure_instances(organelles, ORGANELLES, semantic, cells)
    assert rows_of(properties) == [(3, np.float32(2 / 3), 2**31 - 2)]


# Other kinds of instances


def test_cells_have_no_properties():
    labels = LazyLabels.from_array(line(7, 7))
    assert measure_instances(labels, CELLS, labels) == {}


def test_without_labels_of_the_parent_there_is_no_parent():
    labels = LazyLabels.from_array(line(7, 7))
    assert set(measure_instances(labels, ORGANELLES, labels)) == {"class_id", "purity"}


def test_the_parent_is_named_after_its_kind_and_the_class_starts_at_that_of_the_kind():
    kind = dataclasses.replace(ORGANELLES, parent="nucleus", first_class=4)
    organelle, nucleus, semantic = (
        LazyLabels.from_array(line(*voxels))
        for voxels in ([7, 7, 7, 7], [9, 9, 9, 0], [3, 3, 3, 5])
    )
    properties = measure_instances(organelle, kind, semantic, nucleus)
    assert {name: values.tolist() for name, values in properties.items()} == {
        "class_id": [5],
        "purity": [0.25],
        "nucleus": [9],
    }


# Shared voxels


def test_shared_voxels_are_counted_per_instance_and_label():
    labels, other = (
        LazyLabels.from_array(line(*voxels)) for voxels in ([4, 4, 4, 0, 9, 9], [2, 5, 5, 5, 0, 2])
    )
    shared = SharedVoxels(labels, other)
    assert shared.total().tolist() == [3, 1]
    nothing = np.zeros(2, np.int64)
    assert [a.tolist() for a in shared.most_frequent(nothing)] == [[5, 2], [2, 1]]
    assert [a.tolist() for a in shared.most_frequent(nothing + 2)] == [[5, 0], [2, 2]]
    assert [a.tolist() for a in shared.most_frequent(nothing, first_label=3)] == [[5, 0], [2, 0]]


@pytest.mark.parametrize("most", [1, 2, 7])
@pytest.mark.parametrize("seed", range(5))
def test_the_result_does_not_depend_on_how_voxels_are_divided(most, seed, monkeypatch):
    random = np.random.default_rng(seed)
    labels, other = (
        LazyLabels.from_array(np.repeat(random.integers(0, 6, (3, 5, 6)), 3, axis=2))
        for _ in range(2)
    )
    whole = SharedVoxels(labels, other)
    monkeypatch.setattr("_platelet_em.publisher.organelles._MOST_RUNS", most)
    divided = SharedVoxels(labels, other)
    assert np.array_equal(whole.total(), divided.total())
    unlabeled = labels.areas - whole.total()
    for first_label in (1, 3):
        for expected, found in zip(
            whole.most_frequent(unlabeled, first_label),
            divided.most_frequent(unlabeled, first_label),
            strict=True,
        ):
            assert np.array_equal(expected, found)
