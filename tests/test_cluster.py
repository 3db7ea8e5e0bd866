"""The examples for clusters: tasks get names, not arrays; results are those of one process."""

import contextlib
import importlib.util
import pickletools
import socket
import sys
from dataclasses import replace
from pathlib import Path

import cloudpickle
import dask
import dask.array as da
import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import ndimage
from skimage.measure import regionprops
from support.clients import run_with_us

from platelet_em import ColumnReference

EXAMPLES = Path(__file__).parents[1] / "examples"
PAGE = (Path(__file__).parents[1] / "docs" / "cluster.md").read_text("utf-8")
DASHBOARD = 8787
"""The port that dask takes by default."""
COLUMNS = ("cells", "organelles")
KINDS = {"cells": "cell", "organelles": "organelle"}


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def statistics():
    return load("cluster_statistics")


@pytest.fixture(scope="module")
def inference():
    return load("cluster_inference")


@pytest.fixture(scope="module")
def scheduler(statistics):
    """Address of a cluster of two processes."""
    from dask.distributed import LocalCluster

    with socket.socket() as taken:
        with contextlib.suppress(OSError):  # another cluster of this machine has it
            taken.bind(("127.0.0.1", DASHBOARD))
            taken.listen()
        with LocalCluster(**statistics.LOCAL) as cluster:
            cluster.wait_for_workers(2)
            yield cluster.scheduler_address


def run(module, monkeypatch, capsys, *arguments):
    """What an example prints as a program."""
    monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, arguments)])
    module.main()
    return capsys.readouterr().out


def graph_of(*collections):
    """The task graph as it is sent to the workers."""
    graphs = [dict(each.__dask_graph__()) for each in dask.optimize(*collections)]
    return cloudpickle.dumps(graphs)


def has_arrays(pickled):
    """Whether NumPy arrays or Arrow buffers are in what was pickled."""
    names = {str(value) for _, value, _ in pickletools.genops(pickled)}
    return bool(names & {"_reconstruct", "_frombuffer", "py_buffer", "LazyLabels", "LazyStack"})


# --- statistics -------------------------------------------------------------------------------


def test_the_objects_of_the_cluster_are_those_of_one_process(
    statistics, scheduler, repository, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "objects.parquet"
    printed = run(statistics, monkeypatch, capsys, repository, out, "--scheduler", scheduler)
    found = pq.read_table(out)
    assert printed == f"{len(found)} objects, 4 tasks, 2 processes\n"
    references = statistics.find_labels(repository, ["train", "validation"], COLUMNS)
    assert found.equals(pa.concat_tables(map(statistics.measure, references)))


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize(("split", "volume"), [("train", "50"), ("validation", "24")])
def test_the_objects_are_those_of_scikit_image(
    statistics, repository, publication, split, volume, column
):
    (reference,) = ColumnReference.of(repository, "volumes", split, column)
    found = statistics.measure(reference).to_pylist()
    truth = publication.volumes[volume]
    regions = regionprops(getattr(truth, KINDS[column]), intensity_image=truth.images)
    assert len(regions) > 1
    for row, region in zip(found, regions, strict=True):
        assert (row["volume"], row["column"], row["id"]) == (volume, column, region.label)
        assert row["voxels"] == region.area
        names = ("z_start", "y_start", "x_start", "z_stop", "y_stop", "x_stop")
        assert tuple(row[name] for name in names) == region.bbox
        assert row["mean_gray"] == pytest.approx(region.intensity_mean, rel=1e-12)


def test_the_objects_are_those_of_one_line_of_sql(statistics, repository):
    references = statistics.find_labels(repository, ["train", "validation"], COLUMNS)
    objects = pa.concat_tables(map(statistics.measure, references))
    line = f"""
        SELECT volume, kind || 's' AS "column", id, if(kind = 'cell', NULL, class_id) AS class_id,
               voxels, z_min AS z_start, y_min AS y_start, x_min AS x_start,
               z_max + 1 AS z_stop, y_max + 1 AS y_stop, x_max + 1 AS x_stop
        FROM '{repository}/instances/*.parquet' ORDER BY volume DESC, kind, id
    """
    expected = duckdb.sql(line).fetchall()
    found = objects.drop_columns("mean_gray").to_pylist()
    assert [tuple(row.values()) for row in found] == expected
    assert len(expected) > 10


def test_no_array_is_in_the_graph(statistics, repository):
    references = statistics.find_labels(repository, ["train", "validation"], COLUMNS)
    pickled = graph_of(*(dask.delayed(statistics.measure)(r) for r in references))
    assert len(pickled) < 8000
    assert not has_arrays(pickled)
    assert has_arrays(graph_of(*(dask.delayed(statistics.measure)(r.open()) for r in references)))


# --- inference --------------------------------------------------------------------------------


def local_mean(image, radius):
    """What the model predicts, by SciPy."""
    box = np.ones([2 * r + 1 for r in radius], np.int64)
    total = ndimage.correlate(image.astype(np.int64), box, mode="constant")
    return (total // box.size).astype(image.dtype)


def test_tiles_of_the_cluster_are_stitched_exactly(
    inference, scheduler, repository, publication, tmp_path, monkeypatch, capsys
):
    options = ["--tile", 4, 13, 20, "--scheduler", scheduler]
    printed = run(inference, monkeypatch, capsys, repository, tmp_path / "out", *options)
    for name, volume in publication.volumes.items():
        found = da.from_npy_stack(tmp_path / "out" / name).compute()
        assert f"volume {name}: " in printed
        assert found.dtype == volume.images.dtype
        assert np.array_equal(found, local_mean(volume.images, inference.RADIUS))


@pytest.mark.parametrize("tile", [(1, 5, 5), (2, 7, 16), (3, 100, 9), (100, 100, 100)])
def test_the_tiles_make_no_difference(inference, repository, publication, tile):
    (reference,) = ColumnReference.of(repository, "volumes", "train", "image")
    found = inference.infer(reference, tile).compute(scheduler="synchronous")
    expected = local_mean(publication.volumes["50"].images, inference.RADIUS)
    assert np.array_equal(found, expected)
    assert np.array_equal(inference.predict(np.asarray(reference)), expected)


def test_less_overlap_is_not_exact(inference, repository, monkeypatch):
    (reference,) = ColumnReference.of(repository, "volumes", "train", "image")
    whole = inference.predict(np.asarray(reference))
    image = da.from_array(reference, chunks=(4, 13, 20))
    for depth in [(0, 4, 4), (1, 3, 4), (1, 4, 3)]:
        found = image.map_overlap(inference.predict, depth=depth, boundary="none", dtype="u2")
        assert not np.array_equal(found.compute(scheduler="synchronous"), whole)


def test_no_array_is_in_the_graph_of_tiles(inference, repository):
    (reference,) = ColumnReference.of(repository, "volumes", "train", "image")
    pickled = graph_of(inference.infer(reference, (4, 13, 20)))
    assert not has_arrays(pickled)
    assert has_arrays(graph_of(da.from_array(reference.open(), chunks=(4, 13, 20))))
    assert has_arrays(graph_of(da.from_array(replace(reference, column="cells").open())))


# --- as programs ------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "out", "expected"),
    [
        ("statistics", "objects.parquet", "4 tasks, 2 processes\n"),
        ("inference", "predictions", "volume 24: 1 tiles, (4, 23, 31)\n"),
    ],
)
def test_examples_start_a_cluster_of_their_own(name, out, expected, repository, tmp_path):
    program = EXAMPLES / f"cluster_{name}.py"
    assert run_with_us(program, repository, tmp_path / out).endswith(expected)
    assert (tmp_path / out).exists()


# --- the page ---------------------------------------------------------------------------------


def test_the_page_shows_the_code_of_the_examples():
    for name, function in (
        ("statistics", "measure"),
        ("inference", "predict"),
        ("inference", "infer"),
    ):
        text = (EXAMPLES / f"cluster_{name}.py").read_text("utf-8")
        code = text[text.index(f"def {function}(") :].split("\n\n\n")[0]
        assert code in PAGE
