"""The layers for napari, without napari: voxels, scale, colors, features, and what is read."""

import gc
import logging
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from support.own import write_own
from support.truth import arrays_of, own_arrays

import platelet_em
from _platelet_em.export import napari_layers
from _platelet_em.export.napari_layers import read_layers
from _platelet_em.facts import PUBLISHED


def by_name(layers):
    return {arguments["name"]: (data, arguments, kind) for data, arguments, kind in layers}


def check(layers, truth):
    found = by_name(layers)
    assert [*found] == [f"{name} {column}" for name, arrays in truth.items() for column in arrays]
    for name, arrays in truth.items():
        for column, array in arrays.items():
            data, _, kind = found[f"{name} {column}"]
            assert kind == ("image" if column == "image" else "labels")
            assert not isinstance(data, np.ndarray)
            np.testing.assert_array_equal(np.asarray(data), array)
            assert data.shape == array.shape


@pytest.mark.parametrize("source", ["three_archives", "three_volumes"])
def test_layers_have_the_voxels(source, publication, third, request):
    truth = arrays_of(publication, third)
    if source == "three_archives":
        del truth["test"]  # an archive that nobody asked for
    check(read_layers(str(request.getfixturevalue(source))), truth)


def test_an_archive_of_colors_alone_is_read(archives, publication, tmp_path):
    (tmp_path / "rgba.zip").symlink_to(archives / "images_and_labels_rgba.zip")
    found = by_name(read_layers(str(tmp_path / "rgba.zip")))
    image = publication.volumes["50"].images
    np.testing.assert_array_equal(np.asarray(found["50 image"][0]), image)
    dense = publication.volumes["50"].cell
    assert ((np.asarray(found["50 cells"][0]) > 0) == (dense > 0)).all()


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(platelet_em.MissingMemberError, match=r"50-images\.tif"):
        read_layers(str(tmp_path))


def test_of_a_repository_without_a_shard_it_is_said_what_is_missing(repository, tmp_path):
    copied = shutil.copytree(repository, tmp_path / "copied")
    (copied / "slices" / "train-00003-of-00008.parquet").unlink()
    with pytest.raises(platelet_em.MissingMemberError, match="volume 50: expected rows of all"):
        read_layers(str(copied))


def test_only_image_and_classes_of_the_first_volume_are_visible(repository):
    visible = [name for name, layer in by_name(read_layers(str(repository))).items()
               if layer[1]["visible"]]  # fmt: skip
    assert visible == ["50 image", "50 semantic"]


def test_the_scale_is_in_nanometers(repository):
    for _, arguments, _ in read_layers(str(repository)):
        assert arguments["scale"] == (40, 10, 10)
        assert arguments["units"] == ("nm", "nm", "nm")
        assert arguments["axis_labels"] == ("z", "y", "x")


def test_classes_have_their_names_and_colors(repository):
    _, arguments, _ = by_name(read_layers(str(repository)))["50 semantic"]
    assert arguments["features"]["class"] == list(PUBLISHED.class_names)
    assert [*arguments["features"]["index"]] == [*range(7)]
    colors = arguments["colormap"]
    assert colors[0] == colors[None] == (0, 0, 0, 0)
    for index, each in enumerate(PUBLISHED.classes[1:], 1):
        assert colors[index] == (*(np.array(each.accessible) / 255), 1)


def test_objects_have_class_parent_and_size_as_features(archives, publication):
    data, arguments, _ = by_name(read_layers(str(archives)))["50 organelles"]
    features, volume = arguments["features"], publication.volumes["50"]
    assert [*features] == ["index", "class", "voxels", "purity", "cell"]
    assert features["index"].tolist() == np.unique(volume.organelle)[1:].tolist()
    for i, id_ in enumerate(features["index"].tolist()):
        mask = volume.organelle == id_
        assert features["voxels"][i] == mask.sum()
        classes = np.bincount(volume.semantic[mask], minlength=7)[2:]
        expected = PUBLISHED.class_names[classes.argmax() + 2] if classes.any() else "background"
        assert features["class"][i] == expected
    assert {*data.ids.tolist()} < {*arguments["colormap"]}


def test_many_objects_get_the_colors_of_napari(repository, monkeypatch):
    monkeypatch.setattr("_platelet_em.export.napari_layers._MAX_COLORED", 3)
    assert "colormap" not in by_name(read_layers(str(repository)))["50 organelles"][1]


@pytest.mark.parametrize("form", ["stack", "multipage"])
def test_own_volumes_are_layers(form, tmp_path):
    own = write_own(tmp_path, form)
    layers = read_layers(str(own.description))
    check(layers, own_arrays(own) if form == "multipage" else _semantic_second(own_arrays(own)))
    assert ("scale" in layers[0][1]) == (form == "stack")


def _semantic_second(truth):
    order = ("image", "semantic", "mitochondria")
    return {name: {key: arrays[key] for key in order if key in arrays}
            for name, arrays in truth.items()}  # fmt: skip


def test_of_many_volumes_the_first_are_opened_and_it_is_said(tmp_path, caplog):
    own = write_own(tmp_path, "pictures", count=6)
    with caplog.at_level(logging.WARNING):
        layers = read_layers(str(own.description))
    assert len({arguments["name"].rpartition(" ")[0] for _, arguments, _ in layers}) == 4
    assert "has 2 more volumes, which are not opened" in caplog.text


def test_files_are_closed_with_the_last_layer(archives, monkeypatch):
    closed = []
    close = "_platelet_em.publisher.volume.ArchiveVolume.close"
    monkeypatch.setattr(close, lambda self: (closed.append(self.name), self._close()))
    layers = read_layers(str(archives))
    image = layers[0][0]
    del layers
    gc.collect()
    assert closed == ["24"]
    assert image[0].any()
    del image
    gc.collect()
    assert closed == ["24", "50"]


@pytest.mark.parametrize("gray", [0, 7, 65535])
def test_the_contrast_is_that_of_the_middle_slice_and_never_empty(gray):
    stack = np.random.default_rng(0).integers(0, 65536, (4, 30, 30)).astype(np.uint16)
    view = SimpleNamespace(shape=stack.shape, image=lambda z: stack[z])
    expected = np.percentile(stack[2], [0.5, 99.5])
    assert napari_layers._find_contrast(view) == pytest.approx(tuple(expected))
    stack[2] = gray
    assert napari_layers._find_contrast(view) == (gray, gray + 1)
