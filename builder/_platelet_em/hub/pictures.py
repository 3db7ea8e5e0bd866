"""Whether the pictures of a repository, on its card and in its rows, show what is in its slices.

They are drawn again and compared by their pixels. Versions of Pillow scale and write a little
differently, so few values may differ, and all may differ a little: another slice differs by far.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _platelet_em.arrays.page import decode_page
from _platelet_em.errors import PlateletEMError
from _platelet_em.files import read_regular
from _platelet_em.hub.card import draw_card_picture
from _platelet_em.hub.layout import data_files, picture_name
from _platelet_em.hub.parquet import explain_damage, open_parquet, read_column
from _platelet_em.hub.problem import Problem
from _platelet_em.hub.read import open_volumes
from _platelet_em.limits import MAX_METADATA
from _platelet_em.progress import progress_bar
from _platelet_em.rows import preview, volumes
from _platelet_em.rows.picture import draw_preview, read_slice
from _platelet_em.spec import DatasetSpec

__all__ = ["check_card_pictures", "check_previews"]

_CLOSE = 24
"""Levels of 255 by which a value may differ."""

_FEW = 0.01
"""Share of values that may differ by more."""


def check_card_pictures(folder: Path, spec: DatasetSpec) -> Iterator[Problem]:
    """Pictures of the card that show something else than the middle slices of its volumes."""
    for volume in spec.pictured_volumes:
        path = folder / picture_name(volume)
        wanted = f"a picture of the middle slice of volume {volume.name}"
        try:
            right = draw_card_picture(folder, volume, spec)
            found = read_regular(path, MAX_METADATA)
            if not _look_alike(right, decode_page(found)):
                yield Problem(
                    check="picture", file=str(path), expected=wanted, found="another picture"
                )
        except PlateletEMError as error:
            yield Problem(check="picture", file=str(path), error=error)


def check_previews(folder: Path, spec: DatasetSpec) -> Iterator[Problem]:
    """Rows whose preview shows something else than their slice; the data files must be intact."""
    for split, named in spec.splits.items():
        rows = {
            config: _read_previews(folder, config, split)
            for config in (preview.CONFIG.name, volumes.CONFIG.name)
        }
        stage = f"Checking previews of {split}"
        try:
            opened = open_volumes(folder, replace(spec, volumes=named))
            for _, view in progress_bar(opened, stage=stage, unit="volume", total=len(named)):
                for z in range(view.shape[0]):
                    right = draw_preview(read_slice(view, z), spec)
                    yield from _compare_next(rows[preview.CONFIG.name], right)
                    if z == view.shape[0] // 2 and volumes.CONFIG.count_parts(view.shape):
                        yield from _compare_next(rows[volumes.CONFIG.name], right)
        except PlateletEMError as error:
            yield Problem(check="previews", file=str(folder), error=error)


def _read_previews(
    folder: Path, config: str, split: str
) -> Iterator[tuple[Path, int, dict[str, Any] | None]]:
    """File, row and preview of each row of a split."""
    for path in data_files(folder, config, split):
        with explain_damage(path), open_parquet(path) as file:
            cells = read_column(file, "preview").to_pylist()
        for row, cell in enumerate(cells):
            yield path, row, cell


def _compare_next(
    rows: Iterator[tuple[Path, int, dict[str, Any] | None]], right: NDArray[Any]
) -> Iterator[Problem]:
    """Compare the preview of the next row, if there is one, with what it should show."""
    if (place := next(rows, None)) is None:
        return
    path, row, cell = place
    try:
        found = decode_page((cell or {}).get("bytes") or b"", f"{path}: row {row}: preview")
    except PlateletEMError as error:
        yield Problem(check="previews", file=str(path), error=error)
        return
    if not _look_alike(right, found):
        yield Problem(
            check="previews",
            file=str(path),
            place={"row": row, "column": "preview"},
            expected="a picture of its slice",
            found="another picture",
        )


def _look_alike(right: NDArray[Any], found: NDArray[Any]) -> bool:
    if right.shape != found.shape or right.dtype != found.dtype:
        return False
    far = np.abs(right.astype(np.int16) - found.astype(np.int16)) > _CLOSE
    return float(far.mean()) <= _FEW
