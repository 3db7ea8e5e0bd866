"""What the values of label files mean, guessed from a few pages and from words in names."""

from collections.abc import Collection
from dataclasses import dataclass

from _platelet_em.description.look import Look

__all__ = ["LabelGuess", "guess_labels", "is_like_labels"]

_SMOOTH = 0.85
"""Neighboring pixels of labels are equal but for their edges; those of images hardly ever are."""

_EDGE_SHARE = 0.02
"""Largest share of the grays between 0 and 255 in a mask with smooth edges."""

_MAX_CLASSES = 32
_SEMANTIC_WORDS = {"semantic", "semantics", "class", "classes"}
_INSTANCE_WORDS = {"instance", "instances", "inst", "id", "ids", "segmap", "segmaps"}


@dataclass(frozen=True, kw_only=True)
class LabelGuess:
    """What label files seem to be.

    Attributes:
        kind: "classes", "colors" (of classes), "ids" or "mask".
        values: The values of classes, or their colors 0xrrggbb.
        threshold: Of a mask.
        reason: Why, for people.
    """

    kind: str
    values: tuple[int, ...] = ()
    threshold: int = 0
    reason: str


def is_like_labels(looks: Collection[Look]) -> bool:
    """Whether pictures look like labels, and not like images."""
    readable = [look for look in looks if look.form != "unreadable"]
    return bool(readable) and all(look.smoothness > _SMOOTH for look in readable)


def guess_labels(looks: Collection[Look], words: Collection[str]) -> LabelGuess | None:
    """What label files are.

    Args:
        looks: What some of them show.
        words: Words in their names and in that of their folder, in small letters.

    Returns:
        None if none could be read.
    """
    readable = [look for look in looks if look.form != "unreadable"]
    if not readable:
        return None
    counts: dict[int, int] = {}
    for look in readable:
        for value, number in look.values.items():
            counts[value] = counts.get(value, 0) + number
    values = tuple(sorted(counts))
    seen = f"{len(values)} values in {len(readable)} files looked at ({_list(values)})"
    if any(look.form == "color" for look in readable):
        if len(values) > _MAX_CLASSES:
            return None
        return LabelGuess(kind="colors", values=values, reason=f"{len(values)} colors")
    is_named_semantic = bool(_SEMANTIC_WORDS & set(words))
    is_named_instance = bool(_INSTANCE_WORDS & set(words))
    if not is_named_semantic and (threshold := _mask_threshold(readable, counts)) is not None:
        return LabelGuess(kind="mask", threshold=threshold, reason=f"a mask: {seen}")
    is_small = all(look.dtype in ("uint8", "int8", "labels") for look in readable)
    has_few = len(values) <= _MAX_CLASSES and (not values or values[0] >= 0)
    is_classes = is_named_semantic or (is_small and not is_named_instance)
    if has_few and is_classes and not (is_named_instance and not is_named_semantic):
        return LabelGuess(kind="classes", values=values, reason=seen)
    return LabelGuess(kind="ids", reason=f"ids: {seen}")


def _mask_threshold(looks: list[Look], counts: dict[int, int]) -> int | None:
    """The threshold of a mask; None for what is none."""
    if any(look.dtype != "uint8" for look in looks) or set(counts) <= {0}:
        return None
    if set(counts) <= {0, 1}:
        return 0
    between = sum(number for value, number in counts.items() if value not in (0, 255))
    if 255 in counts and between <= _EDGE_SHARE * sum(counts.values()):
        return 127
    return None


def _list(values: tuple[int, ...]) -> str:
    if len(values) <= 12:
        return " ".join(map(str, values))
    return f"{values[0]} {values[1]} {values[2]} ... {values[-1]}"
