"""torchdata's `StatefulDataLoader`: saved in the middle, read on in a new one, nothing twice."""

import pickle

import pytest
from support import ends

pytestmark = pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")

# Runs here, and in processes that read on.
LOADER = """
import datasets
import platelet_em
from torchdata.stateful_dataloader import StatefulDataLoader

def make_loader(name, repository, workers, epoch=1):
    kind, _, change = name.partition(", ")
    config = "slices" if kind == "slices" else "volumes"
    stream = datasets.load_dataset(repository, config, split="train", streaming=True)
    if kind == "windows":
        sampler = platelet_em.RandomWindows((2, 8, 8), 13)
        stream = platelet_em.windows(stream, sampler, columns=["image", "cells"])
    else:
        stream = stream.with_format("platelet_em")
    if change == "shuffled":
        stream = stream.shuffle(seed=3, buffer_size=1)
    elif change == "mapped":
        stream = stream.map(platelet_em.ToTensors())
    stream.set_epoch(epoch)
    return StatefulDataLoader(
        stream, batch_size=2, num_workers=workers, collate_fn=platelet_em.collate
    )

def keys(batches):
    places = lambda batch: batch["corner"] if "corner" in batch else batch["z"].tolist()
    return [place for batch in batches for place in zip(batch["volume"], places(batch))]
"""

READ_ON = (
    LOADER
    + """
import pickle, sys

name, repository, workers, saved = sys.argv[1:5]
with open(saved, "rb") as file:
    state, rest = pickle.load(file)
loader = make_loader(name, repository, int(workers))
loader.load_state_dict(state)
assert keys(loader) == rest
print("ok")
"""
)

NAMES = ["windows", "windows, shuffled", "windows, mapped", "slices", "slices, mapped"]


@pytest.fixture(scope="module")
def code():
    names = {}
    exec(LOADER, names)
    return names


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("name", NAMES)
def test_a_new_loader_gives_exactly_the_rest(code, repository, name, workers):
    make_loader, keys = code["make_loader"], code["keys"]
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


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("name", ["windows, shuffled", "slices"])
def test_a_new_process_gives_exactly_the_rest(code, repository, tmp_path, name, workers):
    make_loader, keys = code["make_loader"], code["keys"]
    loader = make_loader(name, str(repository), workers)
    batches = iter(loader)
    keys(next(batches) for _ in range(2))
    state = loader.state_dict()
    saved = tmp_path / "state.pickle"
    saved.write_bytes(pickle.dumps((state, keys(batches))))
    ends.run(ends.NEWEST, READ_ON, name, repository, workers, saved, cwd=tmp_path)


def test_the_epoch_after_a_resumed_one_is_whole(code, repository):
    make_loader, keys = code["make_loader"], code["keys"]
    loader = make_loader("windows", str(repository), 2)
    next(iter(loader))
    resumed = make_loader("windows", str(repository), 2)
    resumed.load_state_dict(loader.state_dict())
    first = keys(resumed)
    resumed.dataset.set_epoch(2)
    assert len(first) < 13
    assert sorted(keys(resumed)) == sorted(keys(make_loader("windows", str(repository), 0, 2)))
