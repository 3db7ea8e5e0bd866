"""The card's examples: how to load the rows of this dataset, and what to ask of them."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from _platelet_em.hub.figures import Figures
from _platelet_em.hub.markdown import code_block, wrap
from _platelet_em.spec import SEMANTIC, DatasetSpec, InstanceSpec

__all__ = ["join_bits", "loading_values", "search_queries"]


class _Example(NamedTuple):
    """What examples name.

    Attributes:
        split: A split, whose first volume has labels of `column`.
        has_semantic: Whether that volume has classes.
        column: Instances; None without any.
    """

    split: str
    has_semantic: bool
    column: str | None


def _find_example(spec: DatasetSpec) -> _Example:
    """The first volume with instances, the last kind of them, which may be part of others."""
    found = []
    for volume in spec.pictured_volumes:
        columns = [i.column for i in spec.instances if i.column in volume.columns]
        example = _Example(
            volume.split, SEMANTIC in volume.columns, columns[-1] if columns else None
        )
        found.append((len(columns), example))
    return max(found, key=lambda pair: pair[0])[1]


def loading_values(spec: DatasetSpec, figures: Sequence[Figures]) -> dict[str, str]:
    """The fields of the template's section on loading."""
    example, name = _find_example(spec), f"<user>/{spec.name}"
    bits = join_bits(figures)
    folder = f"hf://datasets/{name}/slices"
    files = f"{folder}/{example.split}-*.parquet"
    counts = [instance.count_column for instance in spec.instances]
    streamed = _list(["z", example.column or "image"])
    listed = _list(["z", *([f"{example.column}.area"] if example.column else [])])
    query = f"SELECT {', '.join(['z', *counts][:2])} FROM '{files}'"  # noqa: S608  # an example
    code = {
        "load_code": _plain_code(example, name, bits),
        "select_code": (
            f'ds["{example.split}"].select_columns({_list(["volume", "z", *counts])})[0]'
        ),
        "stream_code": (
            f"columns = {streamed}\n"
            f'stream = load_dataset("{name}", "slices", streaming=True, columns=columns)'
        ),
        "verify_code": (
            "from pyarrow.dataset import ParquetFragmentScanOptions\n\n"
            "verified = ParquetFragmentScanOptions(page_checksum_verification=True)\n"
            f'ds = load_dataset("{name}", "slices", fragment_scan_options=verified)'
        ),
        "lazy_code": _lazy_code(example, bits),
        "pandas_code": (
            f'import pandas as pd\n\nrows = pd.read_parquet("{folder}", columns={listed})'
        ),
        "polars_code": f'import polars as pl\n\nrows = pl.scan_parquet("{files}")',
        "duckdb_code": f'import duckdb\n\nrows = duckdb.sql("{query}")',
    }
    blocks = {key: code_block("python", text) for key, text in code.items()}
    return {**blocks, "rle_code": _rle_code(example)}


def _plain_code(example: _Example, name: str, bits: str) -> str:
    """A row by `datasets` alone."""
    lines = [
        (f'ds = load_dataset("{name}", "slices")', "one row per slice"),
        (f'row = ds["{example.split}"][0]', ""),
    ]
    if example.has_semantic:
        images = f"PIL images: {bits} bit, and class indices"
        lines.append(('row["image"], row["semantic"]', images))
    else:
        lines.append(('row["image"]', f"PIL image: {bits} bit"))
    if column := example.column:
        fields = f'row["{column}"]["id"], row["{column}"]["bbox"]'
        lines.append((fields, "one entry per instance"))
    return f"from datasets import load_dataset\n\n{_align(lines)}"


def _lazy_code(example: _Example, bits: str) -> str:
    """The same row in the format."""
    dtypes = " or ".join(f"uint{each}" for each in bits.split(" or "))
    lines = [
        (f'lazy = ds["{example.split}"].with_format("platelet_em")[0]', ""),
        ('lazy["image"]', f"{dtypes} (y, x)"),
    ]
    if column := example.column:
        lines.append((f'lazy["{column}"][100:356, 100:356]', "int32 ids, of this window only"))
    return f"import platelet_em\n\n{_align(lines)}"


def join_bits(figures: Sequence[Figures]) -> str:
    """Bits of the images, such as "8 or 16"."""
    return " or ".join(map(str, sorted({bits for f in figures for bits in f.bits})))


def _align(lines: Sequence[tuple[str, str]]) -> str:
    """Lines of code with their comments under each other."""
    width = max(len(code) for code, comment in lines if comment)
    return "\n".join(
        f"{code:{width}}  # {comment}" if comment else code for code, comment in lines
    )


def _list(names: Sequence[str]) -> str:
    quoted = ", ".join(f'"{name}"' for name in names)
    return f"[{quoted}]"


def _rle_code(example: _Example) -> str:
    if example.column is None:
        return ""
    return code_block(
        "python",
        f"""import numpy as np
labels = row["{example.column}"]
mask = np.zeros(labels["shape"], np.int32)
for label, rle in zip(labels["id"], labels["rle"]):
    for start, length in np.array(rle.split(), int).reshape(-1, 2):
        mask.ravel()[start - 1 : start - 1 + length] = label""",
    )


def search_queries(spec: DatasetSpec, figures: Sequence[Figures]) -> str:
    """What can be asked of the viewer on the Hub; empty for a dataset without instances."""
    counted = {
        i.column: sum(f.instances.get(i.column, 0) for f in figures) for i in spec.instances
    }
    present = [i for i in spec.instances if counted[i.column]]
    if not present:
        return ""
    instance = next((i for i in reversed(present) if spec.classes and i.has_class), present[-1])
    by_class = _count_classes(instance, figures)
    filters = _list_filters(spec, instance, figures, by_class)
    kind = _quote(instance.name)
    column = "class_name" if by_class else "volume"
    found = (
        "In `instances`, the search finds objects by the names of their classes, and a filter "
        "such as the first lists them by size"
        if by_class
        else "A filter such as the first, for `instances`, lists objects by size"
    )
    others = "The other two filters are" if by_class else "The other one is"
    text = (
        f"{found}. {others} for `slices`. Names of columns are quoted, and conditions are joined "
        "by AND and OR:"
    )
    sql = (
        f"SELECT {column}, count(*) AS objects, avg(voxels) AS voxels\n"
        f"FROM instances WHERE kind = {kind} GROUP BY {column}"
    )
    return "\n\n".join(
        [
            "### Searching in the viewer",
            wrap(text),
            code_block("text", "\n".join(filters)),
            "The SQL console takes the same files:",
            code_block("sql", sql),
        ]
    )


def _list_filters(
    spec: DatasetSpec,
    instance: InstanceSpec,
    figures: Sequence[Figures],
    by_class: dict[int, int],
) -> list[str]:
    """Filters of which each finds something, unless a dataset has few objects."""
    count = sum(f.instances.get(instance.column, 0) for f in figures)
    voxels = sum(f.instance_voxels.get(instance.column, 0) for f in figures)
    slices = sum(f.slices for f in figures)
    volume = next(v.name for v in spec.volumes if instance.column in v.columns)
    what = f'"kind"={_quote(instance.name)}'
    if by_class:
        what = f'"class_id"={max(by_class, key=by_class.__getitem__)}'
    many = _round_down(count // (2 * slices))
    filters = [
        f'{what} AND "voxels">{_round_down(voxels // count)}',
        f'"{instance.count_column}">{many} AND "volume"={_quote(volume)}',
    ]
    if by_class:
        rare = min(by_class, key=by_class.__getitem__)
        filters.append(f'("{instance.column}"."class_id").list_contains({rare})=true')
    return filters


def _count_classes(instance: InstanceSpec, figures: Sequence[Figures]) -> dict[int, int]:
    """Class -> its number of instances, of the classes that have some."""
    if not instance.has_class:
        return {}
    counts: dict[int, int] = {}
    for f in figures:
        for index, count in enumerate(f.by_class.get(instance.column, ())):
            if count:
                counts[index] = counts.get(index, 0) + int(count)
    return counts


def _round_down(value: int) -> int:
    """The first digit of a number, followed by zeros.

    >>> _round_down(4711), _round_down(7), _round_down(0)
    (4000, 7, 0)
    """
    if value < 1:
        return 0
    power: int = 10 ** int(math.log10(value))
    return value // power * power


def _quote(text: str) -> str:
    """A text in SQL.

    >>> _quote("it's")
    "'it''s'"
    """
    doubled = text.replace("'", "''")
    return f"'{doubled}'"
