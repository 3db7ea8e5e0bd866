"""`platelet-em info`: what it describes."""

import json
import re

import pytest
from support.own import FORMS, write_own

import platelet_em
from _platelet_em.commands.cli import main
from _platelet_em.commands.info import describe, inspect


def test_the_dataset():
    text = "\n".join(describe(inspect()))
    assert "Volume 24: split validation, shape (z, y, x) (24, 800, 800)" in text
    assert "4 canalicular vessel" in text
    assert "Config preview: " in text
    assert "MD5 not published" in text


def test_archives(archives):
    text = "\n".join(describe(inspect(archives)))
    assert "images_and_labels_json.zip: images and json labels" in text
    assert "images_and_labels_rgba.zip: images and tif labels" in text
    assert "volume 50: 9 x 23 x 31 (z, y, x), published (50, 800, 800)" in text
    assert "NOT the published 23891d451dffb8709c4cf719c1a389d4" in text
    assert "not checked: none is published" in text


def test_a_repository(repository):
    text = "\n".join(describe(inspect(repository)))
    assert "slices, train: 9 rows in 8 files" in text
    assert "label source: json" in text
    assert "archive md5: " in text
    assert "origin: not the published archive" in text
    assert "  WARNING: not built from the published archive, whose MD5 is 23891d45" in text


def test_a_folder_without_files_of_the_dataset(tmp_path):
    with pytest.raises(platelet_em.MissingMemberError, match="neither a built repository nor"):
        inspect(tmp_path)


def test_an_extracted_folder(publication, tmp_path):
    folder = publication.folder(tmp_path / "extracted", "json")
    first, second, *_ = describe(inspect(folder))
    assert first == f"{folder}: images and json labels"
    assert second.endswith(" (not checked: none is published of them)")


# --- JSON -------------------------------------------------------------------------------------


def as_json(capsys, *arguments):
    assert main(["info", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def keys_of(found):
    """All keys of a JSON value, except those of records, which older builds have written."""
    if isinstance(found, list):
        return set().union(*map(keys_of, found))
    if isinstance(found, dict):
        inner = [keys_of(value) for key, value in found.items() if key != "record"]
        return {*found}.union(*inner)
    return set()


def test_the_dataset_as_json(capsys):
    found = as_json(capsys)
    assert list(found) == [
        "format", "content", "name", "description", "homepage", "license_details", "classes",
        "volumes", "configs", "archives",
    ]  # fmt: skip
    assert (found["format"], found["content"], found["name"]) == (1, "dataset", "platelet-em")
    assert found["classes"] == list(platelet_em.CLASS_NAMES)
    assert found["volumes"][1] == {"name": "24", "split": "validation", "shape": [24, 800, 800]}
    assert found["archives"][0]["md5"] == "23891d451dffb8709c4cf719c1a389d4"
    assert found["archives"][1]["md5"] is None
    assert found["archives"][0]["cached"] is None


def test_archives_as_json(archives, capsys):
    found = as_json(capsys, archives)
    assert (found["format"], found["content"], found["path"]) == (1, "archives", str(archives))
    first, second = found["archives"]
    assert (first["label_source"], second["label_source"]) == ("json", "tif")
    assert first["path"] == str(archives / "images_and_labels_json.zip")
    assert first["is_zip"] is True
    assert first["volumes"][0] == {
        "name": "50", "shape": [9, 23, 31], "published_shape": [50, 800, 800]
    }  # fmt: skip


def test_a_repository_as_json(repository, capsys):
    found = as_json(capsys, repository)
    assert (found["format"], found["content"], found["path"]) == (1, "repository", str(repository))
    assert found["commit"] is None
    assert found["warning"].startswith("WARNING: not built from the published archive")
    assert found["record"]["label_source"] == "json"
    size = sum(path.stat().st_size for path in repository.glob("slices/train-*"))
    assert found["files"][0] == {
        "config": "slices", "split": "train", "rows": 9, "files": 8, "bytes": size
    }  # fmt: skip


def test_the_help_lists_the_keys_of_the_json(archives, repository, tmp_path, capsys):
    own = write_own(tmp_path, "multipage").description
    found = [as_json(capsys, *path) for path in ((), (archives,), (repository,), (own,))]
    with pytest.raises(SystemExit, match="0"):
        main(["info", "--help"])
    listed = set(re.findall(r'"(\w+)"', capsys.readouterr().out))
    assert keys_of(found) | {"dataset", "archives", "repository"} == listed


@pytest.mark.parametrize("form", FORMS)
def test_own_volumes_are_described(form, tmp_path, capsys):
    own = write_own(tmp_path, form)
    found = as_json(capsys, own.description)
    assert found["content"] == "own volumes"
    assert [volume["name"] for volume in found["volumes"]] == [*own.volumes]
    for volume in found["volumes"]:
        truth = own.volumes[volume["name"]]
        assert (tuple(volume["shape"]), volume["split"]) == (truth.image.shape, truth.split)
        semantic = [] if truth.semantic is None else ["semantic"]
        assert volume["labels"] == [*semantic, *truth.labels]
    assert main(["info", str(own.description)]) == 0
    text = capsys.readouterr().out
    assert f"License: {found['license'] or 'not stated'}\n" in text
    for name, truth in own.volumes.items():
        assert f"Volume {name}: split {truth.split}, shape {truth.image.shape} (z, y, x)" in text


def test_own_volumes_of_a_large_set_are_listed_in_part(tmp_path, capsys):
    own = write_own(tmp_path, "pictures", count=25, side=12)
    assert main(["info", str(own.description)]) == 0
    assert "and 5 more volumes, see --json" in capsys.readouterr().out
    assert len(as_json(capsys, own.description)["volumes"]) == 25


def test_a_mirror_is_shown_without_its_secrets(monkeypatch, capsys):
    monkeypatch.setenv("PLATELET_EM_MIRRORS", "https://me:hunter2@a.example/x?token=hunter2")
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    assert "https://***@a.example/x/images_and_labels_json.zip?token=***" in out
    assert "hunter2" not in out + json.dumps(as_json(capsys))
