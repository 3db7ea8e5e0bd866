"""The `datasets` builder of platelet-em, and `load_dataset` on top of it."""

import hashlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa

from _platelet_em.errors import ArgumentError, PlateletEMError
from _platelet_em.facts import (
    CITATION,
    CONFIGS,
    DESCRIPTION,
    HOMEPAGE_PAPER,
    LABEL_SOURCES,
    LICENSE,
    VOLUMES,
    archive_for,
    config_named,
    volume_named,
)
from _platelet_em.files import needs_room, user_path
from _platelet_em.hf.private import FORMAT, prepare_for_builder
from _platelet_em.publisher.archive import needed_files, open_source
from _platelet_em.publisher.cache import obtain
from _platelet_em.publisher.volume import Volume, make_table, open_images
from _platelet_em.rows.digest import code_digest
from _platelet_em.rows.schema import FEATURES
from _platelet_em.rows.shards import count_rows, shard_bounds

__all__ = ["PlateletEM", "PlateletEMConfig", "load_dataset"]

_VERSION = datasets.Version("1.0.0")


@dataclass
class PlateletEMConfig(datasets.BuilderConfig):  # type: ignore[misc]  # datasets is untyped
    """Configuration of the builder.

    Attributes:
        name: "slices", "volumes" or "preview".
        label_source: "json" (true ids) or "tif" (colours, ids by first appearance).
        data_dir: A zip of the publisher, an extracted folder, or a folder with the zips; None
            downloads the archive.
    """

    label_source: str = "json"

    def create_config_id(self, config_kwargs: dict[str, Any], custom_features: Any = None) -> str:
        """Name of the cache folder: what the archives hold matters, where they lie does not."""
        further = {k: v for k, v in config_kwargs.items() if k not in ("label_source", "data_dir")}
        plain: str = super().create_config_id(further, custom_features=custom_features)
        return f"{plain}-{self.label_source}"


@dataclass(frozen=True, slots=True)
class _Shard:
    """Rows `start` to `stop` of a volume, and where they come from."""

    path: str
    label_source: str
    volume: str
    start: int
    stop: int


class PlateletEM(datasets.ArrowBasedBuilder):  # type: ignore[misc]  # datasets is untyped
    """Builds platelet-em from the publisher's archives.

    The cache folder depends on the code of this package, the parameters, and the content of the
    archives, so that none of them can change behind a cached dataset.

    Args:
        cache_dir: Where prepared datasets and downloads go; the default is that of `datasets`.
        config_name: "slices" (default), "volumes" or "preview".
        label_source: "json" or "tif".
        data_dir: A zip of the publisher, an extracted folder, or a folder with the zips; None
            downloads the archive when it is needed. For "tif", whose checksum is not published,
            that is at once, and it is not fetched again when a download is forced later.
        hash: Anything else that the cache folder shall depend on.
        data_files: Must be None: which files are read is the publisher's matter.
        **kwargs: As for `datasets.DatasetBuilder`.

    Raises:
        ArgumentError: for an unknown label source, or `data_files`.
        ArchiveError: for a `data_dir` without the files, or damaged.
    """

    # `datasets` names builders after their module, and in streaming it replaces `open`, `Path`
    # and others in that module: the face has the right name, and none of them.
    __module__ = "platelet_em"

    VERSION = _VERSION
    BUILDER_CONFIG_CLASS = PlateletEMConfig
    BUILDER_CONFIGS = [  # noqa: RUF012  # datasets reads it from the class
        PlateletEMConfig(name=c.name, version=_VERSION, description=c.description) for c in CONFIGS
    ]
    DEFAULT_CONFIG_NAME = CONFIGS[0].name
    DEFAULT_WRITER_BATCH_SIZE = 8
    """Rows that are kept in memory before they are written."""

    def __init__(
        self,
        cache_dir: str | Path | None = None,
        *,
        config_name: str | None = None,
        label_source: str = "json",
        data_dir: str | Path | None = None,
        hash: str | None = None,  # noqa: A002  # datasets' name
        data_files: Any = None,
        **kwargs: Any,
    ) -> None:
        prepare_for_builder()
        if data_files is not None:
            raise ArgumentError(
                f"data_files: expected none, got {data_files!r:.80}; give archives as data_dir"
            )
        if label_source not in LABEL_SOURCES:
            raise ArgumentError(
                f"label_source: expected one of {LABEL_SOURCES}, got {label_source!r}"
            )
        identity = archive_for(label_source).md5
        if data_dir is not None:
            data_dir = user_path(data_dir).absolute()
        if data_dir is not None or identity is None:
            source = obtain(label_source, data_dir, cache_dir)
            identity = source.identity(needed_files(label_source))
        digest = hashlib.sha256("\n".join([code_digest(), identity, hash or ""]).encode())
        kwargs.setdefault("dataset_name", "platelet_em")
        self._platelet_em_cache = cache_dir
        self._opened: tuple[Any, Volume] | None = None
        self._lock = threading.Lock()
        self._pid: int | None = os.getpid()
        super().__init__(
            cache_dir=None if cache_dir is None else str(cache_dir),
            config_name=config_name,
            label_source=label_source,
            data_dir=None if data_dir is None else str(data_dir),
            hash=digest.hexdigest()[:32],
            **kwargs,
        )

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(
            description=DESCRIPTION,
            citation=CITATION,
            homepage=HOMEPAGE_PAPER,
            license=LICENSE,
            features=datasets.Features.from_dict(FEATURES[self.config.name]),
        )

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        label_source = self.config.label_source
        # An archive without a published checksum is known by what it held when this was made.
        known = archive_for(label_source).md5 is not None
        source = obtain(
            label_source,
            self.config.data_dir,
            self._platelet_em_cache,
            force=known and _forces_download(dl_manager),
        )
        config = config_named(self.config.name)
        generators = []
        for spec in VOLUMES:
            with open_images(source, spec) as images:
                depth = images.shape[0]
            shards = [
                _Shard(str(source.path), label_source, spec.name, start, stop)
                for start, stop in shard_bounds(config, depth)
            ]
            generator = datasets.SplitGenerator(name=spec.split, gen_kwargs={"shards": shards})
            generator.split_info.num_examples = count_rows(config, depth)
            generators.append(generator)
        return generators

    def check_volumes(self) -> None:
        """Open all volumes once, for the error that one of them raises."""
        label_source = self.config.label_source
        source = obtain(label_source, self.config.data_dir, self._platelet_em_cache)
        for spec in VOLUMES:
            with Volume(source, spec, label_source):
                pass

    def _generate_tables(self, shards: list[_Shard]) -> Iterator[tuple[str, pa.Table]]:
        for shard in shards:
            volume = self._open_volume(shard)
            rows = volume.rows(self.config.name, shard.start, shard.stop)
            for index, row in enumerate(rows, shard.start):
                yield f"{shard.volume}-{index}", make_table(self.config.name, [row])

    def _open_volume(self, shard: _Shard) -> Volume:
        """The volume of a shard, which stays open for the next shard, and the next epoch.

        Streaming asks for shard after shard, when it shuffles from several threads, and a volume
        takes longer to open than a shard to read. A forked worker opens its own: two processes
        cannot read through one open file.
        """
        if self._pid != os.getpid():
            self._pid, self._lock, self._opened = os.getpid(), threading.Lock(), None
        key = (shard.path, shard.label_source, shard.volume)
        with self._lock:
            if self._opened is None or self._opened[0] != key:
                source, spec = open_source(shard.path), volume_named(shard.volume)
                self._opened = key, Volume(source, spec, shard.label_source)
            return self._opened[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None, "_lock": None, "_pid": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        prepare_for_builder()
        super().__setstate__(state)


def _forces_download(dl_manager: Any) -> bool:
    config = getattr(dl_manager, "download_config", None)
    return bool(getattr(config, "force_download", False))


def load_dataset(
    name: str = "slices",
    *,
    split: Any = None,
    label_source: str = "json",
    data_dir: str | Path | None = None,
    streaming: bool = False,
    num_proc: int | None = None,
    cache_dir: str | Path | None = None,
    features: datasets.Features | None = None,
    download_config: datasets.DownloadConfig | None = None,
    download_mode: datasets.DownloadMode | str | None = None,
    verification_mode: datasets.VerificationMode | str | None = None,
    keep_in_memory: bool | None = None,
    save_infos: bool = False,
    token: bool | str | None = None,
    storage_options: dict[str, Any] | None = None,
) -> Any:
    """Load platelet-em from the publisher's archives, in the format `"platelet_em"`.

    Keywords and return types are those of `datasets.load_dataset`.

    Args:
        name: "slices", one row a slice; "volumes", one row a volume; "preview", small pictures.
        split: "train" (volume 50), "validation" (volume 24), an expression such as
            "train[:10]", or None for a dictionary of both.
        label_source: "json", the true ids, or "tif", the RGBA labels.
        data_dir: A zip of the publisher, an extracted folder, or a folder with the zips; None
            downloads the archive of that label source, once.
        streaming: Whether to make rows as they are asked for instead of preparing them all; the
            archive is fetched first all the same.
        num_proc: Processes that prepare the dataset.
        cache_dir: Where downloads and prepared datasets go.
        features: As in `datasets.load_dataset`.
        download_config: As in `datasets.load_dataset`; of it, `force_download` matters.
        download_mode: As in `datasets.load_dataset`; "force_redownload" fetches the archive anew.
        verification_mode: As in `datasets.load_dataset`.
        keep_in_memory: As in `datasets.load_dataset`.
        save_infos: As in `datasets.load_dataset`.
        token: As in `datasets.load_dataset`.
        storage_options: As in `datasets.load_dataset`.

    Returns:
        Dataset or DatasetDict, with `streaming` IterableDataset or IterableDatasetDict.

    Raises:
        PlateletEMError: for archives that cannot be fetched, are damaged, or miss files.
    """
    if streaming and num_proc is not None:
        raise NotImplementedError(
            "streaming makes rows as they are asked for: use DataLoader workers, not num_proc"
        )
    mode = datasets.DownloadMode(download_mode or datasets.DownloadMode.REUSE_DATASET_IF_EXISTS)
    checks = datasets.VerificationMode.ALL_CHECKS if save_infos else verification_mode
    if mode == datasets.DownloadMode.FORCE_REDOWNLOAD and _is_fetched_first(
        label_source, streaming=streaming
    ):
        obtain(label_source, data_dir, cache_dir, force=True)
    builder = PlateletEM(
        cache_dir=cache_dir,
        config_name=name,
        label_source=label_source,
        data_dir=data_dir,
        features=features,
        token=token,
        storage_options=storage_options,
    )
    if streaming:
        return _with_format(builder.as_streaming_dataset(split=split))
    try:
        builder.download_and_prepare(
            download_config=download_config,
            download_mode=mode,
            verification_mode=checks,
            num_proc=num_proc,
            storage_options=storage_options,
        )
    except datasets.exceptions.DatasetGenerationError as error:
        # What went wrong is ours to say, not the cause of somebody's else error.
        if isinstance(error.__cause__, PlateletEMError):
            raise error.__cause__ from None
        if isinstance(error.__cause__, OSError):
            with needs_room(builder.cache_dir):
                raise error.__cause__ from None
        # Worker processes lose the cause on the way.
        if num_proc is not None:
            builder.check_volumes()
        raise
    if keep_in_memory is None:
        keep_in_memory = datasets.utils.info_utils.is_small_dataset(builder.info.dataset_size)
    return _with_format(builder.as_dataset(split=split, in_memory=keep_in_memory))


def _is_fetched_first(label_source: str, *, streaming: bool) -> bool:
    """Whether a forced download comes before the builder, and not when it prepares.

    Streaming prepares nothing; and where no checksum is published, the builder asks what the
    archive holds to name its cache.
    """
    known = label_source not in LABEL_SOURCES or archive_for(label_source).md5 is not None
    return streaming or not known


def _with_format(loaded: Any) -> Any:
    """The dataset in our format, or the list of them that a list of splits gives."""
    if isinstance(loaded, list):
        return [_with_format(part) for part in loaded]
    return loaded.with_format(FORMAT)
