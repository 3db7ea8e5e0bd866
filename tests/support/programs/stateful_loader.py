"""Loaders of torchdata's `StatefulDataLoader`; as a program, read on from states of others.

Arguments: a built repository, and a pickled file of (name of a loader, number of workers, state,
keys that must follow). Prints ok at the end.
"""

import pickle
import sys
from pathlib import Path

import datasets

import platelet_em


def make_loader(name, repository, workers, epoch=1):
    """A loader of "windows" or "slices", which may be ", shuffled" or ", mapped"."""
    from torchdata.stateful_dataloader import StatefulDataLoader

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
    """Volume, and corner or z, of each example in batches."""
    found = []
    for batch in batches:
        positions = batch["corner"] if "corner" in batch else batch["z"].tolist()
        found += zip(batch["volume"], positions, strict=True)
    return found


if __name__ == "__main__":
    for name, workers, state, rest in pickle.loads(Path(sys.argv[2]).read_bytes()):
        loader = make_loader(name, sys.argv[1], workers)
        loader.load_state_dict(state)
        assert keys(loader) == rest, (name, workers)
    print("ok")
