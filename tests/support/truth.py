"""What volumes consist of, as dense arrays, for tests that read them back from elsewhere."""

__all__ = ["arrays_of", "own_arrays"]


def arrays_of(publication, third=None):
    """Volume -> column -> array (z, y, x) of the published volumes, and of a third."""
    found = {
        name: {
            "image": volume.images,
            "semantic": volume.semantic,
            "cells": volume.cell,
            "organelles": volume.organelle,
        }
        for name, volume in publication.volumes.items()
    }
    if third is not None:
        found["test"] = {"image": third.as_uint16, "semantic": third.semantic}
    return found


def own_arrays(own):
    """Volume -> column -> array (z, y, x) of a set of own volumes."""
    found = {}
    for name, volume in own.volumes.items():
        found[name] = {"image": volume.image, **volume.labels}
        if volume.semantic is not None:
            found[name]["semantic"] = volume.semantic
    return found
