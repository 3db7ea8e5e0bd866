from contextlib import ExitStack

import numpy as np
import pytest
from support import publisher

from _platelet_em.arrays.runs import Runs, encode
from _platelet_em.publisher.organelles import measure_organelles
from _platelet_em.publisher.runstore import RunStore


def measure(organelle, cell, semantic, order=None):
    """The columns for dense arrays; `order` permutes the ids of the organelles' store."""
    with ExitStack() as opened:
        stores = []
        for array in (organelle, cell, semantic):
            ids, runs = encode(np.asarray(array))
            if order is not None and array is organelle:
                place = np.argsort(order(len(ids)))
                ids, runs = ids[order(len(ids))], Runs(runs.starts, runs.stops, place[runs.owners])
            store = opened.enter_context(RunStore(np.shape(array)))
            store.add(runs)
            store.ids = ids
            stores.append(store)
        return stores[0].ids, measure_organelles(*stores)


def expected(organelle, cell, semantic, ids):
    """Class, purity, cell and area of each id, by plain counting of voxels."""
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
        rows.append((class_id, np.float32(classes[class_id] / area), parent, area))
    return rows


def rows_of(properties):
    return list(
        zip(
            properties.class_id.tolist(),
            properties.purity,
            properties.cell.tolist(),
            properties.area.tolist(),
            strict=True,
        )
    )


def line(*voxels):
    """A volume of two slices of one row each."""
    return np.array(voxels).reshape(2, 1, -1)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("shape", [(6, 18, 21), (1, 30, 30), (9, 1, 40)])
def test_columns_are_those_of_counting_voxels(shape, seed):
    volume = publisher.random_volume(shape, seed, cells=6, organelles=20)
    ids, properties = measure(volume.organelle, volume.cell, volume.semantic)
    assert len(ids) > 0
    assert rows_of(properties) == expected(volume.organelle, volume.cell, volume.semantic, ids)


def test_columns_follow_the_order_of_the_ids():
    volume = publisher.random_volume((6, 18, 21), 3, cells=6, organelles=20)
    arrays = volume.organelle, volume.cell, volume.semantic
    ids, properties = measure(*arrays, order=lambda n: np.roll(np.arange(n)[::-1], 3))
    assert ids.tolist() != sorted(ids.tolist())
    assert rows_of(properties) == expected(*arrays, ids)


def test_few_classes_give_ties_that_the_lower_wins():
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
    assert properties.class_id.tolist() == [class_id]
    assert properties.purity.tolist() == [purity]


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
    assert properties.cell.tolist() == [parent]


def test_votes_are_of_the_whole_object_and_not_of_a_slice():
    organelle = np.array([[[7, 7, 7]], [[7, 7, 7]], [[7, 7, 7]]])
    semantic = np.array([[[2, 2, 3]], [[3, 3, 3]], [[2, 2, 3]]])
    cell = np.array([[[1, 1, 1]], [[4, 4, 4]], [[4, 4, 1]]])
    _, properties = measure(organelle, cell, semantic)
    assert (properties.class_id.tolist(), properties.cell.tolist()) == ([3], [4])
    assert properties.purity.tolist() == [np.float32(5 / 9)]
    assert properties.area.tolist() == [9]


def test_an_organelle_without_voxels_has_no_class_and_no_cell():
    stores = [RunStore((2, 1, 3)) for _ in range(3)]
    stores[0].add(Runs(np.array([0]), np.array([2]), np.array([1])))
    stores[0].ids = np.array([5, 6, 7], np.int32)
    stores[1].add(Runs(np.array([0]), np.array([6]), np.array([0])))
    stores[1].ids = np.array([3], np.int32)
    stores[2].add(Runs(np.array([0]), np.array([6]), np.array([0])))
    stores[2].ids = np.array([4], np.int32)
    properties = measure_organelles(*stores)
    assert rows_of(properties) == [(0, 0, 0, 0), (4, 1, 3, 2), (0, 0, 0, 0)]
    for store in stores:
        store.close()


@pytest.mark.parametrize("shape", [(3, 4, 5), (0, 4, 5), (2, 0, 5)])
def test_no_organelles_are_no_rows(shape):
    nothing = np.zeros(shape, int)
    ids, properties = measure(nothing, nothing, nothing)
    assert rows_of(properties) == []
    assert len(ids) == 0


def test_columns_have_the_types_of_the_rows():
    _, properties = measure(line(7, 7), line(1, 0), line(2, 2))
    columns = properties.class_id, properties.purity, properties.cell, properties.area
    assert [str(c.dtype) for c in columns] == ["int64", "float32", "int32", "int64"]


def test_volumes_beyond_two_to_the_31_voxels_are_counted_exactly():
    plane = 2**34
    shape = (3, 2**17, 2**17)
    with RunStore(shape) as organelles, RunStore(shape) as cells, RunStore(shape) as semantic:
        organelles.add(Runs(np.array([0]), np.array([3 * plane]), np.array([0])))
        organelles.ids = np.array([2**31 - 1], np.int32)
        cells.add(Runs(np.array([0]), np.array([2 * plane]), np.array([0])))
        cells.ids = np.array([2**31 - 2], np.int32)
        bounds = np.array([0, plane, 3 * plane])
        semantic.add(Runs(bounds[:-1], bounds[1:], np.array([0, 1])))
        semantic.ids = np.array([6, 3], np.int32)
        properties = measure_organelles(organelles, cells, semantic)
    assert rows_of(properties) == [(3, np.float32(2 / 3), 2**31 - 2, 3 * plane)]
