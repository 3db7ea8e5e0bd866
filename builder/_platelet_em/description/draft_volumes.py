"""The volumes in the draft of a description."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from _platelet_em.description.series import SPLIT_WORDS, Series, own_words, words_of
from _platelet_em.description.template import STEM
from _platelet_em.errors import printable
from _platelet_em.files import read_regular
from _platelet_em.limits import MAX_METADATA
from _platelet_em.sources.paths import natural_order

__all__ = ["LabelColumn", "toml_text", "write_volumes"]

_FEW = 4
_MANY = 50


@dataclass(kw_only=True)
class LabelColumn:
    """A label column of a draft.

    Attributes:
        name: Its name.
        series: Where its files are.
        threshold: Of masks; None for labels that are no masks.
        reason: Why it is one.
    """

    name: str
    series: list[Series] = field(default_factory=list)
    threshold: int | None = None
    reason: str = ""

    def write(self, path: str, indent: str = "") -> str:
        """Its line in a volume."""
        value = toml_text(path)
        if self.threshold is not None:
            rule = f", threshold = {self.threshold}" if self.threshold else ""
            value = f"{{ file = {value}, components = true{rule} }}"
        return f"{indent}{_toml_key(self.name)} = {value}"


def toml_text(text: str) -> str:
    """A string of TOML; JSON strings of printable characters are such."""
    return json.dumps(text, ensure_ascii=False)


def _toml_key(key: str) -> str:
    """A key of TOML, with quotes where it needs them."""
    return key if re.fullmatch("[A-Za-z0-9_-]+", key) else toml_text(key)


def write_volumes(
    root: Path, images: list[Series], columns: list[LabelColumn], lists: list[str]
) -> Iterator[str]:
    """The lines of the volumes of a draft."""
    if not images:
        yield "# No images were found: complete this."
        yield from ("# [[volumes]]", '# name = "..."', '# split = "train"', '# image = "..."')
        return
    taken: set[str] = set()
    for series in images:
        labels = [(column, found) for column in columns if (found := _match(series, column))]
        if any(look.form == "color" for look in series.looks):
            yield f"# {_describe(series)}: its colors are not gray: such images are refused"
        if series.is_slices and series.pattern:
            yield from _write_slices(series, labels, taken)
        elif len(series.stems) > _FEW and series.is_template:
            yield from _write_template(root, series, labels, lists, taken)
        else:
            yield from _write_files(series, labels, taken)


def _match(image: Series, column: LabelColumn) -> Series | None:
    """The labels of some images: in the same folder, in one beside it, or below one of them."""

    def rank(labels: Series) -> int | None:
        ours, theirs = image.parts, labels.parts
        if ours == theirs:
            return 0
        if len(ours) == len(theirs):
            different = [pair for pair in zip(ours, theirs, strict=True) if pair[0] != pair[1]]
            is_split = any({a.casefold(), b.casefold()} & {*SPLIT_WORDS} for a, b in different)
            return 1 if len(different) == 1 and not is_split else None
        return 2 if ours == theirs[:-1] or theirs == ours[:-1] else None

    ranked = [(r, i) for i, labels in enumerate(column.series) if (r := rank(labels)) is not None]
    return column.series[min(ranked)[1]] if ranked else None


def _write_slices(
    image: Series, labels: list[tuple[LabelColumn, Series]], taken: set[str]
) -> Iterator[str]:
    yield from _begin(_unique(_volume_name(image, labels), taken), _split_of(image))
    yield f"image = {toml_text(image.pattern or '')}  # guess: {_describe(image)}, as slices"
    for column, series in labels:
        count, depth = len(series.stems), len(image.stems)
        depths = {size[0] for size in series.sizes} | {look.shape[0] for look in series.looks}
        if count == depth and series.pattern:
            yield column.write(series.pattern)
        elif count == 1 and depths == {depth}:
            yield column.write(series.path(series.stems[0]))
        else:
            yield f"# {column.name}: {_describe(series)}, for {depth} slices: not understood"
    yield ""


def _write_template(
    root: Path,
    image: Series,
    labels: list[tuple[LabelColumn, Series]],
    lists: list[str],
    taken: set[str],
) -> Iterator[str]:
    names = {stem for stem in image.stems if stem in taken}
    prefix = f"{_volume_name(image, labels)}-" if names else ""
    taken |= {prefix + stem for stem in image.stems}
    found = _find_splits(root, image, lists)
    yield "[[volumes]]  # guess: each picture is a volume of its own"
    yield f"name = {toml_text(prefix + STEM)}"
    if found:
        inside = ", ".join(
            f"{toml_text(path)} = {toml_text(split)}" for path, split in found.items()
        )
        yield f"split = {{ {inside} }}  # guess: by these lists"
    else:
        yield f"split = {toml_text(_split_of(image))}  # guess"
    yield f"image = {toml_text(image.path(STEM))}  # {_describe(image)}"
    for column, series in labels:
        missing = [stem for stem in image.stems if stem not in {*series.stems}]
        if missing or not series.is_template:
            example = printable(series.path(missing[0])) if missing else "their names"
            yield f"# {len(missing)} files are missing, the first is {example}:"
            yield column.write(series.path(STEM), "# ")
        else:
            yield column.write(series.path(STEM))
    yield ""


def _write_files(
    image: Series, labels: list[tuple[LabelColumn, Series]], taken: set[str]
) -> Iterator[str]:
    for stem in image.stems[:_MANY]:
        alone = len(image.stems) == 1 and not stem.strip("0123456789-_ ")
        name = _volume_name(image, labels) if alone and image.folder else stem
        yield from _begin(_unique(name, taken), _split_of(image))
        yield f"image = {toml_text(image.path(stem))}"
        for column, series in labels:
            only = series.stems[0] if len(series.stems) == len(image.stems) == 1 else stem
            if only in series.stems:
                yield column.write(series.path(only))
        yield ""
    if len(image.stems) > _MANY:
        yield f"# and {len(image.stems) - _MANY} more: {_describe(image)}"
        yield ""


def _begin(name: str, split: str) -> Iterator[str]:
    yield "[[volumes]]"
    yield f"name = {toml_text(name)}  # guess"
    yield f"split = {toml_text(split)}  # guess"


def _volume_name(series: Series, labels: list[tuple[LabelColumn, Series]]) -> str:
    """The folders of images, without those that only tell them from labels."""
    shared = {part for _, each in labels for part in each.parts}
    parts = [
        part
        for part in series.parts
        if (part in shared or not shared) and (own_words(words_of(part)) or part.isdecimal())
    ]
    return "-".join(parts) or "volume"


def _unique(name: str, taken: set[str]) -> str:
    found, count = name, 2
    while found in taken:
        found, count = f"{name}-{count}", count + 1
    taken.add(found)
    return found


def _split_of(series: Series) -> str:
    for word in words_of(series.folder):
        if word in SPLIT_WORDS:
            return SPLIT_WORDS[word]
    return "train"


def _find_splits(root: Path, image: Series, lists: list[str]) -> dict[str, str]:
    """The lists whose lines are stems of images, no stem twice; those of training first."""
    stems, used, found = {*image.stems}, set[str](), dict[str, str]()
    order = ["train", "validation", "test"]
    for path in natural_order(lists):
        try:
            text = read_regular(root / path, MAX_METADATA).decode("utf-8-sig")
        except (OSError, UnicodeDecodeError):
            continue
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        split = next((SPLIT_WORDS[w] for w in words_of(Path(path).stem) if w in SPLIT_WORDS), None)
        is_list = bool(lines) and len({*lines}) == len(lines) and {*lines} <= stems
        if split and is_list and not used & {*lines}:
            found[path] = split
            used |= {*lines}
    return dict(sorted(found.items(), key=lambda item: order.index(item[1])))


def _describe(series: Series) -> str:
    """How many files there are, of which shape and dtype."""
    shapes = sorted(series.sizes) or [look.shape for look in series.looks]
    first = " x ".join(map(str, shapes[0][1:] if shapes[0][0] == 1 else shapes[0]))
    dtypes = sorted({look.dtype for look in series.looks if look.dtype})
    several = f" and {len(shapes) - 1} other sizes" if len(shapes) > 1 else ""
    files = f"{len(series.stems)} files" if len(series.stems) > 1 else "1 file"
    return f"{files} of {first}{several}, {' and '.join(dtypes) or 'not readable'}"
