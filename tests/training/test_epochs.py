"""`Windows.sampler`: epochs, ranks, order and states, without PyTorch's loaders and with them."""

import copy
import itertools
import json
import pickle
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import versions
from support.programs import PROGRAMS
from support.windows import position, positions

import platelet_em
from _platelet_em.training.epochs import EpochSampler
from platelet_em import ArgumentError, GridWindows, RandomWindows, TooLargeError, windows

COUNT = 13


def make(count=COUNT, *, shuffle=False, seed=0, rank=None, world_size=None, uneven="share"):
    return EpochSampler(count, {"windows": "w"}, shuffle, seed, rank, world_size, uneven)


def read(sampler):
    """(Epoch, position) of each index of a pass."""
    return [(index.epoch, index.position) for index in sampler]


@pytest.fixture
def w(volume):
    return windows(volume, RandomWindows((3, 5, 5), COUNT), columns=["cells"])


# --- epochs -----------------------------------------------------------------------------------


@pytest.mark.parametrize("shuffle", [False, True])
def test_each_pass_is_a_new_epoch(shuffle):
    sampler = make(shuffle=shuffle)
    epochs = [read(sampler) for _ in range(3)]
    for epoch, found in enumerate(epochs):
        assert sorted(found) == [(epoch, k) for k in range(COUNT)]
        assert (found == sorted(found)) != shuffle
    assert len({str([k for _, k in found]) for found in epochs}) == (3 if shuffle else 1)
    assert len(sampler) == COUNT
    assert epochs == [read(again) for again in [make(shuffle=shuffle)] for _ in range(3)]


def test_seeds_give_other_orders():
    assert read(make(shuffle=True, seed=1)) != read(make(shuffle=True))


def test_an_iterator_that_yields_nothing_is_no_pass():
    sampler = make()
    iter(sampler)
    one = iter(sampler)
    assert next(one).epoch == 0
    assert next(iter(sampler)).epoch == 1
    assert [index.epoch for index in one] == [0] * (COUNT - 1)
    assert next(one, None) is None


def test_set_epoch_is_that_of_the_next_pass():
    sampler = make()
    for epoch in (7, 7, 3):
        sampler.set_epoch(epoch)
        assert {e for e, _ in read(sampler)} == {epoch}
    assert {e for e, _ in read(sampler)} == {4}
    rows = iter(sampler)
    next(rows)
    sampler.set_epoch(0)
    assert next(rows).epoch == 5, "a pass that has begun keeps its epoch"
    assert next(iter(sampler)).epoch == 0
    for wrong in (-1, 1.5, None):
        with pytest.raises(ArgumentError, match="epoch: expected"):
            sampler.set_epoch(wrong)


def test_windows_of_each_epoch_are_new_ones(w):
    sampler = w.sampler()
    epochs = [positions(w[index] for index in sampler) for _ in range(3)]
    assert epochs[0] == positions(w)
    assert len({*itertools.chain(*epochs)}) == 3 * COUNT


# --- ranks ------------------------------------------------------------------------------------


@given(st.integers(1, 40), st.integers(1, 12), st.booleans(), st.sampled_from(["share", "drop"]))
def test_ranks_share_out_each_epoch(count, ranks, shuffle, uneven):
    if uneven == "drop" and count < ranks:
        return
    samplers = [
        make(count, rank=rank, world_size=ranks, shuffle=shuffle, uneven=uneven)
        for rank in range(ranks)
    ]
    for epoch in range(3):
        parts = [read(sampler) for sampler in samplers]
        assert [len(part) for part in parts] == [len(sampler) for sampler in samplers]
        found = sorted(itertools.chain(*parts))
        assert len({*found}) == len(found)
        sizes = {len(part) for part in parts}
        if uneven == "share":
            assert found == [(epoch, k) for k in range(count)]
            assert max(sizes) - min(sizes) <= 1
        else:
            assert sizes == {count // ranks}
            assert {*found} <= {(epoch, k) for k in range(count)}


def test_other_windows_are_dropped_in_each_epoch_where_they_are_shuffled():
    samplers = [make(rank=k, world_size=3, shuffle=True, uneven="drop") for k in range(3)]
    dropped = [
        {*range(COUNT)} - {k for sampler in samplers for _, k in read(sampler)} for _ in range(30)
    ]
    assert {len(each) for each in dropped} == {1}
    assert len({*itertools.chain(*dropped)}) > 6


def test_the_repr_says_what_a_sampler_does():
    assert repr(make()) == "EpochSampler(13 windows, next epoch 0)"
    sampler = make(rank=1, world_size=3, uneven="drop", shuffle=True)
    sampler.set_epoch(4)
    assert repr(sampler) == (
        "EpochSampler(13 windows, shuffled, rank 1 of 3, 1 of 13 dropped, next epoch 4)"
    )
    assert (sampler.rank, sampler.num_replicas, sampler.epoch) == (1, 3, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 0}, "rank, world_size: expected both or neither, got 0 and None"),
        ({"world_size": 2}, "expected both or neither, got None and 2"),
        ({"rank": 2, "world_size": 2}, "rank: expected 0 to 1, got 2"),
        ({"rank": -1, "world_size": 2}, "rank: expected at least 0"),
        ({"rank": 0, "world_size": 0}, "world_size: expected at least 1"),
        ({"rank": 0.5, "world_size": 2}, "rank: expected an integer"),
        ({"uneven": "repeat"}, "uneven: expected 'share' or 'drop', got 'repeat'"),
        ({"seed": -1}, "seed: expected at least 0"),
    ],
)
def test_invalid_arguments_are_refused(w, options, message):
    with pytest.raises(ArgumentError, match=message):
        w.sampler(**options)


def test_dropping_all_windows_is_an_error():
    sampler = make(3, rank=0, world_size=4, uneven="drop")
    message = "uneven='drop': 3 windows for 4 ranks leave none: use uneven='share', or more"
    with pytest.raises(ArgumentError, match=message):
        len(sampler)
    with pytest.raises(ArgumentError, match=message):
        next(iter(sampler))


def test_an_order_that_does_not_fit_memory_is_refused():
    next(iter(make(10**15)))
    with pytest.raises(TooLargeError, match="shuffle: the order of 1000000000000000 windows"):
        next(iter(make(10**15, shuffle=True)))


def test_ranks_that_read_different_numbers_are_named_once(caplog):
    count = 10_007  # of no other test: it is logged once per process
    read(make(count))
    read(make(count, rank=0, world_size=count))
    read(make(count, rank=0, world_size=5, uneven="drop"))
    assert not caplog.records
    for rank in (0, 1, 0):
        read(make(count, rank=rank, world_size=5))
    assert [r.getMessage()[:26] for r in caplog.records] == ["10007 windows for 5 ranks:"]


# --- states -----------------------------------------------------------------------------------


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("place", [(0, 1), (1, 2), (2, 3)])
@pytest.mark.parametrize("epoch", [0, 2])
def test_a_state_gives_exactly_the_rest(shuffle, place, epoch):
    options = {"shuffle": shuffle, "rank": place[0], "world_size": place[1]}
    sampler = make(**options)
    sampler.set_epoch(epoch)
    expected = [read(sampler) for _ in range(3)]
    for count in range(len(expected[0])):
        sampler = make(**options)
        sampler.set_epoch(epoch)
        rows = iter(sampler)
        begun = [(index.epoch, index.position) for index in itertools.islice(rows, count)]
        state = json.loads(json.dumps(sampler.state_dict()))
        assert (state["epoch"], state["position"]) == (epoch, count)
        resumed = make(**options)
        resumed.load_state_dict(state)
        assert resumed.state_dict() == state
        assert begun + read(resumed) == expected[0]
        assert [read(resumed), read(resumed)] == expected[1:]


def test_the_state_of_a_complete_epoch_continues_with_the_next_one():
    sampler = make()
    read(sampler)
    resumed = make()
    resumed.load_state_dict(sampler.state_dict())
    assert resumed.epoch == 1
    assert read(resumed) == [(1, k) for k in range(COUNT)]


def test_loops_that_set_the_epoch_of_a_loaded_state_get_its_rest(caplog):
    sampler = make()
    sampler.set_epoch(2)
    next(iter(sampler))
    resumed = make()
    resumed.load_state_dict(sampler.state_dict())
    resumed.set_epoch(2)
    assert read(resumed) == [(2, k) for k in range(1, COUNT)]
    assert not caplog.records
    resumed.load_state_dict(sampler.state_dict())
    resumed.set_epoch(5)
    assert "set_epoch(5) leaves out the rest of epoch 2" in caplog.text
    assert read(resumed) == [(5, k) for k in range(COUNT)]


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"count": 14}, "count=13, and this sampler has count=14"),
        ({"seed": 1}, "seed=0, and this sampler has seed=1"),
        ({"shuffle": True}, "shuffle=False"),
        ({"uneven": "drop"}, "uneven='share'"),
        ({"rank": 1, "world_size": 2}, "rank=0, and this sampler has rank=1"),
        ({"rank": 0, "world_size": 2}, "world_size=1, and this sampler has world_size=2"),
    ],
)
def test_states_of_other_settings_are_refused(options, name):
    state = make().state_dict()
    message = f"state: it was taken with {name}.*load it into a sampler of the same settings"
    for other in (make(**options), iter(make(**options))):
        with pytest.raises(ArgumentError, match=message):
            other.load_state_dict(state)


def test_states_of_other_windows_are_refused(load, w):
    state = json.loads(json.dumps(w.sampler().state_dict()))
    w.sampler().load_state_dict(state)
    for message, sampler in (
        ("windows=.*seed=0.* has windows=.*seed=1", RandomWindows((3, 5, 5), COUNT, seed=1)),
        ("count=13, and this sampler has count=21", GridWindows((3, 23, 3))),
    ):
        other = windows(load(), sampler, columns=["cells"]).sampler()
        with pytest.raises(ArgumentError, match=message):
            other.load_state_dict(state)
    validation = load(split="validation")
    other = windows(validation, RandomWindows((3, 5, 5), COUNT), columns=["cells"]).sampler()
    with pytest.raises(ArgumentError, match=r"volumes=\[\['50', .*has volumes=\[\['24', "):
        other.load_state_dict(state)
    some = [load("slices").select(range(z, z + 2)) for z in (0, 1)]
    one, two = (windows(s, RandomWindows((5, 5), 3), columns=["cells"]).sampler() for s in some)
    with pytest.raises(ArgumentError, match=r"volumes=.*\(0, 2\).*has volumes=.*\(1, 3\)"):
        two.load_state_dict(one.state_dict())
    corners = [[0, 0, 0], [1, 0, 0]]
    one, two = (windows(load(), c, shape=(2, 2, 2)).sampler() for c in (corners, corners[::-1]))
    with pytest.raises(ArgumentError, match="windows="):
        two.load_state_dict(one.state_dict())


@pytest.mark.parametrize("state", [None, {}, 3, [], {"epoch": 1}])
def test_what_is_no_state_is_refused(state):
    with pytest.raises(ArgumentError, match="state: expected what state_dict of such a sampler"):
        make().load_state_dict(state)


@pytest.mark.parametrize(
    "change",
    [{"epoch": -1}, {"position": -1}, {"position": 14}, {"epoch": "1"}, {"settings": None}],
)
def test_damaged_states_are_refused(change):
    with pytest.raises(ArgumentError, match="state: "):
        make().load_state_dict({**make().state_dict(), **change})


def test_copies_and_pickles_continue_with_the_next_epoch():
    sampler = make(shuffle=True)
    next(iter(sampler))
    for other in (copy.copy(sampler), copy.deepcopy(sampler), pickle.loads(pickle.dumps(sampler))):
        assert {epoch for epoch, _ in read(other)} == {1}
    assert sampler.epoch == 0


# --- without torch ----------------------------------------------------------------------------


def test_samplers_work_without_torch(tmp_path):
    versions.run(versions.NEWEST, PROGRAMS / "sampler_without_torch.py", cwd=tmp_path)


# --- loaders ----------------------------------------------------------------------------------


def corners(loader):
    return [
        (volume, *corner)
        for batch in loader
        for volume, corner in zip(batch["volume"], batch["corner"], strict=True)
    ]


def expect(w, epoch):
    """Positions of an epoch's windows."""
    sampler = w.sampler()
    sampler.set_epoch(epoch)
    return positions(w[index] for index in sampler)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("shuffle", [False, True])
def test_a_loop_over_a_loader_has_new_windows_in_each_epoch(w, workers, shuffle):
    from torch.utils.data import DataLoader

    for persistent in {False, workers > 0}:
        loader = DataLoader(
            w, batch_size=4, sampler=w.sampler(shuffle=shuffle), num_workers=workers,
            collate_fn=platelet_em.collate, persistent_workers=persistent,
        )  # fmt: skip
        assert len(loader) == 4
        epochs = [corners(loader) for _ in range(3)]
        for epoch, found in enumerate(epochs):
            assert sorted(found) == sorted(expect(w, epoch)), (epoch, persistent)
        assert (epochs[0] == expect(w, 0)) != shuffle


def test_samples_without_batches_and_spawned_workers(w):
    from torch.utils.data import DataLoader

    loader = DataLoader(
        w, batch_size=None, sampler=w.sampler(), num_workers=1, collate_fn=copy.copy,
        multiprocessing_context="spawn", persistent_workers=True,
    )  # fmt: skip
    for epoch in range(2):
        assert [position(window) for window in loader] == expect(w, epoch)


def test_a_loader_that_shuffles_has_one_epoch(w):
    from torch.utils.data import DataLoader
    from torch.utils.data.distributed import DistributedSampler

    loader = DataLoader(w, 4, shuffle=True, collate_fn=platelet_em.collate)
    epochs = [corners(loader) for _ in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(positions(w))
    assert epochs[0] != epochs[1]
    parts = [DistributedSampler(w, 2, rank, drop_last=True) for rank in range(2)]
    found = [corners(DataLoader(w, 4, sampler=p, collate_fn=platelet_em.collate)) for p in parts]
    assert len({*found[0], *found[1]}) == 12


def test_indices_that_become_plain_integers_are_an_error(w):
    from torch.utils.data import DataLoader

    sampler = w.sampler()
    sampler.set_epoch(1)
    plain = [int(index) for index in sampler]
    with pytest.raises(IndexError, match="whose epoch is lost where it becomes a plain integer"):
        next(iter(DataLoader(w, 4, sampler=plain, collate_fn=platelet_em.collate)))


def test_ranks_of_torch_distributed_share_out_the_windows(small_repository, w, cache, tmp_path):
    command = [sys.executable, PROGRAMS / "windows_of_rank.py", small_repository, cache]
    processes = [
        subprocess.Popen(
            [*map(str, [*command, tmp_path / "store", rank, 2])], stdout=subprocess.PIPE, text=True
        )
        for rank in range(2)
    ]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert outputs[0] == outputs[1]
    found = json.loads(outputs[0].splitlines()[-1])
    for epoch, shares in enumerate(found):
        one, two = [[tuple(p) for p in share] for share in shares]
        assert sorted(one + two) == sorted(expect(w, epoch))
        assert abs(len(one) - len(two)) == 1
