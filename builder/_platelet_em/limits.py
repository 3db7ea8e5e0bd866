"""The largest inputs that are read; larger ones are refused before memory is allocated."""

__all__ = [
    "JSON_BYTES_PER_LABEL",
    "MAX_FILE",
    "MAX_ID",
    "MAX_JSON",
    "MAX_LABELS",
    "MAX_METADATA",
    "MAX_PAGE",
    "MAX_PAGES",
    "MAX_ROWS",
    "MAX_RUNS",
    "MAX_VOXELS",
    "TIF_BYTES_PER_LABEL",
]

MAX_ID = 2**31 - 1
"""Largest instance id: labels are int32 wherever they are dense."""

MAX_VOXELS = 2**30
"""Voxels of a volume: 33 times the larger published volume."""

MAX_PAGE = 2**26
"""Pixels of a slice that is read from a file: 8192 x 8192, 104 times the published slices."""

MAX_PAGES = 2**14
"""Slices of a volume: 327 times the published depth."""

MAX_ROWS = 2**22
"""Rows of a split of a repository that is read: 256 of the deepest volumes. A Parquet file
of a few kilobytes can have many more, all the same."""

MAX_FILE = 4 * MAX_VOXELS
"""Bytes of a file of an archive: the largest volume as uncompressed 8-bit RGBA, 4 GiB."""

MAX_LABELS = 2**18
"""Labels of a small file: about 500 times the organelles of a published volume. A larger one may
have one more for each of the following numbers of bytes."""

JSON_BYTES_PER_LABEL = 32
"""Bytes of a JSON label file per label beyond `MAX_LABELS`: one of a few runs takes as many."""

TIF_BYTES_PER_LABEL = 4
"""Bytes of a picture file of labels per label beyond `MAX_LABELS`: a compressed one takes more."""

MAX_METADATA = 2**25
"""Bytes of a card, a description or a picture of a repository: `build` writes less than 1 MB."""

MAX_JSON = 2**28
"""Bytes of a JSON label file, which is parsed in memory: about 40 times the published ones."""

MAX_RUNS = 2**24
"""Runs of the labels of one file: 29 times those of the published classes. They take 24 bytes each
in memory; to read as many from JSON takes up to 3.2 GB. A picture file may have one more for each
of its bytes: a compressed one takes more."""
