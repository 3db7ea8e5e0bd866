"""The card's examples: how to load the rows of this dataset, and what to ask of them."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from _platelet_em.hub.figures import Figures
from _platelet_em.hub.markdown import code_block
from _platelet_em.spec import SEMANTIC, DatasetSpec, InstanceSpec

__all__ = [
    "loading_values",
    "placeholder",
    "search_queries",
]


def placeholder(spec: DatasetSpec) -> str:
    """What examples call the repository on the Hub until it is pushed."""
    return f"<user>/{spec.name}"


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


def _example(spec: DatasetSpec) -> _Example:
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
    example, name = _example(spec), placeholder(spec)
    bits = join_bits(figures)
    counts = [instance.count_column for instance in spec.instances]
    images = [("image", f"{bits} bit")]
    images += [("semantic", "class indices")] if example.has_semantic else []
    values = ", ".join(f'row["{column}"]' for column, _ in images)
    lines = [
        (f'ds = load_dataset("{name}", "slices")', "one row per slice"),
        (f'row = ds["{example.split}"][0]', ""),
        (values, f"PIL image{'s' * (len(images) > 1)}: {', and '.join(w for _, w in images)}"),
    ]
    lazy = [
        (f'lazy = ds["{example.split}"].with_format("platelet_em")[0]', ""),
        ('lazy["image"]', f"{' or '.join(f'uint{b}' for b in bits.split(' or '))} (y, x)"),
    ]
    if example.column:
        lines.append(
            (
                f'row["{example.column}"]["id"], row["{example.column}"]["bbox"]',
                "one entry per instance",
            )
        )
        lazy.append(
            (f'lazy["{example.column}"][100:356, 100:356]', "int32 ids, of this window only")
        )
    streamed = [example.column or "image"]
    listed = [*([f"{example.column}.area"] if example.column else [])]
    selected = ["volume", "z", *counts]
    first = "from datasets import load_dataset\n\n"
    folder = f"hf://datasets/{name}/slices"
    files = f"{folder}/{example.split}-*.parquet"
    sql = f"SELECT {', '.join(['z', *counts][:2])} FROM '{files}'"
    return {
        "load_code": code_block("python", first + _align(lines)),
        "select_code": code_block(
            "python", f'ds["{example.split}"].select_columns({_list(selected)})[0]'
        ),
        "stream_code": code_block(
            "python",
            f"columns = {_list(['z', *streamed])}\n"
            f'stream = load_dataset("{name}", "slices", streaming=True, columns=columns)',
        ),
        "verify_code": code_block(
            "python",
            "from pyarrow.dataset import ParquetFragmentScanOptions\n\n"
            "verified = ParquetFragmentScanOptions(page_checksum_verification=True)\n"
            f'ds = load_dataset("{name}", "slices", fragment_scan_options=verified)',
        ),
        "lazy_code": code_block("python", "import platelet_em\n\n" + _align(lazy)),
        "pandas_code": code_block(
            "python",
            f'import pandas as pd\n\nrows = pd.read_parquet("{folder}", columns={_list(["z", *listed])})',
        ),
        "polars_code": code_block(
            "python", f'import polars as pl\n\nrows = pl.scan_parquet("{files}")'
        ),
        "duckdb_code": code_block("python", f'import duckdb\n\nrows = duckdb.sql("{sql}")'),
        "rle_code": _rle_code(example),
    }


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
    voxels = sum(f.instance_voxels.get(instance.column, 0) for f in figures)
    large = _round_down(voxels // counted[instance.column])
    many = _round_down(counted[instance.column] // (2 * sum(f.slices for f in figures)))
    volume = next(v.name for v in spec.volumes if instance.column in v.columns)
    what = (
        f'"class_id"={max(by_class, key=by_class.__getitem__)}'
        if by_class
        else f'"kind"={_quote(instance.name)}'
    )
    filters = [
        f'{what} AND "voxels">{large}',
        f'"{instance.count_column}">{many} AND "volume"={_quote(volume)}',
    ]
    column = "volume"
    found = "A filter such as the first, for `instances`, lists objects by size"
    if by_class:
        rare = min(by_class, key=by_class.__getitem__)
        filters.append(f'("{instance.column}"."class_id").list_contains({rare})=true')
        column = "class_name"
        found = (
            "In `instances`, the search finds objects by the names of their classes, and a filter "
            "such as the\nfirst lists them by size"
        )
    others = "The other two filters are" if len(filters) > 2 else "The other one is"
    sql = (
        f"SELECT {column}, count(*) AS objects, avg(voxels) AS voxels\n"
        f"FROM instances WHERE kind = {_quote(instance.name)} GROUP BY {column}"
    )
    return "\n".join(
        [
            "### Searching in the viewer\n",
            f"{found}. {others} for `slices`. Names of columns are quoted, and\nconditions are "
            "joined by AND and OR:\n",
            code_block("text", "\n".join(filters)),
            "\nThe SQL console takes the same files:\n",
            code_block("sql", sql),
        ]
    )


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
