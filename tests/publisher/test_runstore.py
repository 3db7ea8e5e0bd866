from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import publisher

from _platelet_em.arrays.runs import Runs, encode, paint
from _platelet_em.errors import OutputError
from _platelet_em.publisher.runstore import RunStore

SHAPE = (4, 3, 5)
PLANE = 15
SIZE = 60


def make(*triples):
    starts, stops, owners = np.array(triples, np.int64).reshape(-1, 3).T
    return Runs(starts, stops, owners)


def triples(runs):
    return list(zip(runs.starts.tolist(), runs.stops.tolist(), runs.owners.tolist(), strict=True))


@st.composite
def batches(draw):
    """Runs in any order and any batches, which overlap within and between them."""
    runs = []
    for _ in range(draw(st.integers(0, 12))):
        start = draw(st.integers(0, SIZE - 1))
        stop = draw(st.integers(start + 1, SIZE))
        runs.append((start, stop, draw(st.integers(0, 5))))
    cut = draw(st.integers(0, len(runs)))
    return runs[:cut], runs[cut:]


@given(parts=batches())
def test_slices_and_volume_hold_the_highest_owner_of_each_voxel(parts):
    dense = np.zeros(SIZE, np.int32)
    for start, stop, owner in sorted([*parts[0], *parts[1]], key=lambda run: run[2]):
        dense[start:stop] = owner + 1
    values = np.arange(1, 7)
    with RunStore(SHAPE) as store:
        for part in parts:
            store.add(make(*part))
        np.testing.assert_array_equal(paint(store.volume(), values, SIZE), dense)
        assert triples(store.volume()) == triples(_canonical(dense))
        for z in (3, 0, 2, 1, 0):
            plane = dense[z * PLANE : (z + 1) * PLANE]
            assert triples(store.slice(z)) == triples(_canonical(plane))


def _canonical(dense):
    ids, runs = encode(dense)
    return Runs(runs.starts, runs.stops, ids[runs.owners].astype(np.int64) - 1)


def test_slices_come_back_in_any_order_between_additions():
    volume = publisher.random_volume((5, 11, 9), 4).organelle
    ids = np.unique(volume[volume > 0])
    with RunStore(volume.shape) as store:
        for owner, label in enumerate(ids):
            runs = encode(volume == label)[1]
            store.add(Runs(runs.starts, runs.stops, runs.owners + owner))
            seen = np.where(np.isin(volume, ids[: owner + 1]), volume, 0)
            for z in (4, owner % 5):
                painted = paint(store.slice(z), ids, 99)
                np.testing.assert_array_equal(painted.reshape(11, 9), seen[z])
        np.testing.assert_array_equal(paint(store.volume(), ids, volume.size), volume.ravel())


def test_runs_of_a_slice_are_counted_from_its_begin():
    with RunStore(SHAPE) as store:
        store.add_slice(2, make((3, 5, 1)))
        store.add_slice(2, Runs.empty())
        store.add_slice(0, make((0, 15, 0)))
        assert triples(store.slice(2)) == [(3, 5, 1)]
        assert triples(store.slice(1)) == []
        assert triples(store.volume()) == [(0, 15, 0), (33, 35, 1)]


def test_a_run_over_slices_is_whole_again_in_the_volume():
    with RunStore(SHAPE) as store:
        store.add(make((10, 50, 3)))
        assert [triples(store.slice(z)) for z in range(4)] == [
            [(10, 15, 3)], [(0, 15, 3)], [(0, 15, 3)], [(0, 5, 3)],
        ]  # fmt: skip
        assert triples(store.volume()) == [(10, 50, 3)]


@pytest.mark.parametrize("shape", [(0, 3, 4), (3, 0, 4), (2, 2, 0)])
def test_a_volume_without_voxels_has_no_runs(shape):
    with RunStore(shape) as store:
        store.add(Runs.empty())
        assert [len(store.slice(z)) for z in range(shape[0])] == [0] * shape[0]
        assert len(store.volume()) == 0


def test_a_store_of_more_than_two_to_the_31_voxels_takes_memory_for_its_runs_only():
    plane = 2**40
    with RunStore((2_000, 2**20, 2**20)) as store:
        store.add(make((1_999 * plane + 7, 2_000 * plane, 0), (0, 1, 1)))
        assert triples(store.slice(1_999)) == [(7, plane, 0)]
        assert triples(store.volume()) == [(0, 1, 1), (1_999 * plane + 7, 2_000 * plane, 0)]


def test_ids_are_empty_until_they_are_set():
    with RunStore(SHAPE) as store:
        assert (store.ids.tolist(), store.ids.dtype, store.shape) == ([], np.int32, SHAPE)


def test_a_closed_store_gives_nothing():
    with RunStore(SHAPE) as store:
        store.add(make((0, 1, 0)))
    with pytest.raises(ValueError, match="closed file"):
        store.slice(0)


def test_runs_that_wait_for_a_slice_are_joined_before_they_are_too_many(monkeypatch):
    monkeypatch.setattr("_platelet_em.publisher.runstore._FEW", 0)
    every_other = make(*((i, i + 1, 0) for i in range(0, PLANE, 2)))
    with RunStore(SHAPE) as store:
        for owner in range(40):
            store.add(Runs(every_other.starts, every_other.stops, every_other.owners + owner))
        waiting = sum(count for _, count in store._pieces[0])
        assert waiting <= 2 * PLANE
        assert triples(store.slice(0)) == [(i, i + 1, 39) for i in range(0, PLANE, 2)]


def test_overlapping_runs_are_not_cut_into_a_piece_a_slice_each():
    depth, count = 10_000, 10_000
    with RunStore((depth, 1, 1)) as store:
        # Cut before they are joined, they would be 100 million pieces.
        store.add(make(*[(0, depth, 0)] * count))
        assert triples(store.volume()) == [(0, depth, 0)]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_no_room_is_said_even_after_closing_fails_too(monkeypatch):
    file = Path("/dev/full").open("w+b")  # noqa: SIM115  # the store closes it
    monkeypatch.setattr("tempfile.TemporaryFile", lambda: file)
    runs = Runs(*(np.array([value], np.int64) for value in (0, 1, 0)))
    with (
        pytest.raises(OutputError, match=r"folder of temporary files.*: no room to write"),
        RunStore((1, 4, 4)) as store,
    ):
        store.add_slice(0, runs)
