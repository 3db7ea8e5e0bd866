"""The classes and the kinds of instances of a description."""

from typing import Any

from _platelet_em.description.problems import Problems
from _platelet_em.description.table import Table, is_integer, parse_color
from _platelet_em.description.toml_lines import Place
from _platelet_em.spec import SEMANTIC, Color, InstanceSpec, SemanticClass

__all__ = [
    "COLOR_PALETTE",
    "MAX_CLASSES",
    "MAX_CODE",
    "VOLUME_KEYS",
    "is_free_name",
    "parse_classes",
    "parse_codes",
    "parse_instances",
]

COLOR_PALETTE = "color"
"""Name of the only palette of a dataset whose classes have one color each."""

MAX_CLASSES = 256
"""Classes are stored in 8 bits."""

MAX_CODE = 2**16 - 1
"""Largest stored value of a class."""

VOLUME_KEYS = (
    "name",
    "split",
    "image",
    "archives",
    "shape",
    "class_shares",
    "label_versions",
    "label_suffix",
    "may_be_signed",
    "is_partly_labeled",
    "note",
)
"""Keys of a volume other than its label columns."""

_ROW_NAMES = (
    *("image", SEMANTIC, "volume", "z", "shape", "voxel_size_nm", "preview", "corner"),
    *("id", "rle", "area", "bbox", "touches_border", "class_id", "purity"),
    *("kind", "class_name", "voxels"),
    *(f"{axis}_{end}" for axis in "zyx" for end in ("min", "max")),
)
"""Columns and fields of rows that any dataset has."""

_RESERVED = {*_ROW_NAMES, *VOLUME_KEYS}


def parse_classes(
    table: Table, palettes: tuple[str, ...]
) -> tuple[tuple[SemanticClass, ...], tuple[str, ...]]:
    """The classes, and the names of the palettes that their colors belong to."""
    items = table.items("classes", "a list of names, or of tables with name and color")
    problems = table.problems
    if len(items) > MAX_CLASSES:
        problems.add(
            table.at("classes"),
            f"at most {MAX_CLASSES} classes",
            len(items),
            "they are stored in 8 bits: leave some out",
        )
    before = problems.count
    classes = [_parse_class(value, place, problems, palettes) for place, value in items]
    _refuse_repeated([c.name for c in classes], [place for place, _ in items], problems)
    colored = [c for c in classes if c.colors]
    if colored and len(colored) < len(classes) and problems.count == before:
        place = next(p for (p, _), c in zip(items, classes, strict=True) if not c.colors)
        problems.add_sentence(
            place,
            f"expected a color, as {len(colored)} other classes have, found none: give all "
            "classes a color, or none",
        )
    _refuse_shared_colors(classes, [place for place, _ in items], problems)
    return tuple(classes), palettes or ((COLOR_PALETTE,) if colored else ())


def _parse_class(
    value: Any, place: Place, problems: Problems, palettes: tuple[str, ...]
) -> SemanticClass:
    table = Table({"name": value} if isinstance(value, str) else value, place, problems)
    name = table.text("name", required=True, remedy='write name = "..."')
    accessible = _color(table, "accessible")
    colors: tuple[Color, ...] = ()
    if palettes:
        parts = Table(table.raw("colors"), table.at("colors"), problems)
        found = [_color(parts, palette, required=True) for palette in palettes]
        if parts.is_valid:
            parts.refuse_others()
        colors = tuple(c for c in found if c is not None)
    elif color := _color(table, "color"):
        colors = (color,)
    table.refuse_others()
    return SemanticClass(name=name, colors=colors, accessible=accessible)


def _color(table: Table, key: str, *, required: bool = False) -> Color | None:
    return table.value(
        key, parse_color, 'a color "#rrggbb"', 'write it as "#00ff00"', required=required
    )


def _refuse_repeated(names: list[str], places: list[Place], problems: Problems) -> None:
    seen: dict[str, Place] = {}
    for name, place in zip(names, places, strict=True):
        if name and name in seen:
            problems.add(
                place, "a name of its own", name, f"item {seen[name][-1]} has it: rename one"
            )
        seen.setdefault(name, place)


def _refuse_shared_colors(
    classes: list[SemanticClass], places: list[Place], problems: Problems
) -> None:
    for palette in range(max((len(c.colors) for c in classes), default=0)):
        seen: dict[Color, str] = {}
        for each, place in zip(classes, places, strict=True):
            if palette >= len(each.colors):
                continue
            color = each.colors[palette]
            if color in seen:
                problems.add(
                    place,
                    "a color of its own",
                    "#" + bytes(color).hex(),
                    f"{seen[color]} has it: choose another",
                )
            seen.setdefault(color, each.name)


def parse_codes(table: Table, class_count: int | None) -> tuple[tuple[int, int], ...]:
    """The class of each stored value.

    Args:
        table: The description.
        class_count: How many classes there are; None if that is not known, because of problems.
    """
    codes: dict[int, int] = {}
    for key, index in table.pairs("semantic_codes", "a table of stored values and classes"):
        place = table.at("semantic_codes", key)
        is_number = key.isascii() and key.isdecimal() and len(key) <= 5
        if not is_number or str(int(key)) != key or int(key) > MAX_CODE:
            table.problems.add(
                place,
                f"a stored value from 0 to {MAX_CODE}",
                key,
                "write the value as in the files, such as 255 = 0",
            )
        elif class_count == 0:
            table.problems.add_sentence(
                table.at("semantic_codes"),
                "expected no codes, since there are no classes, found some: name the classes, "
                "or leave them out",
            )
        elif not is_integer(index, 0, (class_count or MAX_CLASSES) - 1):
            expected = (
                f"the index of a class, 0 to {class_count - 1}"
                if class_count
                else "the index of a class"
            )
            table.problems.add(place, expected, index, "classes count from 0")
        else:
            codes[int(key)] = index
    return tuple(codes.items())


def parse_instances(
    table: Table, class_count: int | None
) -> tuple[tuple[InstanceSpec, ...], tuple[str, ...]]:
    """The kinds of instances, and all names of columns, also those with problems.

    Args:
        table: The description.
        class_count: How many classes there are; None if that is not known, because of problems.
    """
    items = table.items("instances", "a list of names of columns, or of tables with a name")
    parsed: dict[str, InstanceSpec] = {}
    mentioned: list[str] = []
    kinds: dict[str, str] = {}
    for place, value in items:
        entry = Table({"name": value} if isinstance(value, str) else value, place, table.problems)
        instance = _parse_instance(entry, parsed, class_count)
        if isinstance(name := entry.raw("name"), str):
            mentioned.append(name)
        if instance.name and instance.name in kinds:
            table.problems.add(
                (*place, "kind"), "a kind of its own", instance.name, "write another kind"
            )
        kinds[instance.name] = instance.column
        if instance.column:
            parsed[instance.column] = instance
    return tuple(parsed.values()), tuple(mentioned)


def _parse_instance(
    table: Table, others: dict[str, InstanceSpec], class_count: int | None
) -> InstanceSpec:
    column = _column_name(table, others)
    kind = table.text("kind") or column
    part_of: str | None = table.value(
        "part_of",
        lambda v: v if isinstance(v, str) and v in others else None,
        f"the name of instances before it ({', '.join(others) or 'there are none'})",
        "name the parents before their parts, or leave it out",
    )
    parent = _parent_name(table, others[part_of].name if part_of else None)
    highest = MAX_CLASSES - 1 if not class_count else max(class_count - 1, 1)
    first_class = table.integer("first_class", 1, 0, highest)
    fills_classes = table.flag("fills_classes")
    has_class = table.flag("has_class", default=True)
    if fills_classes and class_count == 0:
        table.add("fills_classes", "classes", "name the classes, or leave it out")
    table.refuse_others()
    return InstanceSpec(
        column=column,
        name=kind,
        first_class=first_class,
        fills_classes=fills_classes,
        has_class=has_class,
        part_of=part_of,
        parent=parent,
    )


def is_free_name(name: object) -> bool:
    """Whether a column may have this name, next to those that any dataset has.

    >>> is_free_name("mitochondria"), is_free_name("z"), is_free_name("n_cells")
    (True, False, False)
    """
    if not isinstance(name, str) or not name.isidentifier():
        return False
    return name.casefold() not in _RESERVED and not name.casefold().startswith("n_")


def _column_name(table: Table, others: dict[str, InstanceSpec]) -> str:
    name = table.raw("name")
    if not table.is_valid:
        return ""
    if not isinstance(name, str) or not name.isidentifier():
        table.add(
            "name",
            "the name of a column: letters, digits and _, no digit first",
            'write one such as "mitochondria"',
        )
        return ""
    if not is_free_name(name):
        table.add(
            "name",
            "a name that rows do not have already",
            "choose another, such as the plural of what they are",
        )
        return ""
    if name.casefold() in {column.casefold() for column in others}:
        table.add("name", "a name of its own", "rename one")
        return ""
    return name


def _parent_name(table: Table, kind: str | None) -> str | None:
    """The name of the property with the id of the parent; None without a parent."""
    if kind is None:
        if "parent" in table and "part_of" not in table:
            table.problems.add_sentence(
                table.at("parent"),
                'expected part_of, too, found none: write part_of = "..." with the column of the '
                "parents, or leave parent out",
            )
        table.raw("parent")
        return None
    given = table.raw("parent")
    name = given if "parent" in table else kind
    if not is_free_name(name):
        table.problems.add(
            table.at("parent"),
            "a name for the ids of parents: letters, digits and _, and not one of rows",
            name,
            'write parent = "...", such as "cell"',
        )
        return None
    return str(name)
