"""`platelet-em info`: what it describes."""

import pytest

import platelet_em
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
