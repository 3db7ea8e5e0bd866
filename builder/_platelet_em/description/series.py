"""`find_series`: the files of a folder in groups of one kind, such as slices or masks."""

import os
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from glob import escape
from pathlib import Path

from _platelet_em.description.guess import is_like_labels
from _platelet_em.description.look import Look, look_at, look_at_size
from _platelet_em.limits import MAX_PAGES
from _platelet_em.sources.paths import natural_order

__all__ = [
    "SPLIT_WORDS",
    "FolderContent",
    "Series",
    "find_series",
    "list_folder",
    "own_words",
    "words_of",
]

_PICTURES = (".tif", ".tiff", ".png")
_LISTS = (".csv", ".txt")
_IGNORED = {"thumbs.db", "desktop.ini", "__macosx"}
_MAX_FILES = 200_000
_LOOKS = 3
_SIZES = 16
_MAX_SERIES = 200

_IMAGE_WORDS = (
    *("images", "image", "imgs", "img", "raw", "em", "pictures", "picture", "photos", "photo"),
    *("input", "inputs", "im"),
)
_LABEL_WORDS = (
    *("labels", "label", "lbl", "masks", "mask", "segmentations", "segmentation", "segmaps"),
    *("segmap", "seg", "groundtruth", "truth", "gt", "annotations", "annotation", "semantic"),
    *("classes", "class", "instances", "instance", "ids"),
)
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "eval"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Words in names of folders and lists, and the split that they mean."""

_GENERIC = {*_IMAGE_WORDS, *_LABEL_WORDS, *SPLIT_WORDS}
_ROLES = "|".join(sorted({*_IMAGE_WORDS, *_LABEL_WORDS}, key=len, reverse=True))
_FIRST = re.compile(rf"((?:{_ROLES})(?:[_\-. ]|(?=\d)))(.+)", re.IGNORECASE)
_LAST = re.compile(rf"(.+?)([_\-. ](?:{_ROLES})(?:[_\-. ][a-z]+)?)", re.IGNORECASE)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_a-zA-Z]+")


def words_of(text: str) -> list[str]:
    """The words of a name, in small letters.

    >>> words_of("stack1/mitoMask_GT")
    ['stack', 'mito', 'mask', 'gt']
    """
    text = unicodedata.normalize("NFC", text)
    if not text.isascii():  # words of other languages are not split at capitals
        return [word.casefold() for word in re.findall(r"[^\W\d_]+", text)]
    return [word.casefold() for word in _WORD.findall(text)]


def own_words(words: Iterable[str]) -> list[str]:
    """Words other than those that any labels or images may be called, and splits."""
    return [word for word in words if word not in _GENERIC]


@dataclass(kw_only=True)
class FolderContent:
    """The files of a folder, relative to it.

    Attributes:
        pictures: Folder ("" for the top) -> names of pictures and JSON files.
        lists: Paths of CSV and text files.
        others: How many other files there are.
        skipped: Names that cannot be written in a description.
        is_complete: Whether all files were listed.
    """

    pictures: dict[str, list[str]] = field(default_factory=dict)
    lists: list[str] = field(default_factory=list)
    others: int = 0
    skipped: list[str] = field(default_factory=list)
    is_complete: bool = True


def list_folder(root: Path) -> FolderContent:
    """List the files of a folder and of those in it, but hidden ones and those of file managers.

    Raises:
        OSError: if it cannot be read.
    """
    with os.scandir(root):
        pass
    content, count = FolderContent(), 0
    for folder, folders, names in os.walk(root):
        folders[:] = natural_order(f for f in folders if not _is_hidden(f))
        relative = Path(folder).relative_to(root).as_posix()
        relative = "" if relative == "." else relative
        for name in natural_order(n for n in names if not _is_hidden(n)):
            count += 1
            path = f"{relative}/{name}" if relative else name
            suffix = Path(name).suffix.casefold()
            if not path.isprintable():
                content.skipped.append(path)
            elif suffix in (*_PICTURES, ".json"):
                content.pictures.setdefault(relative, []).append(name)
            elif suffix in _LISTS:
                content.lists.append(path)
            else:
                content.others += 1
        if count > _MAX_FILES:
            content.is_complete = False
            break
    return content


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.casefold() in _IGNORED


@dataclass(kw_only=True)
class Series:
    """Files of one folder whose names differ in one part, the stem.

    Attributes:
        folder: Relative to the top; empty for it.
        before: What stands before the stem in each name.
        after: What stands after it, suffix included.
        stems: In natural order.
        others: The other names in the folder.
        looks: What some of the files show.
        sizes: The shapes of some of the files.
        role: "image" or "labels".
        is_slices: Whether the files seem to be the slices of one volume.
    """

    folder: str
    before: str
    after: str
    stems: list[str]
    others: list[str]
    looks: list[Look] = field(default_factory=list)
    sizes: set[tuple[int, int, int]] = field(default_factory=set)
    role: str = ""
    is_slices: bool = False

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the folders that it is in."""
        return tuple(self.folder.split("/")) if self.folder else ()

    @property
    def words(self) -> list[str]:
        """The words in the name of its folder, and in those of its files but for the stems."""
        last = self.parts[-1] if self.parts else ""
        return words_of(f"{last} {self.before} {Path('x' + self.after).stem[1:]}")

    def path(self, stem: str) -> str:
        """The path of a file, also of the stem "{stem}"."""
        name = f"{self.before}{stem}{self.after}"
        return f"{self.folder}/{name}" if self.folder else name

    @property
    def own_words(self) -> list[str]:
        """Its words other than those that any labels or images may be called."""
        return own_words(self.words)

    @property
    def pattern(self) -> str | None:
        """A pattern of exactly these files; None if there is no simple one."""
        before, after = escape(self.before), escape(self.after)
        suffix = escape(Path(self.after).suffix or self.after)
        names = [f"{self.before}{stem}{self.after}" for stem in self.stems]
        for name in (f"*{suffix}", f"{before}*{after}", f"{before}*[0-9]{after}"):
            is_exact = not any(fnmatchcase(other, name) for other in self.others)
            if is_exact and all(fnmatchcase(own, name) for own in names):
                return f"{escape(self.folder)}/{name}" if self.folder else name
        return None

    @property
    def is_template(self) -> bool:
        """Whether a path with {stem} finds exactly these files."""
        ends = (self.before, self.after)
        if "{" in self.path("") or any(c in end for c in "*?" for end in ends):
            return False
        return not any(o.startswith(ends[0]) and o.endswith(ends[1]) for o in self.others)


def find_series(root: Path, content: FolderContent) -> list[Series]:
    """The series of a folder, with what some of their files show."""
    found = []
    for folder, names in content.pictures.items():
        groups: dict[tuple[str, str], list[str]] = {}
        for name in names:
            suffix = Path(name).suffix
            before, stem, after = _split_name(name.removesuffix(suffix))
            groups.setdefault((before, after + suffix), []).append(stem)
        for (before, after), stems in groups.items():
            own = {f"{before}{stem}{after}" for stem in stems}
            series = Series(
                folder=folder,
                before=before,
                after=after,
                stems=natural_order(stems),
                others=[name for name in names if name not in own],
            )
            _look(root, series)
            found += [series] if series.looks else []
            if len(found) == _MAX_SERIES:
                content.is_complete = False
                return found
    return found


def _split_name(stem: str) -> tuple[str, str, str]:
    """What stands before, in and after the part of a name that differs between files."""
    if match := _FIRST.fullmatch(stem):
        return match[1], match[2], ""
    if match := _LAST.fullmatch(stem):
        return "", match[1], match[2]
    return "", stem, ""


def _look(root: Path, series: Series) -> None:
    """Look at some files, and guess what they are."""
    paths = [root / series.path(stem) for stem in series.stems]
    series.looks = [look_at(path) for path in _spread(paths, _LOOKS)]
    if paths[0].suffix.casefold() == ".json":
        series.looks = [look for look in series.looks if look.form == "runs"]
    else:
        series.sizes = {look_at_size(path) for path in _spread(paths, _SIZES)} - {(0, 0, 0)}
    words = set(series.words)
    if words & set(_LABEL_WORDS) or any(look.form == "runs" for look in series.looks):
        series.role = "labels"
    elif words & set(_IMAGE_WORDS):
        series.role = "image"
    else:
        series.role = "labels" if is_like_labels(series.looks) else "image"
    is_flat = {size[0] for size in series.sizes} == {1} and len(series.sizes) == 1
    series.is_slices = is_flat and 1 < len(paths) <= MAX_PAGES and _are_numbered(series.stems)


def _spread(paths: list[Path], count: int) -> Iterable[Path]:
    """The first and last of some paths, and some between."""
    last = len(paths) - 1
    return [paths[i] for i in sorted({last * k // (count - 1) for k in range(count)})]


def _are_numbered(stems: list[str]) -> bool:
    """Whether stems differ in one number, which goes up with few gaps."""
    before = _common_length(stems)
    while before and stems[0][before - 1].isdecimal():
        before -= 1
    after = _common_length([stem[before:][::-1] for stem in stems])
    while after and stems[0][-after].isdecimal():
        after -= 1
    texts = [stem[before : len(stem) - after] for stem in stems]
    if not all(text.isdecimal() and len(text) < 10 for text in texts):
        return False
    numbers = [int(text) for text in texts]
    return len({*numbers}) == len(numbers) and max(numbers) - min(numbers) < 2 * len(numbers)


def _common_length(texts: list[str]) -> int:
    """How many characters all texts begin with."""
    first, last = min(texts), max(texts)  # all others are between them
    pairs = enumerate(zip(first, last, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(first), len(last)))
