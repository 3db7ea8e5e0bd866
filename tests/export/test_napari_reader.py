"""What the reader of napari takes for one of ours, and what it imports before it reads."""

import os
import subprocess
import sys
import zipfile

import pytest
from support.own import write_own

from _platelet_em.export.napari_reader import get_reader


@pytest.mark.parametrize("source", ["archives", "repository"])
def test_archives_and_repositories_are_read(source, request):
    path = request.getfixturevalue(source)
    assert callable(get_reader(str(path)))
    assert callable(get_reader([str(path)]))


def test_a_zip_and_its_extracted_folder_are_read(archives, tmp_path):
    zips = sorted(archives.glob("*.zip"))
    assert all(callable(get_reader(str(path))) for path in zips)
    with zipfile.ZipFile(zips[0]) as archive:
        archive.extractall(tmp_path)
    assert callable(get_reader(str(tmp_path)))


def test_a_description_is_read(tmp_path):
    assert callable(get_reader(str(write_own(tmp_path, "stack").description)))


def test_what_is_not_ours_is_left_to_others(archives, tmp_path):
    (tmp_path / "project.toml").write_text("[project]\nname = 'x'\n")
    (tmp_path / "damaged.zip").write_bytes(b"PK\3\4 no zip")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("images/a.tif", b"")
    (tmp_path / "folder.zip").mkdir()
    others = ["project.toml", "damaged.zip", "other.zip", "folder.zip", ".", "missing.zip"]
    assert [get_reader(str(tmp_path / name)) for name in others] == [None] * len(others)
    assert get_reader([str(archives), str(archives)]) is None


@pytest.mark.parametrize("path", [None, 5, b"a.zip", [], [None], "", "a\0b"])
def test_what_is_no_path_is_left_to_others(path):
    assert get_reader(path) is None


@pytest.mark.parametrize("name", ["a.toml", "a.zip", "a"])
def test_pipes_and_devices_are_not_opened(name, tmp_path):
    os.mkfifo(tmp_path / name)
    assert get_reader(str(tmp_path / name)) is None
    assert get_reader("/dev/zero") is None


def test_a_zip_of_a_version_that_python_does_not_know_is_left_to_others(archives, tmp_path):
    content = bytearray(min(archives.glob("*.zip")).read_bytes())
    directory = content.rfind(b"PK\1\2")
    content[directory + 6] = 99
    (tmp_path / "a.zip").write_bytes(content)
    assert get_reader(str(tmp_path / "a.zip")) is None


def test_of_many_folders_only_the_first_are_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr("_platelet_em.export.napari_reader._MAX_ENTRIES", 5)
    seen = []
    walk = os.walk

    def note(folder):
        for found in walk(folder):
            seen.append(found)
            yield found

    monkeypatch.setattr(os, "walk", note)
    for i in range(20):
        (tmp_path / f"{i}").mkdir()
    assert get_reader(str(tmp_path)) is None
    assert len(seen) == 5


def test_asking_imports_nothing_large(tmp_path):
    code = f"""
import sys
from _platelet_em.export.napari_reader import get_reader
assert get_reader({str(tmp_path)!r}) is None
large = {{"datasets", "pyarrow", "huggingface_hub", "numpy", "tifffile", "PIL"}} & {{*sys.modules}}
assert not large, large
"""
    command = [sys.executable, "-c", code]
    environment = {"PYTHONPATH": ":".join(filter(None, sys.path))}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
