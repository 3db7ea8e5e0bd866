"""Fuzz targets: RLE strings, JSON labels, TIF labels, and the label struct of a Parquet file.

Usage: PYTHONPATH=tests python -m support.fuzz [--rle 1000000] [--others 100000] [--seed 0]

Inputs are valid ones, damaged ones, and some that never were valid. For any input the package must
give the result of a slow decoder that shares no code with it, or one PlateletEMError; else the
check raises. A target is a pair of functions: one makes an input from a `random.Random`, the other
checks it. In tests/test_fuzz.py, hypothesis takes the place of the random numbers; the inputs that
long runs have found are tests there.
"""

import argparse
import faulthandler
import io
import json
import os
import random
import re
import resource
import sys
import time
import traceback
import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tifffile
from datasets.utils import tqdm
from PIL import Image

from _platelet_em.errors import PlateletEMError
from _platelet_em.facts import PUBLISHED
from _platelet_em.hf.formatter import PlateletEMFormatter
from _platelet_em.publisher.label_files import read_labels
from platelet_em import LazyLabels
from support import publisher

ROOM = 1 << 30
"""Bytes of memory that a long run may take beyond those of its start."""

PATIENCE_S = 60
"""Seconds after which an input counts as endless."""

BLANKS = " \t\n\v\f\r"
MAX_ID = 2**31 - 1
SHAPE = (3, 4, 5)
SIZE = 60


# --- damage -----------------------------------------------------------------------------------


def damage(rnd, content):
    """Bytes with some of them replaced, inserted, removed, cut off, or repeated."""
    content = bytearray(content)
    for _ in range(rnd.randrange(5)):
        at, value = rnd.randrange(len(content) + 1), rnd.randrange(256)
        choice = rnd.randrange(8)
        if choice < 4:
            content[at : at + 1] = bytes([value])
        elif choice == 4:
            content[at:at] = bytes([value])
        elif choice == 5:
            del content[at : at + value % 9]
        elif choice == 6:
            content[at:at] = content[at : at + value % 17]
        elif value < 64:
            del content[at:]
    return bytes(content)


def several(rnd, make, most):
    """A list of up to `most` results of `make`."""
    return [make(rnd) for _ in range(rnd.randrange(most + 1))]


# --- RLE strings ------------------------------------------------------------------------------

ODD_NUMBERS = (
    "",
    "+3",
    "-1",
    "1e1",
    "0x1",
    "1_0",
    "1.0",
    "\u0663",
    "\u00b2",
    "9" * 19,
    "9" * 5000,
)


def make_number(rnd):
    """A number, or a string that looks like one."""
    choice = rnd.randrange(8)
    if choice < 5:
        return str(rnd.randrange(-1, SIZE + 3))
    if choice == 5:
        return str(rnd.randrange(10 ** rnd.randrange(1, 25)))
    return f"{rnd.randrange(30):0{rnd.randrange(21)}}" if choice == 6 else rnd.choice(ODD_NUMBERS)


def make_string(rnd, *, valid=False):
    """An RLE string; a valid one, if asked for."""
    choice = rnd.randrange(4 if valid else 8)
    if choice < 4:
        blank = " " if choice < 2 else "".join(rnd.choices(BLANKS, k=rnd.randrange(1, 4)))
        pairs = [
            (rnd.randrange(1, SIZE + 1), rnd.randrange(1, 9)) for _ in range(rnd.randrange(9))
        ]
        pairs = [(start, min(length, SIZE + 1 - start)) for start, length in pairs]
        return blank.join(f"{start}{blank}{length}" for start, length in pairs)
    if choice < 6:
        return " ".join(several(rnd, make_number, 7))
    if choice == 6:
        return "".join(rnd.choices("0123456789" + BLANKS, k=rnd.randrange(25)))
    return "".join(chr(rnd.randrange(0xD800)) for _ in range(rnd.randrange(9)))


def make_rle(rnd):
    """The strings of some instances."""
    return several(rnd, make_string, 4)


def true_runs(string, size):
    """Starts and stops of the runs of an RLE string; None for any other string."""
    if not re.fullmatch(rf"[0-9{BLANKS}]*", string):
        return None
    words = string.split()
    if len(words) % 2 or any(len(word) > 18 for word in words):
        return None
    values = [int(word) for word in words]
    runs = [(s - 1, s - 1 + n) for s, n in zip(values[0::2], values[1::2], strict=True)]
    is_inside = all(0 <= start < stop <= size for start, stop in runs)
    return runs if is_inside else None


def true_labels(ids, rle, shape):
    """The dense array of RLE strings, later ones winning; None if one of them is not valid."""
    flat = np.zeros(int(np.prod(shape)), np.int64)
    for label, string in zip(ids, rle, strict=True):
        runs = true_runs(string, flat.size)
        if runs is None:
            return None
        for start, stop in runs:
            flat[start:stop] = label
    return flat.reshape(shape)


def check_rle(rle):
    """RLE strings of an array of 60 voxels give the array of the slow decoder, or an error."""
    ids = list(range(1, len(rle) + 1))
    expected = true_labels(ids, rle, SHAPE)
    try:
        lazy = LazyLabels(SHAPE, ids, rle)
        found = np.asarray(lazy)
    except PlateletEMError:
        assert expected is None, "refused valid input"
        return
    assert expected is not None, "accepted invalid input"
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(lazy[1:, ::-2, 1:4], expected[1:, ::-2, 1:4])
    np.testing.assert_array_equal(lazy.areas, [(expected == i).sum() for i in ids])
    assert LazyLabels(SHAPE, ids, lazy.rle).equals(lazy)


# --- JSON labels ------------------------------------------------------------------------------

ODD_KEYS = (".info", "", "01", "1.0", "a", "-1", "0", "2147483647", "2147483648", "1" * 5000)
ODD_SHAPES = ([3, 4], [2**40] * 3, [3, 4, 5.0], ["3", 4, 5], None, {}, [[3, 4, 5]], [-3, 4, 5], [])
ODD_INFOS = (None, [], {}, {"dtype": "uint16"}, "int")
ODD_STRINGS = (None, 1, [], {"shape": [3, 4, 5]}, [[[[]]]], "\u00e9")
INFO = {"shape": list(SHAPE), "dtype": "<class 'numpy.int64'>"}


def make_info(rnd):
    """The value of `.info`, most often a valid one."""
    choice = rnd.randrange(32)
    if choice < 30:
        return INFO
    return {**INFO, "shape": rnd.choice(ODD_SHAPES)} if choice == 30 else rnd.choice(ODD_INFOS)


def make_json(rnd):
    """The bytes of a label file, and whether it has classes."""
    pairs = [(".info", make_info(rnd))] if rnd.randrange(16) else []
    for _ in range(rnd.randrange(5)):
        key = str(rnd.randrange(1, 99)) if rnd.randrange(32) else rnd.choice(ODD_KEYS)
        string = make_string(rnd, valid=rnd.randrange(8) > 0)
        pairs.append((key, string if rnd.randrange(32) else rnd.choice(ODD_STRINGS)))
    if not rnd.randrange(4):
        rnd.shuffle(pairs)
    comma, colon = rnd.choice([", ", ",", " ,\n\t"]), rnd.choice([": ", ":", "\r\n:  "])
    as_ascii = bool(rnd.randrange(2))
    members = (f"{json.dumps(k)}{colon}{json.dumps(v, ensure_ascii=as_ascii)}" for k, v in pairs)
    content = "{" + comma.join(members) + "}"
    encoding = rnd.choice(["utf-8"] * 6 + ["utf-8-sig", "utf-16"])
    content = content.encode(encoding)
    return damage(rnd, content) if rnd.randrange(2) else content, bool(rnd.randrange(2))


def true_json(content, *, semantic):
    """The dense array of a JSON label file; None if it is not valid."""
    try:
        members = as_object(json.loads(content.decode("utf-8-sig"), object_pairs_hook=tuple))
        shape = as_object(members.pop(".info"))["shape"]
    except (ValueError, RecursionError, KeyError):
        return None
    is_shape = shape == list(SHAPE) and all(type(extent) is int for extent in shape)
    is_string = all(isinstance(string, str) for string in members.values())
    is_number = all(re.fullmatch("[1-9][0-9]{0,9}", key) for key in members)
    if not (is_shape and is_string and is_number):
        return None
    ids, limit = [int(key) for key in members], 6 if semantic else MAX_ID
    if len(set(ids)) < len(ids) or any(not 1 <= i <= limit for i in ids):
        return None
    return true_labels(ids, members.values(), SHAPE)


def as_object(parsed):
    """The dictionary of a parsed JSON object; a key that appears twice is an error."""
    if not isinstance(parsed, tuple) or len(dict(parsed)) < len(parsed):
        raise ValueError
    return dict(parsed)


def read(content, name, *, semantic, shape=None):
    """The labels of a label file."""
    file = io.BytesIO(content)
    return read_labels(file, name, classes_of=PUBLISHED if semantic else None, shape=shape).labels


def check_json(given_input):
    """A label file gives the array of the slow decoder, or an error."""
    content, semantic = given_input
    expected = true_json(content, semantic=semantic)
    try:
        labels = read(content, "x.json", semantic=semantic, shape=SHAPE)
    except PlateletEMError:
        assert expected is None, "refused valid input"
        return
    assert expected is not None, "accepted invalid input"
    np.testing.assert_array_equal(labels, expected)


# --- TIF labels -------------------------------------------------------------------------------


def _tifs():
    rng = np.random.default_rng(0)
    indices = rng.integers(0, 7, SHAPE)
    palette = publisher.rgba(indices, publisher.JET)
    arrays = {
        "uint8": (indices.astype(np.uint8), {}),
        "uint16": (indices.astype(np.uint16) * 99, {}),
        "int32": (indices.astype(np.int32), {}),
        "rgba": (palette, {}),
        "rgb": (np.ascontiguousarray(palette[..., :3]), {}),
        "rgba16": (palette.astype(np.uint16) * 257, {}),
        "deflate": (palette, {"compression": "zlib"}),
        "big-endian": (indices.astype(np.uint16), {"byteorder": ">"}),
        "bigtiff": (indices.astype(np.uint8), {"bigtiff": True}),
        "tiled": (np.tile(indices.astype(np.uint8), (1, 4, 4)), {"tile": (16, 16)}),
        "planar": (np.moveaxis(palette[..., :3], -1, 1).copy(),
                   {"planarconfig": "separate", "photometric": "rgb"}),
        "float": (indices.astype(np.float32), {}),
        "bool": (indices > 3, {}),
    }  # fmt: skip
    made = {name: publisher.tif(a, metadata=None, **o) for name, (a, o) in arrays.items()}
    pages = [Image.fromarray(page.astype(np.uint8)) for page in indices]
    out = io.BytesIO()
    pages[0].save(out, "TIFF", compression="packbits", save_all=True, append_images=pages[1:])
    return {**made, "packbits": out.getvalue()}


TIFS = _tifs()


def make_tif(rnd):
    """The bytes of a label file, and whether it has classes."""
    return damage(rnd, TIFS[rnd.choice(sorted(TIFS))]), bool(rnd.randrange(2))


def true_tif(content):
    """The pages of a TIF as tifffile itself reads them, samples last; None if it cannot."""
    try:
        with tifffile.TiffFile(io.BytesIO(content)) as tif:
            return np.stack([true_page(page) for page in tif.pages])
    except Exception:
        return None


def true_page(page):
    """A page, samples last; tifffile takes any planar configuration but 1 for separate planes."""
    if page.planarconfig not in (1, 2):
        raise ValueError
    samples = page.asarray()
    return np.moveaxis(samples, 0, -1) if page.axes == "SYX" else samples


def check_tif(given_input):
    """Labels of a TIF are the indices of its pages, or one id per color; or an error."""
    content, semantic = given_input
    try:
        found = np.asarray(read(content, "x.tif", semantic=semantic))
    except PlateletEMError:
        return
    pages = true_tif(content)
    assert pages is not None, "accepted what tifffile cannot read"
    if pages.ndim == 3:
        np.testing.assert_array_equal(found, pages)
        return
    colors = pages.reshape(-1, pages.shape[-1]).astype(np.int64)
    is_labeled = colors[:, :3].any(axis=1)
    if colors.shape[1] == 4:
        is_labeled &= colors[:, 3] > 0
    np.testing.assert_array_equal(found.ravel() > 0, is_labeled)
    _, of_color = np.unique(colors[is_labeled][:, :3], axis=0, return_inverse=True)
    table = np.unique(np.stack([of_color.ravel(), found.ravel()[is_labeled]]), axis=1)
    assert len(np.unique(table[0])) == table.shape[1], "a color stands for two labels"
    if not semantic:
        assert len(np.unique(table[1])) == table.shape[1], "a label stands for two colors"


def damaged_tag(content, tag, value):
    """A little-endian TIF whose first page has another value in a tag of one short or long."""
    content = bytearray(content)
    at = int.from_bytes(content[4:8], "little") + 2
    while int.from_bytes(content[at : at + 2], "little") != tag:
        at += 12
    size = 2 if content[at + 2] == 3 else 4
    content[at + 8 : at + 8 + size] = value.to_bytes(size, "little")
    return bytes(content)


NO_LABELS = ("float",)
"""TIFs that are refused even if they are not damaged."""


# --- the label struct of Parquet --------------------------------------------------------------


def make_ids(rnd):
    """The ids of a struct, most often valid ones."""
    choice = rnd.randrange(8)
    if choice < 6:
        return rnd.sample(range(1, 10), rnd.randrange(5))
    return (
        [1, None] if choice == 6 else [rnd.randrange(-2, 2**31) for _ in range(rnd.randrange(5))]
    )


def make_struct(rnd):
    """The labels of a row, most often with fields that match each other."""
    if not rnd.randrange(16):
        return None
    ids = make_ids(rnd)
    shape = list(SHAPE)
    if not rnd.randrange(6):
        low, high = rnd.choice([(-2, 9), (-(2**31), 2**31), (2**30, 2**31)])
        shape = [rnd.randrange(low, high) for _ in range(rnd.randrange(10))]
    count = len(ids) if rnd.randrange(8) else rnd.randrange(5)
    struct = {
        "shape": shape,
        "id": ids,
        "rle": [make_string(rnd) for _ in range(count)],
        "area": [rnd.randrange(-1, 99) for _ in range(len(ids) if rnd.randrange(4) else count)],
        "class_id": [rnd.randrange(-1, 9) for _ in ids],
    }
    if not rnd.randrange(8):
        struct[rnd.choice(sorted(struct))] = None
    if not rnd.randrange(16) and struct["rle"]:
        struct["rle"][0] = None
    return struct


def make_structs(rnd):
    """Rows, and the types of their columns."""
    types = (
        rnd.choice([pa.int32(), pa.int64()]),
        rnd.choice([pa.int32(), pa.int32(), pa.int64(), pa.float64(), pa.string()]),
        rnd.choice([pa.string(), pa.large_string()]),
        rnd.choice([pa.list_, pa.large_list]),
    )
    return [make_struct(rnd) for _ in range(rnd.randrange(1, 4))], types


def true_struct(struct):
    """The dense array of a struct; None if it is not valid."""
    shape, ids, rle = (struct[name] for name in ("shape", "id", "rle"))
    if None in (shape, ids, rle) or None in ids or None in rle:
        return None
    if not 1 <= len(shape) <= 8 or min(shape) < 0 or len(ids) != len(rle):
        return None
    if len(set(ids)) < len(ids) or any(not 1 <= i <= MAX_ID for i in ids):
        return None
    if np.prod([max(extent, 1) for extent in map(int, shape)], dtype=object) > 10**5:
        return "too large to say"
    return true_labels(ids, rle, shape)


def as_strings(ids):
    """Ids as strings, which no column of ids may have."""
    return ids and [i if i is None else str(i) for i in ids]


def check_struct(given_input):
    """Rows of a Parquet file with such structs give the array of the slow decoder, or an error."""
    rows, (shape_type, id_type, string_type, make) = given_input
    types = {
        "shape": shape_type,
        "id": id_type,
        "rle": string_type,
        "area": pa.int64(),
        "class_id": pa.int64(),
    }
    fields = {name: make(type_) for name, type_ in types.items()}
    if id_type == pa.string():
        rows = [row and {**row, "id": as_strings(row["id"])} for row in rows]
    column = pa.array(rows, pa.struct(list(fields.items())))
    file = io.BytesIO()
    pq.write_table(pa.table({"cells": column}), file)
    table = pq.read_table(file)
    for i, row in enumerate(rows):
        is_number = id_type in (pa.int32(), pa.int64())
        expected = true_struct(row) if row and (is_number or row["id"] == []) else None
        try:
            lazy = PlateletEMFormatter().format_row(table.slice(i))["cells"]
            if row is None:
                assert lazy is None
                continue
            if isinstance(expected, str):
                window = lazy[tuple(slice(0, 2) for _ in lazy.shape)]
                assert max(window.shape) <= 2
                continue
            found = np.asarray(lazy)
        except PlateletEMError:
            assert expected is None or isinstance(expected, str), "refused valid input"
            continue
        assert expected is not None, "accepted invalid input"
        np.testing.assert_array_equal(found, expected)
        assert lazy.ids.tolist() == row["id"]


# --- long runs --------------------------------------------------------------------------------

TARGETS = {
    "rle": (make_rle, check_rle),
    "json": (make_json, check_json),
    "tif": (make_tif, check_tif),
    "struct": (make_structs, check_struct),
}


def run(name, count, first):
    """Check `count` inputs of a target, each made from a seed of its own.

    Returns:
        Whether all of them passed; the first that do not are printed.
    """
    make, check = TARGETS[name]
    failed = 0
    for number in tqdm(range(first, first + count), desc=name, mininterval=2):
        one = make(random.Random(number))
        faulthandler.dump_traceback_later(PATIENCE_S, exit=True)
        try:
            check(one)
        except Exception:
            failed += 1
            if failed <= 5:
                print(f"\n{name}, seed {number}: {one!r:.2000}\n{traceback.format_exc()}")
        faulthandler.cancel_dump_traceback_later()
    return not failed


def main():
    """Run all targets for a long time; returns 1 if one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rle", type=int, default=1_000_000, help="inputs of the RLE parser")
    parser.add_argument("--others", type=int, default=100_000, help="inputs of each other target")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first input")
    options = parser.parse_args()
    # tifffile warns of damaged files.
    warnings.simplefilter("ignore")
    tifffile.logger().disabled = True
    passed = all(run(name, 10, 0) for name in TARGETS)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + ROOM, taken + ROOM))
    for name in TARGETS:
        total = options.rle if name == "rle" else options.others
        begun = time.monotonic()
        passed &= run(name, total, options.seed)
        seconds = time.monotonic() - begun
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{name}: {total:,} inputs, {total / seconds:,.0f} a second, peak {peak:.0f} MB")
    return 0 if passed else 1


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # Arrow's threads may outlive the interpreter, and end the process with an error.
    os._exit(code)
