"""HDF5: read back by h5py, voxel for voxel."""

import json
import sys

import numpy as np
import pytest
from support.own import write_own
from support.truth import arrays_of, own_arrays

from _platelet_em.errors import MissingExtraError
from _platelet_em.export.run import export

h5py = pytest.importorskip("h5py")


def datasets(file):
    """The datasets of a file by path."""
    found = {"raw": file["raw"]}
    for name, dataset in file.get("labels", {}).items():
        found[f"labels/{name}"] = dataset
    assert {*file} <= {"raw", "labels"}
    return found


def check(folder, truth):
    """Each column of each volume is one dataset, and there is no other."""
    assert {path.name for path in folder.glob("*.h5")} == {f"{name}.h5" for name in truth}
    for name, arrays in truth.items():
        expected = {"raw" if c == "image" else f"labels/{c}": array for c, array in arrays.items()}
        with h5py.File(folder / f"{name}.h5") as file:
            found = datasets(file)
            assert found.keys() == expected.keys()
            for path, array in expected.items():
                np.testing.assert_array_equal(found[path][:], array)
                kept = path in {"raw", "labels/semantic"}
                assert found[path].dtype == (array.dtype if kept else np.uint32)


@pytest.fixture(scope="module", params=["three_archives", "three_volumes"])
def exported(request, tmp_path_factory):
    source = request.getfixturevalue(request.param)
    out = tmp_path_factory.mktemp("hdf5") / "out"
    return export(source, out, to="hdf5", split=["train", "validation", "test"])


def test_each_volume_is_exact(exported, publication, third):
    check(exported, arrays_of(publication, third))


@pytest.mark.parametrize("form", ["stack", "pictures", "multipage"])
def test_each_own_volume_is_exact(tmp_path, form):
    own = write_own(tmp_path / "own", form)
    check(export(own.description, tmp_path / "out", to="hdf5"), own_arrays(own))


def test_large_slices_are_written_one_by_one(tmp_path, monkeypatch):
    monkeypatch.setattr("_platelet_em.export.slabs._SLAB_VOXELS", 1)
    own = write_own(tmp_path / "own", "stack")
    out = export(own.description, tmp_path / "out", to="hdf5")
    check(out, own_arrays(own))
    with h5py.File(out / "unlabeled.h5") as file:
        assert file["raw"].chunks == (1, 24, 20)


def test_chunks_are_not_wider_than_the_volume(tmp_path, monkeypatch):
    monkeypatch.setattr("_platelet_em.export.hdf5._CHUNK_SIDE", 22)
    own = write_own(tmp_path / "own", "stack")
    out = export(own.description, tmp_path / "out", to="hdf5")
    check(out, own_arrays(own))
    with h5py.File(out / "unlabeled.h5") as file:
        assert file["raw"].chunks == (3, 22, 20)


def test_the_voxel_size_is_there_as_readers_know_it(exported):
    with h5py.File(exported / "50.h5") as file:
        for dataset in datasets(file).values():
            assert dataset.attrs["axes"] == "zyx"
            assert dataset.attrs["resolution"].tolist() == [40, 10, 10]
            assert dataset.attrs["element_size_um"].tolist() == [0.04, 0.01, 0.01]


def test_an_unknown_voxel_size_is_left_out(tmp_path):
    own = write_own(tmp_path / "own", "multipage")
    out = export(own.description, tmp_path / "out", to="hdf5")
    with h5py.File(out / "first.h5") as file:
        assert {*file["raw"].attrs} == {"axes"}
    remarks = json.loads((out / "export.json").read_text())["remarks"]
    assert remarks[0] == "the voxel size is not known: it is left out"


def test_classes_have_names(exported):
    with h5py.File(exported / "test.h5") as file:
        names = file["labels/semantic"].attrs["class_names"].tolist()
    assert names == json.loads((exported / "export.json").read_text())["classes"]


def test_every_hdf5_can_decompress_it(exported):
    with h5py.File(exported / "50.h5") as file:
        for dataset in datasets(file).values():
            assert (dataset.compression, dataset.shuffle) == ("gzip", True)
            assert dataset.chunks == (8, 23, 31)


def test_a_file_says_where_it_is_from(exported):
    with h5py.File(exported / "24.h5") as file:
        origin = dict(file.attrs)
    assert (origin["volume"], origin["split"], origin["license"]) == ("24", "validation", "other")


def test_archives_and_their_repository_give_the_same_files(archives, repository, tmp_path):
    first, second = (
        export(source, tmp_path / f"out{i}", to="hdf5")
        for i, source in enumerate((archives, repository))
    )
    for path in first.glob("*.h5"):
        assert path.read_bytes() == (second / path.name).read_bytes()


def test_nothing_is_written_without_h5py(archives, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtraError, match=r"pip install platelet-em\[hdf5\]"):
        export(archives, tmp_path / "out", to="hdf5")
    assert [*tmp_path.iterdir()] == []
