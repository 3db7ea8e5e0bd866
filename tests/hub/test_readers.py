"""The built files in pandas, Polars and DuckDB: the same rows in each, also without instances."""

import io
import json
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pytest
from PIL import Image
from skimage.measure import regionprops
from support import publisher
from support.clients import publish
from support.programs import PROGRAMS

from _platelet_em.hub.build import build

VOLUMES = {"train": "50", "validation": "24"}
KINDS = {"cells": "cell", "organelles": "organelle"}


def simple(value):
    """A value as Python's own lists, dictionaries and numbers: pandas gives arrays in arrays."""
    if isinstance(value, dict):
        return {key: simple(part) for key, part in value.items()}
    if isinstance(value, list | np.ndarray):
        return [simple(part) for part in value]
    return value.item() if isinstance(value, np.generic) else value


def read_pandas(pattern):
    folder, name = pattern.rsplit("/", 1)
    files = sorted(Path(folder).glob(name))
    return pd.concat(map(pd.read_parquet, files)).to_dict("records")


def read_pandas_folder(pattern):
    folder, name = pattern.rsplit("/", 1)
    volume = VOLUMES[name.split("-")[0]]
    return pd.read_parquet(folder, filters=[("volume", "==", volume)]).to_dict("records")


def read_polars(pattern):
    return pl.read_parquet(pattern).to_dicts()


def scan_polars(pattern):
    return pl.scan_parquet(pattern).collect().to_dicts()


def read_duckdb(pattern):
    with duckdb.connect() as database:
        found = database.sql(f"SELECT * FROM read_parquet('{pattern}')")
        return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]


READERS = [read_pandas, read_pandas_folder, read_polars, scan_polars, read_duckdb]


@pytest.fixture(params=READERS, ids=lambda reader: reader.__name__)
def read(request):
    """Rows of a split of a configuration, in the order in which they are read."""

    def rows(folder, config, split):
        return [simple(row) for row in request.param(f"{folder}/{config}/{split}-*.parquet")]

    return rows


@pytest.fixture(scope="module")
def hollow():
    """A publication whose second volume has images and no instances."""
    publication = publisher.publication(seed=3, depth=3)
    volume = publication.volumes["24"]
    for labels in (volume.semantic, volume.cell, volume.organelle):
        labels[:] = 0
    return publication


@pytest.fixture(scope="module")
def hollow_repository(hollow, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hollow")
    return build(folder / "repo", data_dir=hollow.zip(folder / "labels_json.zip", "json"))


def decode(labels):
    mask = np.zeros(np.prod(labels["shape"]), int)
    for label, rle in zip(labels["id"], labels["rle"], strict=True):
        for start, length in np.array(rle.split(), int).reshape(-1, 2):
            mask[start - 1 : start - 1 + length] = label
    return mask.reshape(labels["shape"])


def check_labels(labels, truth):
    regions = regionprops(truth)
    assert labels["shape"] == list(truth.shape)
    assert labels["id"] == [region.label for region in regions]
    assert labels["area"] == [region.area for region in regions]
    assert labels["bbox"] == [list(region.bbox) for region in regions]
    assert np.array_equal(decode(labels), truth)
    assert {len(v) for k, v in labels.items() if k != "shape"} == {len(regions)}


def check_slices(rows, truth, volume):
    assert [row["z"] for row in rows] == list(range(len(truth.images)))
    for z, row in enumerate(rows):
        assert row["volume"] == volume
        for column, pixels in (("image", truth.images[z]), ("semantic", truth.semantic[z])):
            with Image.open(io.BytesIO(row[column]["bytes"])) as picture:
                assert np.array_equal(np.asarray(picture), pixels)
        for column, kind in KINDS.items():
            expected = getattr(truth, kind)[z]
            check_labels(row[column], expected)
            assert row[f"n_{column}"] == len(np.unique(expected[expected > 0]))
        organelles = row["organelles"]
        for label, class_id, purity in zip(
            *(organelles[name] for name in ("id", "class_id", "purity")), strict=True
        ):
            votes = np.bincount(truth.semantic[truth.organelle == label], minlength=7)
            if votes[2:].any():
                assert class_id == 2 + votes[2:].argmax()
                assert purity == pytest.approx(votes[class_id] / votes.sum(), rel=1e-6)


@pytest.mark.parametrize("split", VOLUMES)
def test_slices_are_the_truth(read, repository, publication, split):
    volume = VOLUMES[split]
    check_slices(read(repository, "slices", split), publication.volumes[volume], volume)


@pytest.mark.parametrize("split", VOLUMES)
def test_a_volume_without_instances(read, hollow_repository, hollow, split):
    volume = VOLUMES[split]
    rows = read(hollow_repository, "slices", split)
    check_slices(rows, hollow.volumes[volume], volume)
    [row] = read(hollow_repository, "volumes", split)
    for column, kind in KINDS.items():
        check_labels(row[column], getattr(hollow.volumes[volume], kind))


@pytest.mark.parametrize("split", VOLUMES)
def test_volumes_and_previews(read, repository, publication, split):
    truth = publication.volumes[VOLUMES[split]]
    [row] = read(repository, "volumes", split)
    assert row["shape"] == list(truth.images.shape)
    assert row["voxel_size_nm"] == [40, 10, 10]
    assert len(row["image"]) == len(row["semantic"]) == len(truth.images)
    for column, kind in KINDS.items():
        check_labels(row[column], getattr(truth, kind))
    previews = read(repository, "preview", split)
    assert [preview["z"] for preview in previews] == list(range(len(truth.images)))


def test_all_readers_give_the_same_rows_and_image_bytes(repository):
    for config in ("slices", "volumes", "preview"):
        for split in VOLUMES:
            pattern = f"{repository}/{config}/{split}-*.parquet"
            first, *others = ([simple(row) for row in reader(pattern)] for reader in READERS)
            assert all(rows == first for rows in others)


@pytest.mark.parametrize("column", KINDS)
def test_exploded_rows_are_one_per_instance(repository, publication, column):
    kind = KINDS[column]
    expected = [
        (volume, z, region.label, region.area)
        for volume, truth in publication.volumes.items()
        for z, labels in enumerate(getattr(truth, kind))
        for region in regionprops(labels)
    ]
    pattern = f"{repository}/slices/*.parquet"
    with duckdb.connect() as database:
        found = database.sql(
            f"SELECT volume, z, unnest({column}.id), unnest({column}.area) FROM '{pattern}'"
        )
        assert sorted(found.fetchall()) == sorted(expected)
    names = ["id", "area"]
    rows = pl.scan_parquet(pattern).select("volume", "z", pl.col(column).struct.field(*names))
    # Polars and pandas keep a row of nulls where there is no instance.
    apart = rows.explode(names).drop_nulls().select("volume", "z", *names).collect()
    assert sorted(apart.rows()) == sorted(expected)
    frame = pd.read_parquet(
        repository / "slices", columns=["volume", "z", f"{column}.id", f"{column}.area"]
    )
    apart = frame.explode(names).dropna()
    assert sorted(apart.itertuples(index=False, name=None)) == sorted(expected)


def test_pandas_reads_from_the_hub(hub, without_us, repository, publication):
    publish(hub, "user/platelet-em", repository)
    found = json.loads(" ".join(without_us(PROGRAMS / "read_with_pandas.py")))
    expected = [
        [volume, z, int((labels > 0).sum())]
        for volume, truth in publication.volumes.items()
        for z, labels in enumerate(truth.cell)
    ]
    assert sorted(found) == sorted(expected)
