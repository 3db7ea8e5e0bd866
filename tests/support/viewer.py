"""The Hub's viewer, written from its description: what it shows of rows, and what it cannot.

A model that shares no code with the viewer. Figures are those of production. Where a size is not
known from here, such as that of a signed address, it is taken to be large.
"""

import io
import json

import datasets
from PIL import Image

ANSWER_BYTES = 10_000_000
"""An answer of the viewer is at most this large."""

PAGE_ROWS = 100
"""Rows of a page, which is sent whole."""

SCAN_BYTES = 300_000_000
"""What the row groups of a page may take up in memory together."""

FIRST_BYTES = 200_000
FIRST_ROWS = 10
"""First rows that are shown whatever they take up, and the bytes that they should."""

_CELL_BYTES = 100
"""What is left of a cell in a row that is cut."""

_ADDRESS = (
    "https://datasets-server.huggingface.co/cached-assets/an-organization-with-a-long-name/"
    "platelet-em/--/{revision}/--/{config}/{split}/{row}/{column}/image{suffix}.png?{signature}"
)


def size(value):
    """Bytes of a value as JSON."""
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def picture(data):
    """The file that a visitor's browser gets for an encoded picture: its form and its bytes."""
    with Image.open(io.BytesIO(data)) as image:
        for form in ("JPEG", "PNG"):
            out = io.BytesIO()
            try:
                image.save(out, form)
            except OSError:
                continue
            return form, out.getvalue()
    raise ValueError("neither JPEG nor PNG can hold the picture")


def shown(row, index, features, config, split):
    """A row as it goes into an answer: pictures become addresses, the rest stays."""

    def cell(value, feature, column, suffix):
        if isinstance(feature, datasets.Image):
            with Image.open(io.BytesIO(value["bytes"])) as image:
                width, height = image.size
            place = {"config": config, "split": split, "row": index, "column": column}
            address = _ADDRESS.format(
                **place, revision="0" * 40, suffix=suffix, signature="x" * 500
            )
            return {"src": address, "height": height, "width": width}
        if isinstance(feature, datasets.List):
            return [cell(v, feature.feature, column, f"-{i:08x}") for i, v in enumerate(value)]
        if isinstance(feature, dict):
            return {k: cell(v, feature[k], column, suffix) for k, v in value.items()}
        return value

    cells = {name: cell(row[name], feature, name, "") for name, feature in features.items()}
    return {"row_idx": index, "row": cells, "truncated_cells": []}


def page(rows, features, config, split):
    """The answer for a page of rows: nothing is cut."""
    items = [shown(r, i, features, config, split) for i, r in enumerate(rows[:PAGE_ROWS])]
    return {**_surroundings(features, config, split), "rows": items}


def first_rows(rows, features, config, split):
    """The answer that the dataset's page opens with: as many rows as fit, at least ten.

    If ten do not fit, they are cut from the last one up: every cell over 100 bytes becomes the
    start of its JSON, but for the pictures that are columns themselves.
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


def _surroundings(features, config, split):
    columns = [{"name": name, "type": kind} for name, kind in features.to_dict().items()]
    return {"dataset": "x" * 60, "config": config, "split": split, "features": columns}
