"""Hostile files in a process of their own, which has little memory and little time to give.

`outcomes` runs all its cases in one process, since starting one takes longer than most cases.
This file is also what that process runs.
"""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOM = 300 << 20
"""Bytes that a case may take beyond what the process had when it had imported everything."""

SECONDS = 300
"""Of work, for all cases of a process: what never ends is killed, and the test fails."""


def outcomes(cases, *path):
    """What happens to each case: what it gives, or the exception, as a dictionary.

    Args:
        cases: name -> (reader, file): which function of READERS reads which file.
        path: Further folders to import from, before all others.

    Returns:
        name -> {"value": ...}, or {"error": class, "ours": bool, "message": str}.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*path, *sys.path]))}
    done = subprocess.run(
        [sys.executable, __file__],
        input=json.dumps({name: (reader, str(file)) for name, (reader, file) in cases.items()}),
        check=False,
        capture_output=True,
        text=True,
        env=environment,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    found = dict(lines)
    missing = [name for name in cases if name not in found]
    assert done.returncode == 0, f"ended with {done.returncode} at {missing[:1]}: {done.stderr}"
    return found


# --- in the process ---------------------------------------------------------------------------


def read_tif(path):
    from _platelet_em.publisher.tiff import TiffStack

    with TiffStack(path.open("rb"), path.name) as stack:
        pages = [stack.page(z) for z in range(stack.shape[0])]
    return [list(stack.shape), str(stack.dtype), digest(np.stack(pages))]


def read_labels(path):
    from _platelet_em.publisher.label_files import read_labels as read

    name = "50-labels.tif" if path.suffix == ".tif" else "50-labels.json"
    with read(path.open("rb"), name, semantic=False) as store:
        runs = store.volume()
    return [list(store.shape), store.ids.tolist()[:9], len(runs)]


def read_source(path):
    from _platelet_em.publisher.archive import find_source

    source = find_source(path, "json")
    with source.open("50-images.tif") as file:
        return [source.place("50-images.tif"), len(file.read(100))]


def read_rows(path):
    """A column of an Arrow file in our format, and from it all that takes no dense array."""
    import pyarrow as pa

    from _platelet_em.hf.formatter import PlateletEMFormatter

    table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    values = next(iter(PlateletEMFormatter().format_batch(table).values()))
    return [describe(value) for value in values]


def read_dense(path):
    """The labels that a JSON file of their fields describes, as an array."""
    from platelet_em import LazyLabels

    fields = json.loads(path.read_text())
    labels = LazyLabels.from_struct(fields["struct"])
    return np.asarray(eval(fields["take"], {"x": labels, "np": np})).ravel()[:9].tolist()


def describe(value):
    from platelet_em import LazyLabels, LazyStack

    if isinstance(value, LazyLabels):
        return [value.ids.tolist(), value.areas.tolist(), sorted(value.properties)]
    if isinstance(value, (LazyStack, np.ndarray)):
        return [list(value.shape), int(np.asarray(value).sum())]
    return repr(value)


def digest(array):
    """Enough of an array to tell it from others."""
    import hashlib

    return hashlib.md5(np.ascontiguousarray(array).tobytes()).hexdigest()


READERS = {f.__name__: f for f in (read_tif, read_labels, read_source, read_rows, read_dense)}


def main():
    import logging

    import platelet_em
    from _platelet_em.hf import formatter as formatting  # noqa: F401

    logging.disable()
    cases = json.load(sys.stdin)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + ROOM, taken + ROOM))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    for name, (reader, path) in cases.items():
        try:
            found = {"value": READERS[reader](Path(path))}
        except Exception as error:  # noqa: BLE001  # which it is, is what is asked
            ours = isinstance(error, platelet_em.PlateletEMError)
            found = {"error": type(error).__name__, "ours": ours, "message": str(error)}
        sys.stdout.write(json.dumps([name, found]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
