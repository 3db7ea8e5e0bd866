"""torchdata's `StatefulDataLoader`: a state saved in the middle gives exactly the rest."""

import itertools
import pickle

import pytest
from support import versions
from support.programs import PROGRAMS
from support.programs.stateful_loader import keys, make_loader

from platelet_em import ArgumentError

pytestmark = pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")

SAMPLED = ["windows", "windows, shuffled", "windows, of a rank"]
NAMES = [*SAMPLED, "windows, plain", "slices", "slices, mapped"]


def check_resumed(name, repository, workers, position, **options):
    """A state after some batches gives the rest, and then whole new epochs of windows."""
    loader = make_loader(name, repository, workers, **options)
    expected = [keys(loader) for _ in range(3)] if name in SAMPLED else [keys(loader)]
    loader = make_loader(name, repository, workers, **options)
    batches = iter(loader)
    begun = keys(next(batches) for _ in range(position))
    state = pickle.loads(pickle.dumps(loader.state_dict()))
    del batches
    resumed = make_loader(name, repository, workers, **options)
    resumed.load_state_dict(state)
    assert [begun + keys(resumed), *(keys(resumed) for _ in expected[1:])] == expected, position
    return expected


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("name", NAMES)
def test_a_new_loader_gives_exactly_the_rest(repository, name, workers):
    # With workers, each case starts eight of them.
    some = (0, 1, 3) if name != "windows, of a rank" else (2,)
    for position in range(8) if workers == 0 and name in SAMPLED[:2] else some:
        expected = check_resumed(name, str(repository), workers, position)
    count = 9 if "slices" in name else 6 if "rank" in name else 13
    epochs = [{str(key) for key in epoch} for epoch in expected]
    assert [len(epoch) for epoch in epochs] == [count] * len(epochs)
    assert len({frozenset(epoch) for epoch in epochs}) == len(epochs), "epochs differ"


def test_windows_without_batches_and_persistent_workers_give_exactly_the_rest(repository):
    for position in (0, 5, 12, 13):
        check_resumed("windows, shuffled", str(repository), 0, position, batch_size=None)
    options = {"persistent_workers": True, "snapshot_every_n_steps": 3}
    for position in (1, 4, 7):
        check_resumed("windows, shuffled", str(repository), 2, position, **options)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("persistent", [False, True])
def test_the_state_after_an_epoch_gives_the_next_one(repository, workers, persistent):
    options = {"persistent_workers": True} if persistent and workers else {}
    loader = make_loader("windows", str(repository), workers, **options)
    expected = [keys(loader)]
    state = loader.state_dict()
    expected += [keys(loader), keys(loader)]
    resumed = make_loader("windows", str(repository), workers, **options)
    resumed.load_state_dict(state)
    assert [keys(resumed), keys(resumed)] == expected[1:]


def test_the_state_before_the_first_window_of_a_later_epoch_gives_all_of_it(repository):
    loader = make_loader("windows", str(repository), 0)
    keys(loader)
    batches = iter(loader)
    state = loader.state_dict()
    expected = keys(batches)
    resumed = make_loader("windows", str(repository), 0)
    resumed.load_state_dict(state)
    assert keys(resumed) == expected


def test_a_new_process_gives_exactly_the_rest(repository, tmp_path):
    cases = []
    for name, workers in itertools.product(["windows, shuffled", "windows", "slices"], [0, 2]):
        loader = make_loader(name, str(repository), workers)
        batches = iter(loader)
        keys(next(batches) for _ in range(2))
        state = loader.state_dict()
        rest = keys(batches)
        cases.append((name, workers, state, rest, keys(loader) if name in SAMPLED else None))
    saved = tmp_path / "cases.pickle"
    saved.write_bytes(pickle.dumps(cases))
    program = PROGRAMS / "stateful_loader.py"
    versions.run(versions.NEWEST, program, repository, saved, cwd=tmp_path)


def test_states_of_other_settings_are_refused(repository):
    state = make_loader("windows", str(repository), 0).state_dict()
    resumed = make_loader("windows, shuffled", str(repository), 0)
    resumed.load_state_dict(state)
    with pytest.raises(ArgumentError, match="shuffle=False, and this sampler has shuffle=True"):
        next(iter(resumed))
