"""Templates of a description: one volume for each file that a path with `{stem}` matches."""

import glob
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from _platelet_em.description.lookup import FileLookup
from _platelet_em.description.table import Table
from _platelet_em.errors import ArchiveError, MissingMemberError, PlateletEMError, printable, quote
from _platelet_em.files import read_regular
from _platelet_em.limits import MAX_METADATA
from _platelet_em.sources.paths import natural_order

__all__ = ["STEM", "Template", "fill_stem", "read_splits"]

STEM = "{stem}"
"""Stands for what differs between the files of a template."""


def fill_stem(path: str, stem: str, files: FileLookup) -> str:
    """The path of a volume of a template: `*`, `?` and `[` in its stem stand for themselves.

    A path "a[1].png" would find "a1.png" where there is no file of that name.
    """
    literal = path.replace(STEM, stem)
    return literal if files.lists(literal) else path.replace(STEM, glob.escape(stem))


class Template:
    """A path with `{stem}` in one of its parts.

    Args:
        path: The path, relative to a folder; below the part with `{stem}`, also a pattern.
    """

    def __init__(self, path: str) -> None:
        parts = PurePosixPath(path).parts
        at = next(i for i, part in enumerate(parts) if STEM in part)
        self._path = path
        self._parent = str(PurePosixPath(*parts[:at]))
        self._rest = "/".join(parts[at + 1 :])
        self._before, self._after = parts[at].split(STEM)

    def find_stems(self, files: FileLookup) -> list[str]:
        """The stems of the files that are there, in natural order.

        Hidden files match only a template that begins with a dot.

        Raises:
            MissingMemberError: if there are none.
            ArchiveError: for a pattern in the part with `{stem}`.
        """
        if "*" in self._before + self._after or "?" in self._before + self._after:
            raise ArchiveError(
                f"expected {STEM} between fixed characters, found "
                f"{self._before}{STEM}{self._after}: patterns may only follow in a further folder"
            )
        folder = Path(files.folder, self._parent)
        names = files.folders(folder) if self._rest else files.files(folder)
        end = len(self._after)
        stems = [
            name[len(self._before) : len(name) - end]
            for name in names
            if name.startswith(self._before)
            and name.endswith(self._after)
            and len(name) > len(self._before) + end
            and (self._before[:1] == "." or name[:1] != ".")
        ]
        if self._rest:
            stems = [s for s in stems if files.has(fill_stem(self._path, s, files))]
        if not stems:
            others = [n for n in natural_order(names) if n[:1] != "."]
            listed = ", ".join(map(printable, others[:3])) or "nothing"
            raise MissingMemberError(
                f"{printable(str(Path(files.folder, self._path)))}: expected such files, "
                f"found only {len(others)} others: {listed}: correct the path"
            )
        return natural_order(stems)


def read_splits(
    files: FileLookup, lists: Mapping[str, str], stems: list[str], table: Table, image: str
) -> dict[str, str]:
    """Stem -> split, in the order of the lists.

    Args:
        files: Looks for the lists.
        lists: List file -> split. A list has one stem per line, and no header.
        stems: The stems of the images.
        table: The template, for problems.
        image: The path of images, for messages.
    """
    there, found = set(stems), dict[str, tuple[str, str]]()
    for name, split in lists.items():
        place = table.at("split", name)
        missing, repeated = [], []
        for line, stem in _read_list(files, name, table):
            at = f"{name}, line {line}"
            if stem not in there:
                missing.append((at, stem))
            elif stem in found:
                repeated.append((at, stem, found[stem][1]))
            else:
                found[stem] = (split, at)
        sentences = [_describe_missing(at, s, image, there) for at, s in missing[:5]]
        if len(missing) > 5:
            sentences.append(f"expected stems of images, found {len(missing) - 5} others too")
        sentences += [
            f"{at}: expected each stem once, found {quote(s)}, as in {first}: remove one"
            for at, s, first in repeated[:5]
        ]
        if len(repeated) > 5:
            sentences.append(f"expected each stem once, found {len(repeated) - 5} others too")
        for sentence in sentences:
            table.problems.add_sentence(place, sentence)
    return {stem: split for stem, (split, _) in found.items()}


def _describe_missing(at: str, stem: str, image: str, stems: set[str]) -> str:
    suffix = PurePosixPath(image).suffix
    if suffix and stem.removesuffix(suffix) in stems:
        remedy = f"list stems without {suffix}"
    elif re.search("[,;\t]", stem):
        remedy = "write one stem per line, and nothing else"
    elif at.endswith(" line 1"):
        remedy = "remove it, also if it is a header"
    else:
        remedy = "correct it, or remove it"
    return f"{at}: expected the stem of an image {image}, found {quote(stem)}: {remedy}"


def _read_list(files: FileLookup, name: str, table: Table) -> list[tuple[int, str]]:
    """Line, from 1, and stem of each line that is not blank."""
    place = table.at("split", name)
    try:
        files.check(name)
        content = read_regular(Path(files.folder, name), MAX_METADATA)
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        table.problems.add_sentence(
            place, f"{name}: expected text in UTF-8, found another encoding: save it as UTF-8"
        )
        return []
    except (PlateletEMError, OSError) as error:
        table.problems.add_sentence(place, str(error))
        return []
    lines = [(i, line.strip()) for i, line in enumerate(text.splitlines(), 1)]
    if not (found := [(i, stem) for i, stem in lines if stem]):
        table.problems.add_sentence(
            place, f"{name}: expected one stem per line, found none: fill it, or leave it out"
        )
    return found
