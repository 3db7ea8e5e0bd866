"""`load_dataset`: rows made from archives or own files, in the format `"platelet_em"`."""

import re
from pathlib import Path
from typing import Any

import datasets

from _platelet_em.errors import PlateletEMError
from _platelet_em.facts import LABEL_SOURCES, PUBLISHED
from _platelet_em.files import needs_room
from _platelet_em.hf.builder import PlateletEM
from _platelet_em.hf.formatter import FORMAT
from _platelet_em.publisher.cache import obtain, published_md5s
from _platelet_em.spec import DatasetSpec

__all__ = ["load_dataset"]

_TEST = "test"


def load_dataset(
    name: str = "slices",
    *,
    split: Any = None,
    label_source: str = "json",
    data_dir: str | Path | None = None,
    streaming: bool = False,
    num_proc: int | None = None,
    cache_dir: str | Path | None = None,
    with_test: bool = False,
    description: str | Path | None = None,
    features: datasets.Features | None = None,
    download_config: datasets.DownloadConfig | None = None,
    download_mode: datasets.DownloadMode | str | None = None,
    verification_mode: datasets.VerificationMode | str | None = None,
    keep_in_memory: bool | None = None,
    save_infos: bool = False,
    token: bool | str | None = None,
    storage_options: dict[str, Any] | None = None,
) -> Any:
    """Load the publisher's archives, or own volumes, in the format `"platelet_em"`.

    Keywords and return types are those of `datasets.load_dataset`.

    Args:
        name: "slices", one row per slice; "volumes", one row per volume; "instances", one row per
            cell or organelle, without masks; "preview", small pictures.
        split: "train" (volume 50), "validation" (volume 24), "test" (the paper's third volume),
            an expression such as "train[:10]", or None for a dictionary of the splits.
        label_source: "json", the true ids, or "tif", the RGBA labels.
        data_dir: A zip of the publisher, an extracted folder, or a folder with the zips; None
            downloads the archive of that label source, once.
        streaming: Whether to make rows when they are read instead of preparing them all; the
            archive is fetched first in both cases.
        num_proc: Processes that prepare the dataset.
        cache_dir: Where downloads and prepared datasets go.
        with_test: Whether to add the split "test", whose archive is looked for in `data_dir`, or
            else downloaded. It has classes, and None instead of instances. A `split` that names
            "test" asks for it, too.
        description: The description of the user's own volumes, in place of the published ones: the
            path of its file. Then `label_source`, `data_dir` and `with_test` are left out, splits
            are those of the description, and label columns are called after its instances.
        features: As in `datasets.load_dataset`.
        download_config: As in `datasets.load_dataset`; only its `force_download` is used.
        download_mode: As in `datasets.load_dataset`; "force_redownload" fetches the archive again.
        verification_mode: As in `datasets.load_dataset`.
        keep_in_memory: As in `datasets.load_dataset`.
        save_infos: As in `datasets.load_dataset`.
        token: As in `datasets.load_dataset`.
        storage_options: As in `datasets.load_dataset`.

    Returns:
        Dataset or DatasetDict, with `streaming` IterableDataset or IterableDatasetDict.

    Raises:
        PlateletEMError: for archives that cannot be fetched, are damaged, or lack files.
        NotImplementedError: for `num_proc` with `streaming`, as in `datasets.load_dataset`.

    >>> import platelet_em, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> _ = platelet_em.write_sample(folder.name, depth=2, size=64)
    >>> ds = platelet_em.load_dataset(data_dir=folder.name, split="train", streaming=True)
    >>> row = next(iter(ds))
    >>> row["image"].shape, row["cells"].shape
    ((64, 64), (64, 64))
    >>> folder.cleanup()
    """
    if streaming and num_proc is not None:
        raise NotImplementedError(
            "streaming makes rows when they are read: use DataLoader workers, not num_proc"
        )
    mode = datasets.DownloadMode(download_mode or datasets.DownloadMode.REUSE_DATASET_IF_EXISTS)
    checks = datasets.VerificationMode.ALL_CHECKS if save_infos else verification_mode
    if description is None:
        with_test = with_test or _names_split(split, _TEST)
        spec = PUBLISHED.with_optional() if with_test else PUBLISHED
        if mode == datasets.DownloadMode.FORCE_REDOWNLOAD and _is_fetched_first(
            spec, label_source, streaming=streaming
        ):
            obtain(spec, label_source, data_dir, cache_dir, force=True)
    builder = PlateletEM(
        cache_dir=cache_dir,
        config_name=name,
        label_source=label_source,
        data_dir=data_dir,
        with_test=with_test,
        description=description,
        features=features,
        token=token,
        storage_options=storage_options,
    )
    if streaming:
        return _with_format(builder.as_streaming_dataset(split=split))
    _prepare(
        builder,
        download_config=download_config,
        download_mode=mode,
        verification_mode=checks,
        num_proc=num_proc,
        storage_options=storage_options,
    )
    if keep_in_memory is None:
        keep_in_memory = datasets.utils.info_utils.is_small_dataset(builder.info.dataset_size)
    return _with_format(builder.as_dataset(split=split, in_memory=keep_in_memory))


def _prepare(builder: PlateletEM, *, num_proc: int | None, **options: Any) -> None:
    """Make the rows of all splits, unless they are in the cache; errors are those of the files."""
    try:
        builder.download_and_prepare(num_proc=num_proc, **options)
    except datasets.exceptions.DatasetGenerationError as error:
        # The cause is clearer than the error in which datasets wraps it.
        if isinstance(error.__cause__, PlateletEMError):
            raise error.__cause__ from None
        if isinstance(error.__cause__, OSError):
            with needs_room(builder.cache_dir):
                raise error.__cause__ from None
        # Errors of worker processes have no cause.
        if num_proc is not None:
            builder.check_volumes()
        raise


def _names_split(split: Any, name: str) -> bool:
    """Whether a `split` of `load_dataset` names a split, alone or in an expression.

    >>> _names_split("train[:10]+test", "test"), _names_split(["train", "validation"], "test")
    (True, False)
    """
    if isinstance(split, (list, tuple)):
        return any(_names_split(part, name) for part in split)
    if split is None:
        return False
    return name in re.findall(r"\w+", re.sub(r"\[[^\]]*\]", "", str(split)))


def _is_fetched_first(spec: DatasetSpec, label_source: str, *, streaming: bool) -> bool:
    """Whether a forced download has to happen before the builder is created.

    Streaming prepares nothing; and where no checksum is published, the builder names its cache
    after the content of the archive.
    """
    has_checksum = label_source not in LABEL_SOURCES or None not in published_md5s(
        spec, label_source
    )
    return streaming or not has_checksum


def _with_format(loaded: Any) -> Any:
    """The dataset in the format, or the datasets that a list or tuple of splits gives."""
    if isinstance(loaded, (list, tuple)):
        return type(loaded)(_with_format(part) for part in loaded)
    return loaded.with_format(FORMAT)
