"""A model of the Hub's dataset viewer, written from its description: what it shows of rows.

Limits are those of production. Sizes that are not known, such as that of a signed URL, are
assumed to be large.
"""

import io
import json
import re

import datasets
from PIL import Image

ANSWER_BYTES = 10_000_000
"""Largest answer that a worker stores: first rows and statistics; pages of rows have no limit."""

PAGE_ROWS = 100
"""Rows of a page, of which nothing is truncated."""

SCAN_BYTES = 300_000_000
"""Limit of all row groups of a page in memory."""

FIRST_BYTES = 200_000
FIRST_ROWS = 10
"""Limit of the first rows, of which ten are shown in any case."""

_CELL_BYTES = 100
"""Bytes that remain of a longer cell in a truncated row."""

_URL = (
    "https://datasets-server.huggingface.co/cached-assets/an-organization-with-a-long-name/"
    "platelet-em/--/{revision}/--/{config}/{split}/{row}/{column}/image{suffix}.png?{signature}"
)


def size(value):
    """Bytes of a value as JSON."""
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def encode_for_browser(data):
    """The file that a browser gets for an encoded image: its format and bytes."""
    with Image.open(io.BytesIO(data)) as image:
        for form in ("JPEG", "PNG"):
            out = io.BytesIO()
            try:
                image.save(out, form)
            except OSError:
                continue
            return form, out.getvalue()
    raise ValueError("neither JPEG nor PNG has the mode of the image")


def row_item(row, index, features, config, split):
    """A row as it is in an answer: images become URLs, the rest stays."""

    def cell(value, feature, column, suffix):
        if isinstance(feature, datasets.Image):
            with Image.open(io.BytesIO(value["bytes"])) as image:
                width, height = image.size
            cell_of = {"config": config, "split": split, "row": index, "column": column}
            url = _URL.format(**cell_of, revision="0" * 40, suffix=suffix, signature="x" * 500)
            return {"src": url, "height": height, "width": width}
        if isinstance(feature, datasets.List):
            return [cell(v, feature.feature, column, f"-{i:08x}") for i, v in enumerate(value)]
        if isinstance(feature, dict):
            return {k: cell(v, feature[k], column, suffix) for k, v in value.items()}
        return value

    cells = {name: cell(row[name], feature, name, "") for name, feature in features.items()}
    return {"row_idx": index, "row": cells, "truncated_cells": []}


def page(rows, features, config, split):
    """The answer for a page of rows."""
    items = [row_item(r, i, features, config, split) for i, r in enumerate(rows[:PAGE_ROWS])]
    return {**_header(features, config, split), "rows": items}


def first_rows(rows, features, config, split):
    """The answer for the dataset's page: as many rows as fit, at least ten.

    If ten do not fit, they are truncated from the last one up: every cell over 100 bytes becomes
    the start of its JSON, except for images that are columns themselves.
    """
    answer = page(rows, features, config, split)
    items = answer["rows"]
    while size(answer) >= FIRST_BYTES and len(items) > FIRST_ROWS:
        items.pop()
    for item in reversed(items):
        if size(answer) < FIRST_BYTES:
            break
        for name, value in item["row"].items():
            if not isinstance(features[name], datasets.Image) and size(value) > _CELL_BYTES:
                text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
                item["row"][name] = text.encode()[:_CELL_BYTES].decode(errors="ignore")
                item["truncated_cells"].append(name)
    return answer


def has_statistics(rows, features):
    """Whether a split has statistics: one column that fails takes all others with it."""
    if len(rows) < 2:  # the standard deviation of one value is none
        return False
    for name, feature in features.items():
        if isinstance(feature, datasets.Value) and feature.dtype.startswith("int"):
            values = [row[name] for row in rows if row[name] is not None]
            # Two neighboring values have edges [low, high], and one bar for two.
            if values and max(values) - min(values) == 1:
                return False
    return True


def search(rows, features, text):
    """Positions of the rows that contain a word; digits are no words, structs become text."""
    wanted = re.findall(r"[a-z]+", text.lower())
    found = []
    for index, row in enumerate(rows):
        words = set()
        for name, feature in features.items():
            if isinstance(feature, dict) or feature == datasets.Value("string"):
                words |= set(re.findall(r"[a-z]+", str(row[name]).lower()))
        if any(word in words for word in wanted):
            found.append(index)
    return found


def _header(features, config, split):
    columns = [{"name": name, "type": kind} for name, kind in features.to_dict().items()]
    return {"dataset": "x" * 60, "config": config, "split": split, "features": columns}
