"""`PlateletEM`: the `datasets` builder that makes rows of volumes, wherever their files are."""

import hashlib
import itertools
import logging
import os
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa

from _platelet_em.description.parse import read_description
from _platelet_em.errors import ArgumentError, ImageFormatError, printable, quote
from _platelet_em.facts import PUBLISHED
from _platelet_em.files import user_path
from _platelet_em.hf.private import prepare_for_builder
from _platelet_em.publisher.archive import Identity
from _platelet_em.publisher.volume import LabeledVolume
from _platelet_em.rows.config import Config, Shape
from _platelet_em.rows.digest import code_digest
from _platelet_em.rows.make import (
    CONFIG_NAMES,
    CONFIGS,
    VOLUMES,
    config_named,
    make_rows,
    make_table,
)
from _platelet_em.rows.schema import json_features
from _platelet_em.rows.shards import Segment, plan_shards, rows_per_group
from _platelet_em.sources.opening import (
    VolumeFiles,
    check_label_source,
    find_files,
    known_md5s,
    reopen_files,
)
from _platelet_em.spec import DatasetSpec, VolumeSpec

__all__ = ["PlateletEM", "PlateletEMConfig"]

_log = logging.getLogger(__name__)

_VERSION = datasets.Version("1.0.0")

_LISTED = 5
"""Volumes that a warning names."""


@dataclass
class PlateletEMConfig(datasets.BuilderConfig):  # type: ignore[misc]  # datasets is untyped
    """Configuration of the builder.

    Attributes:
        name: "slices", "volumes", "instances" or "preview".
        label_source: "json" (true ids) or "tif" (colors, ids by first appearance).
        data_dir: A zip of the publisher, an extracted folder, or a folder with the zips; None
            downloads the archive.
        with_test: Whether there is a split "test", the paper's third volume, which has classes
            and no instances. Its archive is looked for in `data_dir`, or else downloaded.

    >>> PlateletEMConfig(name="slices").label_source
    'json'
    """

    __module__ = "platelet_em"

    label_source: str = "json"
    with_test: bool = False

    def create_config_id(self, config_kwargs: dict[str, Any], custom_features: Any = None) -> str:
        """Name of the cache folder; it depends on the content of archives, not on their path."""
        known = ("label_source", "data_dir", "with_test")
        others = {k: v for k, v in config_kwargs.items() if k not in known}
        plain: str = super().create_config_id(others, custom_features=custom_features)
        return f"{plain}-{self.label_source}{'-test' * self.with_test}"


@dataclass(frozen=True, slots=True)
class _Shard:
    """Parts of volumes whose rows are made together, and the files that they come from."""

    paths: tuple[str, ...]
    label_source: str
    segments: tuple[Segment, ...]


class PlateletEM(datasets.ArrowBasedBuilder):  # type: ignore[misc]  # datasets is untyped
    """Builds platelet-em from the publisher's archives, or a user's own volumes from their files.

    The cache folder depends on the code of this package, the parameters, the description, and the
    content of the files, so that a cached dataset is never out of date.

    Args:
        cache_dir: Where prepared datasets and downloads go; the default is that of `datasets`.
        config_name: "slices" (default), "volumes", "instances" or "preview".
        label_source: "json" or "tif".
        data_dir: A zip of the publisher, an extracted folder, or a folder with the zips; None
            downloads the archive when it is needed. For "tif", which has no published checksum,
            this happens at once, and a download that is forced later does not repeat it.
        with_test: Whether to add the split "test", the paper's third volume.
        description: A description of the user's own volumes, in place of the published ones: the
            path of its file. `label_source`, `data_dir` and `with_test` have no meaning then.
        hash: A string that the cache folder also depends on.
        data_files: Must be None: the files of the dataset are fixed.
        **kwargs: As for `datasets.DatasetBuilder`.

    Raises:
        ArgumentError: for an unknown config or label source, or `data_files`.
        ArchiveError: for a `data_dir` without the files, or damaged.
        DescriptionError: for a description with mistakes; names all of them.

    >>> import platelet_em, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> _ = platelet_em.write_sample(folder.name, depth=2, size=64)
    >>> builder = PlateletEM(config_name="slices", data_dir=folder.name)
    >>> list(builder.info.features)[:4]
    ['image', 'semantic', 'volume', 'z']
    >>> next(iter(builder.as_streaming_dataset(split="validation")))["volume"]
    '24'
    >>> folder.cleanup()
    """

    # `datasets` names builders after their module, and for streaming it replaces `open`, `Path`
    # and others in that module: `platelet_em` has the right name, and none of these.
    __module__ = "platelet_em"

    SPEC: DatasetSpec = PUBLISHED
    """The dataset to build: the published one, or that of the description; of a builder
    `with_test`, it has the optional volumes."""

    VERSION = _VERSION
    BUILDER_CONFIG_CLASS = PlateletEMConfig
    BUILDER_CONFIGS = [  # noqa: RUF012  # datasets reads it from the class
        PlateletEMConfig(name=c.name, version=_VERSION, description=c.description) for c in CONFIGS
    ]
    DEFAULT_CONFIG_NAME = CONFIGS[0].name
    DEFAULT_WRITER_BATCH_SIZE = 8
    """Rows in memory before they are written."""

    _pid: int | None
    _lock: threading.Lock
    _opened: tuple[Any, LabeledVolume] | None
    _identity: Identity

    def __init__(
        self,
        cache_dir: str | Path | None = None,
        *,
        config_name: str | None = None,
        label_source: str = "json",
        data_dir: str | Path | None = None,
        with_test: bool = False,
        description: str | Path | None = None,
        hash: str | None = None,  # noqa: A002  # datasets' name
        data_files: Any = None,
        **kwargs: Any,
    ) -> None:
        prepare_for_builder()
        if data_files is not None:
            raise ArgumentError(
                f"data_files: expected none, got {quote(data_files)}; give archives as data_dir"
            )
        if config_name is not None and config_name not in CONFIG_NAMES:
            raise ArgumentError(
                f"name: expected one of {', '.join(CONFIG_NAMES)}, got {quote(config_name)}: these"
                " are the publisher's archives; for a repository, on the Hub or in a folder, call "
                f"datasets.load_dataset({quote(config_name)}, 'slices') and, of the result, "
                "with_format('platelet_em')"
            )
        if description is not None:
            self.SPEC = read_description(description)
        if with_test:
            self.SPEC = self._with_test()
        label_source = check_label_source(label_source, self.SPEC)
        if data_dir is not None:
            data_dir = user_path(data_dir).absolute()
        md5s = known_md5s(self.SPEC, label_source)
        if data_dir is not None or None in md5s:
            files = find_files(self.SPEC, label_source, data_dir, cache_dir)
            self._identity = files.identity()
        else:
            self._identity = Identity("+".join(filter(None, md5s)))
        dataset = repr(replace(self.SPEC, folder=""))
        parts = [code_digest(), dataset, self._identity.md5, hash or ""]
        digest = hashlib.sha256("\n".join(parts).encode("utf-8", "surrogateescape"))
        if config_name == VOLUMES.name:  # Arrow's binary columns end at 2 GiB, few rows
            kwargs.setdefault("writer_batch_size", 1)
        kwargs.setdefault("dataset_name", re.sub(r"\W", "_", self.SPEC.name))
        self._platelet_em_cache = cache_dir
        self._forget_volume()
        super().__init__(
            cache_dir=None if cache_dir is None else str(cache_dir),
            config_name=config_name,
            label_source=label_source,
            data_dir=None if data_dir is None else str(data_dir),
            with_test=with_test,
            hash=digest.hexdigest()[:32],
            **kwargs,
        )

    def _with_test(self) -> DatasetSpec:
        """The dataset with its optional volumes.

        Raises:
            ArgumentError: if it has none.
        """
        if not self.SPEC.optional_volumes:
            raise ArgumentError(
                f"with_test: {self.SPEC.name} has no optional volumes: leave it out, and give the "
                "volumes of any split in the description"
            )
        return self.SPEC.with_optional()

    def _info(self) -> datasets.DatasetInfo:
        columns = config_named(self.config.name).columns(self.SPEC)
        return datasets.DatasetInfo(
            description=self.SPEC.description,
            citation=self.SPEC.citation,
            homepage=self.SPEC.homepage,
            license=self.SPEC.license,
            features=datasets.Features.from_dict(json_features(columns)),
        )

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        label_source = self.config.label_source
        # An archive without a published checksum was identified by its content when the builder
        # was created, so it cannot be downloaded again afterwards.
        has_checksum = None not in known_md5s(self.SPEC, label_source)
        files = find_files(
            self.SPEC,
            label_source,
            self.config.data_dir,
            self._platelet_em_cache,
            force=has_checksum and _forces_download(dl_manager),
        )
        self._check(files)
        config = config_named(self.config.name)
        generators, left_out = [], []
        for split, volumes in self.SPEC.splits.items():
            shapes = [(v.name, files.shape(v)) for v in volumes if config.covers(v)]
            if not shapes:
                continue
            planned = plan_shards(config, shapes)
            _warn_of_left_out(config, shapes)
            shards = [_Shard(files.paths, label_source, tuple(shard)) for shard in planned]
            if not shards:
                left_out.append(shapes[0])
                continue
            generator = datasets.SplitGenerator(name=split, gen_kwargs={"shards": shards})
            if config.is_one_row:
                parts = (part for shard in planned for part in shard)
                generator.split_info.num_examples = sum(p.stop - p.start for p in parts)
            generators.append(generator)
        if left_out and not generators:
            name, (depth, height, width) = left_out[0]
            raise ImageFormatError(
                f"volume {name}: its {depth} images of {height} x {width} pixels are more than "
                f"one row of {config.name!r} can hold: use the config 'slices'"
            )
        return generators

    def as_dataset(self, split: Any = None, **options: Any) -> Any:
        """The prepared rows; arguments and errors as of `datasets.DatasetBuilder.as_dataset`.

        A split without rows, such as one without objects, is empty: `datasets` refuses it, and all
        other splits with it.
        """
        known = self.info.splits or {}
        if split is None and known:
            found = {name: self.as_dataset(name, **options) for name in known}
            return datasets.DatasetDict(found)
        if isinstance(split, (list, tuple)):
            return type(split)(self.as_dataset(part, **options) for part in split)
        if str(split) in known and not known[str(split)].num_examples:
            columns: dict[str, list[Any]] = {name: [] for name in self.info.features}
            return datasets.Dataset.from_dict(
                columns, features=self.info.features, split=datasets.Split(str(split))
            )
        return super().as_dataset(split=split, **options)

    def check_volumes(self) -> None:
        """Open all volumes once, so that a damaged one raises its error."""
        label_source = self.config.label_source
        files = find_files(self.SPEC, label_source, self.config.data_dir, self._platelet_em_cache)
        for volume in self.SPEC.volumes:
            with files.open(volume):
                pass

    def _generate_tables(self, shards: list[_Shard]) -> Iterator[tuple[str, pa.Table]]:
        config = config_named(self.config.name)
        named = {volume.name: volume for volume in self.SPEC.volumes}
        for shard in shards:
            files = reopen_files(shard.paths, shard.label_source, self.SPEC)
            for segment in shard.segments:
                volume = self._open_volume(files, shard, named[segment.volume])
                rows = make_rows(config, volume, self.SPEC, segment.start, segment.stop)
                # Rows that are made together are one table; of others, each is one, so that a
                # stream makes none that is not asked for.
                count = 1 if config.is_one_row else rows_per_group(config, volume.shape)
                for index in itertools.count(segment.start):
                    if not (group := list(itertools.islice(rows, count))):
                        break
                    yield f"{segment.volume}-{index}", make_table(config, group, self.SPEC)
                self._check(files, named[segment.volume])

    def _check(self, files: VolumeFiles, volume: VolumeSpec | None = None) -> None:
        """Refuse files that were exchanged since the builder was created; of one volume, or all.

        Rows would be in a cache, and in a stream, that are named after the content before.
        """
        self._identity = files.check(self._identity, volume)

    def _open_volume(self, files: VolumeFiles, shard: _Shard, volume: VolumeSpec) -> LabeledVolume:
        """A volume of a shard; it stays open for the next shard and the next epoch.

        Streaming reads shard after shard, from several threads when it shuffles, and opening a
        volume takes longer than reading a shard. A forked worker opens its own: two processes
        cannot read through the same open file.
        """
        if self._pid != os.getpid():
            self._forget_volume()
        key = (shard.paths, shard.label_source, volume.name)
        with self._lock:
            if self._opened is None or self._opened[0] != key:
                self._opened = key, files.open(volume)
            # What was opened before this is what it checks.
            self._check(files, volume)
            return self._opened[1]

    def _forget_volume(self) -> None:
        self._pid, self._lock, self._opened = os.getpid(), threading.Lock(), None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None, "_lock": None, "_pid": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        prepare_for_builder()
        super().__setstate__(state)


def _warn_of_left_out(config: Config, shapes: list[tuple[str, Shape]]) -> None:
    """Say which volumes of a split have no row."""
    names = [name for name, shape in shapes if not config.count_parts(shape)]
    if names:
        listed = ", ".join(map(printable, names[:_LISTED])) + ", ..." * (len(names) > _LISTED)
        _log.warning(
            "%d of %d volumes are too large for a row of %s, and are left out: %s: use 'slices'",
            len(names), len(shapes), config.name, listed,
        )  # fmt: skip


def _forces_download(dl_manager: Any) -> bool:
    config = getattr(dl_manager, "download_config", None)
    return bool(getattr(config, "force_download", False))
