"""Read files with little memory and time, and print what each gives, one JSON line per file.

Standard input: {name: [reader, path]}. Each line of the output is [name, outcome], see
`limits.outcomes`.
"""

import json
import logging
import resource
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa

import platelet_em
from _platelet_em.facts import PUBLISHED
from _platelet_em.hf.formatter import PlateletEMFormatter
from _platelet_em.publisher import label_files
from _platelet_em.publisher.archive import find_source
from _platelet_em.publisher.tiff import TiffStack
from support.limits import ROOM, SECONDS, digest


def read_tif(path):
    """Shape, dtype and digest of the pages of a TIF."""
    with TiffStack(path.open("rb"), path.name) as stack:
        pages = [stack.page(z) for z in range(stack.shape[0])]
    return [list(stack.shape), str(stack.dtype), digest(np.stack(pages))]


def read_labels(path):
    """Shape, first ids and number of runs of a label file."""
    labels = label_files.read_labels(path.open("rb"), f"50-labels{path.suffix}").labels
    return [list(labels.shape), labels.ids.tolist()[:9], len(labels.runs)]


def read_source(path):
    """Name and length of the first 100 bytes of the images of an archive."""
    source = find_source(path, "json", PUBLISHED)
    with source.open("50-images.tif") as file:
        return [source.describe_member("50-images.tif"), len(file.read(100))]


def read_rows(path):
    """A column of an Arrow file in this package's format: all that takes no dense array."""
    table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    values = next(iter(PlateletEMFormatter().format_batch(table).values()))
    return [describe(value) for value in values]


def describe(value):
    """A value of a row."""
    if isinstance(value, platelet_em.LazyLabels):
        return [value.ids.tolist(), value.areas.tolist(), sorted(value.properties)]
    if isinstance(value, (platelet_em.LazyStack, np.ndarray)):
        return [list(value.shape), int(np.asarray(value).sum())]
    return repr(value)


def read_dense(path):
    """An expression of the labels whose fields a JSON file holds, as an array."""
    fields = json.loads(path.read_text())
    labels = platelet_em.LazyLabels.from_struct(fields["struct"])
    return np.asarray(eval(fields["take"], {"x": labels, "np": np})).ravel()[:9].tolist()


READERS = {f.__name__: f for f in (read_tif, read_labels, read_source, read_rows, read_dense)}


def main():
    """Read the cases of standard input."""
    logging.disable()
    cases = json.load(sys.stdin)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + ROOM, taken + ROOM))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    for name, (reader, path) in cases.items():
        try:
            found = {"value": READERS[reader](Path(path))}
        except Exception as error:  # noqa: BLE001  # the tests say which one is expected
            ours = isinstance(error, platelet_em.PlateletEMError)
            found = {"error": type(error).__name__, "ours": ours, "message": str(error)}
        sys.stdout.write(json.dumps([name, found]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
