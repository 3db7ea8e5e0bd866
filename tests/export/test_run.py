"""`export`: what is chosen, what is said, and that there is a whole export or none."""

import json
import logging
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from support.clients import publish, run_with_us
from support.folders import contents
from support.own import write_own
from support.programs import PROGRAMS

import platelet_em
from _platelet_em.commands.cli import main
from _platelet_em.description.parse import read_description
from _platelet_em.export import run
from _platelet_em.export.job import ExportJob
from _platelet_em.export.objects_table import ObjectsTable
from _platelet_em.export.registry import FORMATS, LOSSY
from _platelet_em.facts import PUBLISHED
from _platelet_em.hub import remote
from _platelet_em.hub.build import build
from _platelet_em.hub.location import HubName
from _platelet_em.hub.source import DatasetSource

SPLITS = "expected some of train, validation, test"


def files(folder):
    return sorted(path.name for path in folder.glob("*.tif"))


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"split": "train", "kinds": "cells"}, ["50-cells.tif", "50-image.tif"]),
        ({"volume": ["24"], "kinds": ["semantic"]}, ["24-image.tif", "24-semantic.tif"]),
        (
            {"kinds": ["organelles"]},
            ["24-image.tif", "24-organelles.tif", "50-image.tif", "50-organelles.tif"],
        ),
        ({"split": ["train", "validation"], "volume": "24", "kinds": "cells"},
         ["24-cells.tif", "24-image.tif"]),
    ],
)  # fmt: skip
def test_splits_volumes_and_kinds_are_chosen(choice, expected, archives, tmp_path):
    out = platelet_em.export(archives, tmp_path / "out", to="tiff", **choice)
    assert files(out) == expected


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"split": "tset"}, f"^split: {SPLITS}, got 'tset'$"),
        ({"split": []}, f"^split: {SPLITS}, got none$"),
        ({"kinds": ["cells", "cell"]},
         "^kinds: expected some of semantic, cells, organelles, got 'cell'$"),
        ({"volume": "51"}, "^volume: expected some of 50, 24, test, got '51'$"),
        ({"volume": []}, "^volume: expected some of 50, 24, test, got none$"),
        ({"split": "train", "volume": "24"},
         r"^volume, split: no volume of \['24'\] is in the split \['train'\]$"),
        ({"to": "png"}, "^to: png is not offered: one picture per slice holds 16 bits"),
        ({"to": "YOLO"}, "^to: YOLO is not offered: an object is one polygon there"),
        ({"to": "tif"}, "^to: expected one of .*tiff.*, got 'tif'$"),
        ({"to": None}, "^to: expected one of .*tiff.*, got None$"),
        ({"imagej": "no"}, "^imagej: expected one of True, False, got 'no'$"),
        ({"imagej": 1}, "^imagej: expected one of True, False, got 1$"),
        ({"to": np.array(["tiff", "coco"])}, r"^to: expected one of .*tiff.*, got array\("),
        ({"label_source": "png"}, "^label_source: expected one of json, tif, got 'png'$"),
        ({"label_source": ""}, "^label_source: expected one of json, tif, got ''$"),
        ({"split": b"train"}, "^split: expected a name, or a list, got b'train'$"),
        ({"volume": 50}, "^volume: expected a name, or a list, got 50$"),
        ({"volume": [50]}, "^volume: expected a name, or a list, got 50$"),
        ({"kinds": [["cells"]]}, r"^kinds: expected a name, or a list, got \['cells'\]$"),
        ({"kinds": pathlib.Path("cells")}, "^kinds: expected a name, or a list, got PosixPath"),
    ],
)  # fmt: skip
def test_wrong_choices_are_refused_before_anything_is_written(choice, message, archives, tmp_path):
    with pytest.raises(platelet_em.ArgumentError, match=message):
        platelet_em.export(archives, tmp_path / "out", **{"to": "tiff", **choice})
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("path", [None, 5, b"folder", ["folder"]])
def test_what_is_no_path_is_refused(path, archives, tmp_path):
    message = "^expected the path of a file or a folder, got "
    with pytest.raises(platelet_em.ArgumentError, match=message):
        platelet_em.export(path, tmp_path / "out", to="tiff")
    with pytest.raises(platelet_em.ArgumentError, match=message):
        platelet_em.export(archives, path, to="tiff")
    assert not any(tmp_path.iterdir())


def test_names_may_come_from_an_iterator_or_an_array(archives, tmp_path):
    out = platelet_em.export(
        archives,
        tmp_path / "out",
        to="tiff",
        split=iter(["train", "train"]),
        volume=np.array(["50"]),
        kinds=dict.fromkeys(["cells"]),
    )
    assert files(out) == ["50-cells.tif", "50-image.tif"]


def test_labels_that_a_volume_lacks_are_left_out_and_said(three_volumes, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        out = platelet_em.export(three_volumes, tmp_path / "out", to="tiff", split="test")
    said = ["volume test: has no labels of cells and organelles: left out"]
    assert [record.getMessage() for record in caplog.records] == said
    assert files(out) == ["test-image.tif", "test-semantic.tif"]
    record = json.loads((out / "export.json").read_text())
    assert record["remarks"] == said
    assert record["volumes"][0]["name"] == "test"
    assert "one of its cells is labeled" in record["volumes"][0]["note"]


def test_the_record_says_what_was_written_and_under_which_license(archives, tmp_path):
    out = platelet_em.export(archives, tmp_path / "out", to="tiff", kinds=["cells"], imagej=False)
    record = json.loads((out / "export.json").read_text())
    assert record["format"] == "tiff"
    assert record["options"] == {"imagej": False}
    assert record["license_details"] == "cleared for public release"
    assert record["voxel_size_nm"] == [40, 10, 10]
    assert record["labels"] == ["cells"]
    assert [volume["split"] for volume in record["volumes"]] == ["train", "validation"]
    assert record["classes"][3] == "alpha granule"


def test_an_export_is_the_same_from_archives_and_repository(archives, repository, tmp_path):
    folders = [
        platelet_em.export(source, tmp_path / name, to="tiff")
        for source, name in ((archives, "a"), (repository, "b"), (repository, "c"))
    ]
    first, *others = map(contents, folders)
    assert all(other == first for other in others)


def test_a_dataset_on_the_hub_is_exported_from_its_slices(hub, repository, tmp_path):
    publish(hub, "user/data", repository)
    own = write_own(tmp_path / "own", "stack")
    own_repository = build(tmp_path / "repo", spec=read_description(own.description))
    publish(hub, "user/own", own_repository)
    environment = hub.environment(tmp_path / "home")
    code = """
import sys, platelet_em
for source, out in zip(sys.argv[1::2], sys.argv[2::2]):
    platelet_em.export(source, out, to="tiff", split="train")
"""
    program = tmp_path / "program.py"
    program.write_text(code)
    outs = tmp_path / "hub", tmp_path / "hub-own"
    run_with_us(program, "user/data", outs[0], "user/own", outs[1], **environment)
    for source, out in zip((repository, own_repository), outs, strict=True):
        local = platelet_em.export(
            source, tmp_path / f"local-{out.name}", to="tiff", split="train"
        )
        assert contents(out) == contents(local)
    fetched = {name for name, count in hub.served.items() if count}
    assert not [name for name in fetched if "/volumes/" in name or "validation" in name]


def on_the_hub(repository):
    """The repository, as if it were on the Hub; nothing can be read there."""
    sizes = {p.relative_to(repository).as_posix(): 1 for p in repository.rglob("*") if p.is_file()}
    commit = remote._Commit(HubName("user/data"), "0" * 40, "", None, sizes)
    return remote.HubPath(commit, PurePosixPath())


def test_only_slices_of_the_exported_splits_are_downloaded(repository, monkeypatch):
    asked = []
    monkeypatch.setattr(
        run, "download_repository", lambda *arguments: asked.append(arguments) or repository
    )
    location = on_the_hub(repository)
    job = ExportJob(DatasetSource(location, PUBLISHED, "tif"), PUBLISHED.volumes[1:], ("cells",))
    fetched = run._fetch(job)
    assert asked == [(location, ["slices/validation-*.parquet"])]
    assert fetched.source == DatasetSource(repository, PUBLISHED, "tif")
    assert (fetched.volumes, fetched.columns) == (job.volumes, job.columns)


def test_a_split_that_the_hub_does_not_have_is_named_before_anything_is_downloaded(repository):
    spec = PUBLISHED.with_optional()
    job = ExportJob(DatasetSource(on_the_hub(repository), spec), spec.volumes, ("cells",))
    with pytest.raises(
        platelet_em.MissingMemberError,
        match=r"^hf://datasets/user/data: expected a built repository with the split 'test' in sl",
    ):
        run._fetch(job)


@pytest.mark.parametrize("found", ["file", "folder", "link", "pipe"])
def test_what_exists_is_not_touched(found, archives, tmp_path):
    out = tmp_path / "out"
    if found == "file":
        out.write_text("mine")
    elif found == "folder":
        out.mkdir()
        (out / "mine.txt").write_text("mine")
    elif found == "link":
        (tmp_path / "empty").mkdir()
        out.symlink_to(tmp_path / "empty")
    else:
        os.mkfifo(out)
    before = {path: path.lstat() for path in tmp_path.rglob("*")}
    with pytest.raises(platelet_em.OutputError, match="out: exists already: choose another name"):
        platelet_em.export(archives, out, to="tiff")
    assert {path: path.lstat() for path in tmp_path.rglob("*")} == before


def test_an_empty_folder_is_filled(archives, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    assert files(platelet_em.export(archives, out, to="tiff", volume="24", kinds="cells")) == [
        "24-cells.tif",
        "24-image.tif",
    ]


def test_a_damaged_source_leaves_nothing(repository, tmp_path):
    copied = tmp_path / "copied"
    (copied / "slices").mkdir(parents=True)
    for path in (repository / "slices").iterdir():
        content = bytearray(path.read_bytes())
        if "train-00007" in path.name:
            content[1000] ^= 1  # in the image
        (copied / "slices" / path.name).write_bytes(content)
    with pytest.raises(platelet_em.ArchiveError, match=r"train-00007-of-00008\.parquet"):
        platelet_em.export(copied, tmp_path / "out", to="tiff")
    assert [path.name for path in tmp_path.iterdir()] == ["copied"]


@pytest.fixture(params=["repository", "zip", "folder", "own files"])
def source_and_file(request, repository, archives, tmp_path):
    """A source, and a file of its last volume."""
    copied = tmp_path / "copied"
    if request.param == "repository":
        shutil.copytree(repository / "slices", copied / "slices")
        return copied, next((copied / "slices").glob("validation-*"))
    if request.param == "own files":
        own = write_own(copied, "stack")
        return own.description, copied / "unlabeled.tif"
    if request.param == "zip":
        shutil.copytree(archives, copied)
        return copied, copied / "images_and_labels_json.zip"
    with zipfile.ZipFile(archives / "images_and_labels_json.zip") as archive:
        archive.extractall(copied)
    return copied, next(copied.rglob("24-images.tif"))


def test_a_source_that_changes_meanwhile_is_not_mixed(source_and_file, tmp_path, monkeypatch):
    source, file = source_and_file
    add = ObjectsTable.add

    def replace_file(table, volume):
        add(table, volume)
        shutil.copy(file, tmp_path / "new")
        (tmp_path / "new").replace(file)

    monkeypatch.setattr(ObjectsTable, "add", replace_file)
    with pytest.raises(platelet_em.ArchiveError, match="copied: was built again, or changed, whi"):
        platelet_em.export(source, tmp_path / "out", to="tiff")
    assert [path.name for path in tmp_path.iterdir()] == ["copied"]


def test_a_killed_export_leaves_no_folder_of_the_name_and_the_next_one_cleans_up(
    archives, tmp_path
):
    out = tmp_path / "out"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, PROGRAMS / "die_while_exporting.py", archives, out],
        check=False,
        env=environment,
    )
    assert done.returncode == -signal.SIGKILL
    assert not out.exists()
    assert any(tmp_path.iterdir())
    platelet_em.export(archives, out, to="tiff", volume="24", kinds="cells")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("to", ["tiff", "hdf5"])
def test_a_full_disk_is_said_and_leaves_nothing(to, repository, tmp_path):
    if to == "hdf5":
        pytest.importorskip("h5py")
    program = """
import resource, sys
from _platelet_em.commands.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
sys.exit(main(sys.argv[1:]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, "export", repository, tmp_path / "out", "--to", to],
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, "HDF5 used to end the process by a crash"
    assert done.stderr.startswith(f"platelet-em: {tmp_path / 'out'}: no room to write: ")
    assert done.stderr.count("\n") == 1
    assert not any(tmp_path.iterdir())


def test_the_command_writes_the_same(archives, tmp_path, capsys):
    arguments = ["--to", "tiff", "--volume", "24", "--kinds", "cells", "semantic", "--no-imagej"]
    assert main(["export", str(archives), str(tmp_path / "a"), *arguments]) == 0
    assert capsys.readouterr().out.splitlines() == [f"{tmp_path / 'a'} is complete"]
    platelet_em.export(
        archives, tmp_path / "b", to="tiff", volume="24", kinds=["semantic", "cells"], imagej=False
    )
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_an_option_of_the_command_may_be_repeated(archives, tmp_path):
    repeated = ["--split", "train", "--split", "validation", "--kinds", "cells"]
    repeated += ["--kinds", "semantic", "--volume", "24", "--volume", "50"]
    assert main(["export", str(archives), str(tmp_path / "a"), "--to", "tiff", *repeated]) == 0
    found = files(tmp_path / "a")
    assert found == [f"{v}-{c}.tif" for v in ("24", "50") for c in ("cells", "image", "semantic")]


def test_the_record_is_utf_8_whatever_the_locale(tmp_path):
    own = write_own(tmp_path / "own", "multipage")
    text = own.description.read_text(encoding="utf-8")
    own.description.write_text(f'title = "Größe"\n{text}', encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "LC_ALL": "POSIX"}
    arguments = ["export", own.description, tmp_path / "out", "--to", "tiff", "--no-imagej"]
    subprocess.run(
        [sys.executable, "-X", "utf8=0", "-m", "_platelet_em", *arguments],
        check=True,
        env={**environment, "PYTHONCOERCECLOCALE": "0"},
        capture_output=True,
    )
    record = json.loads((tmp_path / "out" / "export.json").read_text(encoding="utf-8"))
    assert record["title"] == "Größe"


def test_the_command_says_in_one_sentence_what_is_wrong(archives, tmp_path, capsys):
    assert main(["export", str(archives), str(tmp_path / "a"), "--to", "yolo"]) == 1
    assert capsys.readouterr().err.startswith("platelet-em: to: yolo is not offered: ")


def test_the_help_lists_the_formats(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["export", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for each in FORMATS:
        assert f" {each.name} {each.purpose}" in text
    for name in LOSSY:
        assert name in text


@pytest.mark.parametrize("source", ["archives", "repo"])
def test_an_export_of_the_sample_says_so(source, sample, tmp_path, caplog):
    out = platelet_em.export(sample / source, tmp_path / "out", to="tiff", kinds="cells")
    said = "this is the synthetic sample, not the publisher's data"
    assert json.loads((out / "export.json").read_text())["remarks"] == [said]
    assert said in caplog.text


def test_a_volume_that_is_optional_is_written_if_it_is_named(three_archives, tmp_path):
    out = platelet_em.export(three_archives, tmp_path / "out", to="tiff", volume="test")
    assert files(out) == ["test-image.tif", "test-semantic.tif"]
    out = platelet_em.export(three_archives, tmp_path / "all", to="tiff", kinds="cells")
    assert files(out) == ["24-cells.tif", "24-image.tif", "50-cells.tif", "50-image.tif"]


def test_remarks_cannot_command_a_terminal(caplog):
    with caplog.at_level(logging.WARNING):
        run._log_remarks(["volume a\x1b[2J: has no cells"])
    assert caplog.messages == ["volume a\\x1b[2J: has no cells"]


def test_of_many_remarks_the_first_are_logged_and_all_are_recorded(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(run, "_LOGGED", 2)
    own = write_own(tmp_path / "own", "pictures", count=4)
    text = "\n".join(own.description.read_text("utf-8").splitlines()[:-1])
    own.description.write_text(text, "utf-8")  # no masks
    with caplog.at_level(logging.WARNING):
        out = platelet_em.export(own.description, tmp_path / "out", to="tiff")
    remarks = json.loads((out / "export.json").read_text("utf-8"))["remarks"]
    names = sorted(own.volumes)
    left_out = [f"volume {name}: has no labels of particles: left out" for name in names]
    assert sorted(remarks) == left_out
    logged = [record.getMessage() for record in caplog.records]
    assert logged == [*remarks[:2], "2 more remarks are in export.json"]


def test_the_record_is_utf_8_wherever_it_is_written(tmp_path, monkeypatch):
    write = Path.write_text

    def write_latin_1(self, text, encoding="latin-1"):
        return write(self, text, encoding=encoding)

    monkeypatch.setattr(Path, "write_text", write_latin_1)
    own = write_own(tmp_path / "own", "stack")
    out = platelet_em.export(own.description, tmp_path / "out", to="tiff", split="train")
    assert json.loads((out / "export.json").read_bytes())["volumes"][0]["name"] == 'Stack 1 "ü"'


@pytest.mark.parametrize("to", ["tiff", "hdf5", "ome-zarr"])
def test_no_file_is_another_one_where_capitals_are_not_told_apart(to, tmp_path):
    pytest.importorskip({"hdf5": "h5py", "ome-zarr": "zarr"}.get(to, "tifffile"))
    own = write_own(tmp_path / "own", "multipage")
    text = own.description.read_text().replace('name = "second"', 'name = "FIRST"')
    own.description.write_text(text)
    options = {"imagej": False} if to == "tiff" else {}
    out = platelet_em.export(own.description, tmp_path / "out", to=to, kinds="cells", **options)
    record = json.loads((out / "export.json").read_text())
    assert record["renamed"] == {"FIRST": "FIRST-2"}
    assert "other names in files: 1 volumes, see `renamed` in export.json" in record["remarks"]
    found = [path.name for path in out.iterdir()]
    assert len({name.casefold() for name in found}) == len(found) == (6 if to == "tiff" else 4)


def test_own_volumes_may_have_any_name(tmp_path):
    own = write_own(tmp_path / "own", "stack")
    out = platelet_em.export(own.description, tmp_path / "out", to="tiff", split="train")
    assert 'Stack 1 "ü"-image.tif' in files(out)
