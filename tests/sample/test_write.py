"""The synthetic archives have the publisher's layout and the labels of the scene."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
from support import publisher

from _platelet_em.commands.cli import main
from _platelet_em.errors import ArgumentError, OutputError
from _platelet_em.sample import write as sample
from _platelet_em.sample.anatomy import FIRST, SECOND
from _platelet_em.sample.scene import Scene
from _platelet_em.sample.write import write_sample

DEPTH, SIZE = 7, 64
KINDS = ["semantic", "cell", "organelle"]
NAMES = {"json": "images_and_labels_json.zip", "tif": "images_and_labels_rgba.zip"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("sample") / "new" / "folder"
    write_sample(path, depth=DEPTH, size=SIZE)
    return path


def members(folder, source):
    with zipfile.ZipFile(folder / NAMES[source]) as archive:
        assert archive.testzip() is None
        return {info.filename: archive.read(info) for info in archive.infolist()}


def path_of(kind, volume, source):
    path = publisher.FILES[kind].format(volume)
    return f"platelet-em/{path}" if kind == "images" else f"platelet-em/{path}.{source}"


@pytest.fixture(scope="module", params=["50", "24"])
def volume(request):
    return request.param


@pytest.fixture(scope="module")
def truth(folder, volume):
    """Images and labels of a volume: its JSON archive, read by the publisher's own decoder."""
    files = members(folder, "json")
    labels = {k: publisher.decode(json.loads(files[path_of(k, volume, "json")])) for k in KINDS}
    images = tifffile.imread(io.BytesIO(files[path_of("images", volume, "json")]))
    return {"images": images, **labels}


@pytest.fixture(scope="module")
def colors(folder, volume):
    """The label TIFs of a volume, from the RGBA archive."""
    files = members(folder, "tif")
    return {k: tifffile.imread(io.BytesIO(files[path_of(k, volume, "tif")])) for k in KINDS}


def test_the_paths_of_both_archives_are_returned(tmp_path):
    found = write_sample(str(tmp_path), depth=1, size=8)
    assert found == [tmp_path / NAMES["json"], tmp_path / NAMES["tif"]]
    assert sorted(tmp_path.iterdir()) == sorted(found)


@pytest.mark.parametrize("source", NAMES)
def test_members_have_the_publishers_paths(source, folder):
    expected = {
        path_of(kind, volume, source) for volume in ("50", "24") for kind in ["images", *KINDS]
    }
    assert set(members(folder, source)) == expected
    assert expected >= {
        "platelet-em/images/24-images.tif",
        f"platelet-em/labels-semantic/50-semantic.{source}",
        f"platelet-em/labels-instance/24-instance-organelle.{source}",
    }


@pytest.mark.parametrize(("depth", "validation"), [(1, 1), (2, 1), (5, 2), (12, 5), (25, 12)])
def test_depths_are_in_the_published_ratio(depth, validation, tmp_path):
    write_sample(tmp_path, depth=depth, size=9)
    files = members(tmp_path, "json")
    for volume, expected in (("50", depth), ("24", validation)):
        with tifffile.TiffFile(io.BytesIO(files[path_of("images", volume, "json")])) as file:
            assert len(file.pages) == expected
            assert {page.shape for page in file.pages} == {(9, 9)}
        info = json.loads(files[path_of("cell", volume, "json")])[".info"]
        assert info["shape"] == [expected, 9, 9]


def test_both_archives_have_the_same_uint16_images(folder, volume, truth):
    name = path_of("images", volume, "json")
    assert truth["images"].dtype == np.uint16
    assert np.ptp(truth["images"]) > 30_000
    assert members(folder, "tif")[name] == members(folder, "json")[name]


def test_classes_have_the_colors_of_the_publishers_writer(truth, colors):
    np.testing.assert_array_equal(
        colors["semantic"], publisher.rgba(truth["semantic"], publisher.JET)
    )


@pytest.mark.parametrize("kind", ["cell", "organelle"])
def test_ids_and_colors_are_the_same_partition(kind, truth, colors, same_partition):
    rgba = colors[kind]
    assert rgba.dtype == np.uint8
    assert set(np.unique(rgba[..., 3])) == {0, 255}
    np.testing.assert_array_equal(rgba[..., 3] > 0, truth[kind] > 0)
    codes = rgba[..., :3].astype(int) @ [2**16, 2**8, 1]
    assert same_partition(codes, truth[kind])


def test_every_class_is_in_a_cell_and_every_organelle_class_in_an_organelle(truth):
    np.testing.assert_array_equal(truth["cell"] > 0, truth["semantic"] > 0)
    np.testing.assert_array_equal(truth["organelle"] > 0, truth["semantic"] >= 2)
    assert truth["semantic"].max() <= 6


@pytest.mark.parametrize("kind", ["cell", "organelle"])
def test_ids_count_from_one(kind, truth):
    present = np.unique(truth[kind])
    assert present.tolist() == list(range(len(present)))
    assert len(present) > 2


def test_json_labels_are_those_of_the_publishers_encoder(folder, volume, truth):
    files = members(folder, "json")
    for kind in KINDS:
        assert json.loads(files[path_of(kind, volume, "json")]) == publisher.encode(truth[kind])


def test_the_labels_are_those_of_the_scene(truth, volume):
    index = ["50", "24"].index(volume)
    scene = Scene(truth["images"].shape, index, (FIRST, SECOND)[index])
    for z in range(scene.shape[0]):
        drawn = scene.slice(z)
        np.testing.assert_array_equal(truth["images"][z], drawn.image)
        np.testing.assert_array_equal(truth["semantic"][z], drawn.semantic)
        np.testing.assert_array_equal(truth["cell"][z], drawn.cells)
        np.testing.assert_array_equal(truth["organelle"][z], drawn.organelles)


def read_all(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def test_the_same_arguments_give_the_same_bytes(folder, tmp_path):
    write_sample(tmp_path, depth=DEPTH, size=SIZE, seed=0)
    assert read_all(tmp_path) == read_all(folder)


def test_members_have_a_fixed_time_and_fixed_permissions(folder):
    for name in NAMES.values():
        with zipfile.ZipFile(folder / name) as archive:
            for info in archive.infolist():
                assert info.date_time == (1980, 1, 1, 0, 0, 0)
                assert info.external_attr >> 16 == 0o644
                is_image = info.filename.endswith("-images.tif")
                assert info.compress_type == (
                    zipfile.ZIP_STORED if is_image else zipfile.ZIP_DEFLATED
                )


def test_another_seed_is_another_scene_and_so_is_the_other_volume(tmp_path):
    images = set()
    for seed in (0, 1, 2):
        write_sample(tmp_path / str(seed), depth=1, size=16, seed=seed)
        files = members(tmp_path / str(seed), "json")
        images |= {files[path_of("images", volume, "json")] for volume in ("50", "24")}
    assert len(images) == 6


@pytest.mark.parametrize(
    ("name", "value", "least"),
    [("depth", 0, 1), ("depth", -1, 1), ("size", 0, 1), ("seed", -1, 0)],
)
def test_a_sample_without_voxels_is_refused(name, value, least, tmp_path):
    message = (
        rf"^{name} \(on the command line, --{name}\): expected at least {least}, got {value}$"
    )
    with pytest.raises(ArgumentError, match=message):
        write_sample(tmp_path / "new", **{"depth": 8, "size": 8, "seed": 0, name: value})
    assert list(tmp_path.iterdir()) == []


def test_an_archive_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match=r"file/images_and_labels_json\.zip: cannot be written"):
        write_sample(tmp_path / "file", depth=1, size=8)


def test_an_error_while_drawing_leaves_the_old_file(tmp_path, monkeypatch):
    (tmp_path / NAMES["json"]).write_bytes(b"old")
    draw = Scene.slice
    drawn = []

    def stop_in_the_second_volume(self, z):
        drawn.append(z)
        if len(drawn) == 3:
            raise KeyboardInterrupt("enough")
        return draw(self, z)

    monkeypatch.setattr(sample.Scene, "slice", stop_in_the_second_volume)
    with pytest.raises(KeyboardInterrupt, match="enough"):
        write_sample(tmp_path, depth=2, size=8, force=True)
    assert read_all(tmp_path) == {NAMES["json"]: b"old"}


@pytest.mark.parametrize("name", NAMES.values())
def test_existing_archives_are_replaced_only_when_asked(name, tmp_path, capsys):
    (tmp_path / name).write_bytes(b"real data")
    with pytest.raises(OutputError, match=rf"{name}: exists already: .* replace it with --force"):
        write_sample(tmp_path, depth=1, size=8)
    command = ["sample", str(tmp_path), "--depth", "1", "--size", "8"]
    assert main(command) == 1
    assert f"{name}: exists already" in capsys.readouterr().err
    assert read_all(tmp_path) == {name: b"real data"}
    assert main([*command, "--force"]) == 0
    assert set(read_all(tmp_path)) == set(NAMES.values())
    assert members(tmp_path, "json")


@pytest.mark.parametrize("shape", [(1, 1), (1, 8), (3, 20)])
def test_a_sample_too_small_for_all_classes_has_valid_labels(shape, tmp_path):
    depth, size = shape
    write_sample(tmp_path, depth=depth, size=size)
    labels = members(tmp_path, "json")[path_of("semantic", "24", "json")]
    colors = members(tmp_path, "tif")[path_of("semantic", "24", "tif")]
    array = publisher.decode(json.loads(labels))
    assert json.loads(labels) == publisher.encode(array)
    found = tifffile.imread(io.BytesIO(colors)).reshape(*array.shape, 4)
    np.testing.assert_array_equal(found, publisher.rgba(array, publisher.JET))


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert write_sample("~/x", depth=1, size=8)[0].parent == tmp_path / "x"


@pytest.mark.parametrize(("depth", "size"), [(1, 8193), (2**14 + 1, 1), (17, 8192), (10**20, 1)])
def test_a_sample_too_large_to_be_read_is_refused(depth, size, tmp_path):
    with pytest.raises(ArgumentError, match=rf"are not read; got depth {depth}, size {size}$"):
        write_sample(tmp_path / "sample", depth=depth, size=size)
    assert not (tmp_path / "sample").exists()


def test_colors_of_a_map_are_those_of_the_publishers_writer(folder, volume, truth, tmp_path):
    write_sample(tmp_path, depth=DEPTH, size=SIZE, colors=256)
    files = members(tmp_path, "tif")
    assert members(tmp_path, "json") == members(folder, "json")
    for kind in ("cell", "organelle"):
        ids = truth[kind]
        entries = np.minimum(ids * 256 // ids.max(), 255)
        expected = publisher.rgba(entries, publisher.jet())
        expected[entries == 0] = 0
        found = tifffile.imread(io.BytesIO(files[path_of(kind, volume, "tif")]))
        assert np.array_equal(found, expected)


def test_the_command_writes_such_colors(tmp_path, capsys):
    arguments = ["--depth", "1", "--size", "32", "--colors", "256"]
    assert main(["sample", str(tmp_path / "command"), *arguments]) == 0
    write_sample(tmp_path / "call", depth=1, size=32, colors=256)
    for name in NAMES.values():
        assert (tmp_path / "command" / name).read_bytes() == (
            tmp_path / "call" / name
        ).read_bytes()
