"""Loaders of torchdata's `StatefulDataLoader`; as a program, read on from states of others.

Arguments: a built repository, and a pickled file of (name of a loader, number of workers, state,
keys that must follow, keys of the epoch after it). Prints ok at the end.
"""

import pickle
import sys
from pathlib import Path

import datasets

import platelet_em


def make_loader(name, repository, workers, *, epoch=1, batch_size=2, **options):
    """A loader of "windows" or "slices".

    Windows may be ", shuffled", ", of a rank" or, with the loader's own sampler, ", plain", slices
    may be ", mapped".
    """
    from torchdata.stateful_dataloader import StatefulDataLoader

    kind, _, change = name.partition(", ")
    config = "slices" if kind == "slices" else "volumes"
    source = datasets.load_dataset(repository, config, split="train", streaming=True)
    options = {"num_workers": workers, "batch_size": batch_size, **options}
    if batch_size is not None:
        options["collate_fn"] = platelet_em.collate
    if kind == "slices":
        source = source.with_format("platelet_em")
        if change == "mapped":
            source = source.map(platelet_em.ToTensors())
        source.set_epoch(epoch)
        return StatefulDataLoader(source, **options)
    sampler = platelet_em.RandomWindows((2, 8, 8), 13)
    w = platelet_em.windows(source, sampler, columns=["image", "cells"])
    if change != "plain":
        place = {"rank": 1, "world_size": 2} if change == "of a rank" else {}
        options["sampler"] = w.sampler(shuffle=change == "shuffled", **place)
        options["sampler"].set_epoch(epoch)
    return StatefulDataLoader(w, **options)


def keys(batches):
    """Volume, and corner or z, of each example in batches, or of single windows."""
    found = []
    for batch in batches:
        if isinstance(batch["volume"], str):
            found.append((str(batch["volume"]), list(batch["corner"])))
            continue
        positions = batch["corner"] if "corner" in batch else batch["z"].tolist()
        found += zip(map(str, batch["volume"]), positions, strict=True)
    return found


if __name__ == "__main__":
    for name, workers, state, rest, following in pickle.loads(Path(sys.argv[2]).read_bytes()):
        loader = make_loader(name, sys.argv[1], workers)
        loader.load_state_dict(state)
        assert keys(loader) == rest, (name, workers)
        if following is not None:
            assert keys(loader) == following, (name, workers)
    print("ok")
