"""Files that no build writes, and that plain `datasets` may read instead of the build's.

Other files of the user, such as a license or notes, are none of these.
"""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from _platelet_em.hub.layout import is_repository_file
from _platelet_em.hub.record import stored_configs
from _platelet_em.rows.make import CONFIG_NAMES
from _platelet_em.spec import DatasetSpec

__all__ = ["find_strays"]

_DATA = frozenset(
    [
        ".csv",
        ".tsv",
        ".json",
        ".jsonl",
        ".ndjson",
        ".parquet",
        ".geoparquet",
        ".gpq",
        ".arrow",
        ".feather",
        ".orc",
        ".xml",
        ".h5",
        ".hdf5",
        ".tar",
        ".lance",
        ".eval",
    ]
)
"""Suffixes of tables and of shards that `datasets` reads."""

_COMPRESSED = frozenset([".gz", ".bz2", ".xz", ".zst", ".lz4"])

_STANDALONE = ".huggingface.yaml"
"""A file in place of the card's YAML."""


def find_strays(folder: Path, spec: DatasetSpec) -> Iterator[Path]:
    """Data files that no build writes, a script of the folder's name, and metadata of their own.

    `datasets` skips folders and files whose names begin with a dot, except that of the metadata,
    and folders whose names begin with two underscores. In a repository of an older schema, files
    of a configuration that came later are the user's.
    """
    later = set(CONFIG_NAMES) - {config.name for config in stored_configs(folder)}
    if os.path.lexists(folder / _STANDALONE):
        yield folder / _STANDALONE
    for name in sorted({folder.name, Path(os.path.realpath(folder)).name}):
        if (script := folder / f"{name.removesuffix('.py')}.py").is_file():
            yield script
    # A folder of a configuration may be a link, which `os.walk` would not follow.
    linked = [folder / name for name in CONFIG_NAMES if (folder / name).is_symlink()]
    for top in (folder, *linked):
        for parent, folders, files in os.walk(top):
            folders[:] = sorted(n for n in folders if not n.startswith((".", "__")))
            for path in (Path(parent, name) for name in sorted(files)):
                name = path.relative_to(folder).as_posix()
                is_built = is_repository_file(name, spec) and path.parent.name not in later
                if _is_data(path.name) and not is_built:
                    yield path


def _is_data(name: str) -> bool:
    path = PurePosixPath(name.lower())
    if path.suffix in _COMPRESSED:
        path = path.with_suffix("")
    return path.suffix in _DATA and not name.startswith(".")
