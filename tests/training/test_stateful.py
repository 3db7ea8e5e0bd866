"""torchdata's `StatefulDataLoader`: a state saved in the middle gives exactly the rest."""

import itertools
import pickle

import pytest
from support import versions
from support.programs import PROGRAMS
from support.programs.stateful_loader import keys, make_loader

pytestmark = pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")

NAMES = ["windows", "windows, shuffled", "windows, mapped", "slices", "slices, mapped"]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("name", NAMES)
def test_a_new_loader_gives_exactly_the_rest(repository, name, workers):
    whole = keys(make_loader(name, str(repository), workers))
    assert len({str(key) for key in whole}) == len(whole) == (13 if "windows" in name else 9)
    for position in (0, 1, 3):
        loader = make_loader(name, str(repository), workers)
        batches = iter(loader)
        begun = keys(next(batches) for _ in range(position))
        state = pickle.loads(pickle.dumps(loader.state_dict()))
        del batches
        resumed = make_loader(name, str(repository), workers)
        resumed.load_state_dict(state)
        assert begun + keys(resumed) == whole, position


def test_a_new_process_gives_exactly_the_rest(repository, tmp_path):
    cases = []
    for name, workers in itertools.product(["windows, shuffled", "slices"], [0, 2]):
        loader = make_loader(name, str(repository), workers)
        batches = iter(loader)
        keys(next(batches) for _ in range(2))
        state = loader.state_dict()
        cases.append((name, workers, state, keys(batches)))
    saved = tmp_path / "cases.pickle"
    saved.write_bytes(pickle.dumps(cases))
    program = PROGRAMS / "stateful_loader.py"
    versions.run(versions.NEWEST, program, repository, saved, cwd=tmp_path)


def test_the_epoch_after_a_resumed_one_is_whole(repository):
    loader = make_loader("windows", str(repository), 2)
    next(iter(loader))
    resumed = make_loader("windows", str(repository), 2)
    resumed.load_state_dict(loader.state_dict())
    first = keys(resumed)
    resumed.dataset.set_epoch(2)
    assert len(first) < 13
    assert sorted(keys(resumed)) == sorted(keys(make_loader("windows", str(repository), 0, 2)))
