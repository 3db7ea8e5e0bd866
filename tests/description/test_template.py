"""Templates: one volume for each file that matches, in splits of lists."""

import logging
import os

import pytest

from _platelet_em.description.parse import read_description
from _platelet_em.errors import DescriptionError
from _platelet_em.sources.own_volume import own_files

TEXT = """\
name = "pictures"
instances = ["cells"]
[[volumes]]
name = "{stem}"
split = "train"
image = "images/{stem}.png"
cells = { file = "masks/{stem}.png", components = true }
"""
LISTS = TEXT.replace('"train"', '{ "train.csv" = "train", "test.csv" = "test" }')


@pytest.fixture
def folder(tmp_path):
    """Three images and their masks, and what lies around in folders."""
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
        for stem in ("b 10", "b 9", "Ä"):
            (tmp_path / name / f"{stem}.png").touch()
    for name in (".DS_Store", "._b 9.png", "Thumbs.db", "notes.txt", ".png", "x.PNG"):
        (tmp_path / "images" / name).touch()
    (tmp_path / "images" / "folder.png").mkdir()
    return tmp_path


def read(folder, text):
    (folder / "my.toml").write_text(text, "utf-8")
    return read_description(folder / "my.toml")


def mistakes(folder, text):
    with pytest.raises(DescriptionError, match="expected") as caught:
        read(folder, text)
    return str(caught.value).splitlines()


def test_one_volume_per_file_in_natural_order(folder):
    spec = read(folder, TEXT)
    assert [v.name for v in spec.volumes] == ["b 9", "b 10", "Ä"]
    assert {v.split for v in spec.volumes} == {"train"}
    assert spec.volumes[1].image_file == "images/b 10.png"
    assert spec.volumes[1].label_files == (("cells", "masks/b 10.png"),)
    assert spec.volumes[1].components[0][0] == "cells"


def test_text_around_the_stem(folder):
    text = TEXT.replace('"{stem}"', '"a-{stem}"').replace("images/{stem}", "images/b {stem}")
    for name in ("b .png", "b.png"):  # no stem is left between what stands around it
        (folder / "images" / name).touch()
    spec = read(folder, text.replace("masks/{stem}", "masks/b {stem}"))
    assert [v.name for v in spec.volumes] == ["a-9", "a-10"]


def test_a_folder_per_volume(tmp_path):
    for name in ("s1/raw/0.tif", "s1/raw/1.tif", "s1/cells.tif", "s2/raw/0.tif", "s2/cells.tif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "other").mkdir()
    text = TEXT.replace("images/{stem}.png", "{stem}/raw/*.tif")
    spec = read(tmp_path, text.replace("masks/{stem}.png", "{stem}/cells.tif"))
    assert [(v.name, v.image_file) for v in spec.volumes] == [
        ("s1", "s1/raw/*.tif"),
        ("s2", "s2/raw/*.tif"),
    ]


def test_characters_of_patterns_are_characters(tmp_path):
    (tmp_path / "my [1]").mkdir()
    (tmp_path / "my [1]" / "a[x].png").touch()
    text = TEXT.replace("images/{stem}", "my [1]/{stem}").replace("masks", "my [1]")
    assert read(tmp_path, text).volumes[0].image_file == "my [1]/a[x].png"


def test_a_stem_is_no_pattern_for_the_files_of_another(tmp_path):
    for name in ("v/a1/0.png", "v/a[1]/0.png", "masks/a1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    text = TEXT.replace("images/{stem}.png", "v/{stem}/*.png")
    found = mistakes(tmp_path, text)
    assert len(found) == 1
    assert "masks/a[[]1].png: expected files of this pattern" in found[0]
    (tmp_path / "masks" / "a[1].png").touch()
    spec = read(tmp_path, text)
    assert [[str(f.relative_to(tmp_path)) for f in own_files(v, spec)] for v in spec.volumes] == [
        ["v/a1/0.png", "masks/a1.png"],
        ["v/a[1]/0.png", "masks/a[1].png"],
    ]


def test_lists_give_splits_and_order(folder):
    (folder / "train.csv").write_bytes("\ufeffÄ\r\n\r\n b 10 \r\n".encode())
    (folder / "test.csv").write_text("b 9", "utf-8")
    spec = read(folder, LISTS)
    assert [(v.name, v.split) for v in spec.volumes] == [
        ("Ä", "train"),
        ("b 10", "train"),
        ("b 9", "test"),
    ]


def test_images_in_no_list_are_left_out_with_a_warning(folder, caplog):
    (folder / "train.csv").write_text("b 10\n")
    (folder / "test.csv").write_text("b 9")
    with caplog.at_level(logging.WARNING):
        spec = read(folder, LISTS)
    assert [v.name for v in spec.volumes] == ["b 10", "b 9"]
    assert "1 of 3 images are in no list, and are left out" in caplog.text


def test_mistakes_in_lists(folder):
    (folder / "train.csv").write_text("stem\nb 10\nb 10\nb 9.png\na,b")
    (folder / "test.csv").write_text("b 10")
    found = mistakes(folder, LISTS)
    expected = [
        "line 1: expected the stem of an image images/{stem}.png, found 'stem': remove it, also",
        "line 4: expected the stem of an image images/{stem}.png, found 'b 9.png': list stems",
        "line 5: expected the stem of an image images/{stem}.png, found 'a,b': write one stem",
        "line 3: expected each stem once, found 'b 10', as in train.csv, line 2: remove one",
    ]
    start = f"{folder / 'my.toml'}: line 5: volumes[0].split."
    for line, text in zip(found, expected, strict=False):
        assert line.startswith(f'{start}"train.csv": train.csv, {text}'.replace('"', "'"))
    (last,) = found[4:]
    assert last.startswith(f"{start}'test.csv': test.csv, line 1: expected each stem once, found")
    assert last.endswith("found 'b 10', as in train.csv, line 2: remove one")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "expected a file, found nothing there"),
        (b"\n \n", "train.csv: expected one stem per line, found none"),
        (b"\xff\xfe", "train.csv: expected text in UTF-8, found another encoding"),
    ],
)
def test_lists_that_cannot_be_read(folder, content, sentence):
    if content is not None:
        (folder / "train.csv").write_bytes(content)
    (folder / "test.csv").write_text("b 9")
    assert sentence in mistakes(folder, LISTS)[0]


def test_many_mistakes_of_a_list_are_counted(folder):
    (folder / "train.csv").write_text("\n".join(f"x{i}" for i in range(1000)))
    (folder / "test.csv").write_text("b 9")
    found = mistakes(folder, LISTS)
    assert len(found) == 6
    assert "found 995 others too" in found[-1]


def test_a_missing_label_file_is_named(folder):
    (folder / "masks" / "b 9.png").unlink()
    (found,) = mistakes(folder, TEXT)
    assert "line 7: volumes[0].cells: " in found
    assert "masks/b 9.png: expected a file, found nothing there" in found


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('name = "{stem}"', 'name = "{stem}{stem}"', "name: expected {stem} once"),
        ("images/{stem}.png", "images/a.png", "image: expected {stem} once, as in the name"),
        ("masks/{stem}.png", "masks/a.png", "cells: expected {stem} once, as in the name"),
        ("images/{stem}.png", "{stem}/{stem}.png", "image: expected {stem} once, as in the name"),
        ("images/{stem}.png", "images/{stem}.tif", "expected such files, found only 6 others"),
        ("images/{stem}.png", "nowhere/{stem}.tif", "expected such files, found only 0 others"),
        ("images/{stem}.png", "images/{stem}*.png", "expected {stem} between fixed characters"),
        ('"train"', "{}", "split: expected the name of a split"),
        ('"train"', '{ "a.csv" = "a-b" }', "expected the name of a split"),
    ],
)  # fmt: skip
def test_mistakes_of_a_template(folder, old, new, sentence):
    (found,) = mistakes(folder, TEXT.replace(old, new))
    assert sentence in found


def test_names_of_two_templates_are_distinct(folder):
    text = TEXT + TEXT[TEXT.index("[[") :]
    found = mistakes(folder, text)
    assert len(found) == 3
    assert (
        "volumes[1].name: expected a name of its own, found 'b 9': volumes[0] has it" in found[0]
    )


def test_names_of_files_that_no_volume_can_have(folder):
    for name in ("images", "masks"):
        (folder / name / "a\x1b.png").touch()
    (found,) = mistakes(folder, TEXT)
    assert (
        "expected names without control characters, of at most 200 bytes, found "
        r"'a\x1b': rename the file" in found
    )


def test_each_folder_is_listed_once(tmp_path, monkeypatch):
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
        for index in range(1_000):
            os.close(os.open(tmp_path / name / f"{index:05}.png", os.O_CREAT))
    listed = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(path) or scandir(path))
    spec = read(tmp_path, TEXT)
    assert len(spec.volumes) == 1_000
    assert sorted(listed) == [tmp_path / "images", tmp_path / "masks"]
