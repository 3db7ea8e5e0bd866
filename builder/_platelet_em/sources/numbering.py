"""Whether the slices of an image and those of its labels are the same slices, by their names."""

import os
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from _platelet_em.errors import ArchiveError, printable

__all__ = ["check_numbering"]

_NUMBER = re.compile("([0-9]+)")
_SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9]*\Z")


def check_numbering(images: Sequence[Path], labels: Sequence[Path]) -> None:
    """Refuse labels whose files belong to other slices than those of the image, one by one.

    Images z1, z2, z4 and labels z1, z3, z4 are as many, and the second label is of another slice.
    Names that have nothing to do with each other are accepted, and so are numbers that count from
    another one, or in other steps: 0, 1, 2 and 10, 20, 30.

    Args:
        images: Files of the image, in the order of its slices.
        labels: Files of a label column; as many, or they are not compared.

    Raises:
        ArchiveError: names the first file that does not belong to its image.
    """
    stems, others = _stems(images), _stems(labels)
    _refuse_twins(labels, others)
    if len(images) != len(labels) or len(images) < 2:
        return
    if stems == others:
        return
    at = None
    if {*stems} & {*others}:
        at = next(i for i, pair in enumerate(zip(stems, others, strict=True)) if len({*pair}) > 1)
    elif (numbers := _numbers(stems)) and (found := _numbers(others)):
        steps, found_steps = _steps(numbers), _steps(found)
        if steps != found_steps and len({*steps}) + len({*found_steps}) > 2:
            pairs = zip(steps, found_steps, strict=True)
            at = next((i + 1 for i, (a, b) in enumerate(pairs) if a != b), None)
    if at is not None:
        raise ArchiveError(
            f"{printable(str(labels[at]))}: expected the labels of slice {at}, "
            f"{printable(images[at].name)}, found labels of another number or name: bring the "
            "slices that are missing, or give images and labels the same names"
        )


def _stems(paths: Sequence[Path]) -> list[str]:
    """What the names differ in: without suffix, and from their common folder on."""
    folder = os.path.commonpath([path.parent for path in paths])
    return [_SUFFIX.sub("", path.relative_to(folder).as_posix()) for path in paths]


def _refuse_twins(paths: Sequence[Path], stems: Sequence[str]) -> None:
    """Two files of one number, such as z1.tif and z01.tif, are no two slices."""
    names = [[_value(part) for part in _NUMBER.split(stem)] for stem in stems]
    for index, (before, after) in enumerate(pairwise(names), 1):
        if before == after:
            raise ArchiveError(
                f"{printable(str(paths[index]))}: expected one file per slice, found "
                f"{printable(paths[index - 1].name)} with the same number or name, too: move one "
                'of both away, or name the right ones, such as "*.tif"'
            )


def _value(part: str) -> str | int:
    return int(part) if part.isascii() and part.isdecimal() else part.casefold()


def _numbers(stems: Sequence[str]) -> list[int]:
    """The only number that differs between names; empty if there are several, or none."""
    names = [_NUMBER.split(stem) for stem in stems]
    if len({len(name) for name in names}) > 1:
        return []
    places = [i for i in range(len(names[0])) if len({_value(name[i]) for name in names}) > 1]
    if len(places) != 1 or not places[0] % 2:
        return []
    return [int(name[places[0]]) for name in names]


def _steps(numbers: Sequence[int]) -> list[int]:
    return [after - before for before, after in pairwise(numbers)]
