"""Drafts of descriptions: what is guessed of folders of each kind, and what is left open."""

import json
import os
import re

import numpy as np
import pytest
import tifffile
from PIL import Image
from support import png_writer

from _platelet_em.commands.cli import main
from _platelet_em.description import series
from _platelet_em.description.draft import draft_description
from _platelet_em.description.parse import read_description
from _platelet_em.errors import ArchiveError
from _platelet_em.spec import SEMANTIC, Components

RANDOM = np.random.default_rng(0)


def image(shape=(32, 48), dtype=np.uint8):
    return RANDOM.integers(0, 200, shape).astype(dtype)


def blocks(values, shape=(32, 48), dtype=np.uint8):
    """Labels: one row of blocks for each value."""
    rows = np.array(values, dtype)[np.arange(shape[0]) * len(values) // shape[0]]
    return np.repeat(rows[:, None], shape[1], axis=1)


def save(folder, name, array):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower().startswith(".tif"):
        kind = {"photometric": "rgb"} if array.shape[-1] == 3 else {"photometric": "minisblack"}
        tifffile.imwrite(path, array, **kind)
    else:
        Image.fromarray(array).save(path)


def draft(folder):
    """The draft, and the spec that it describes."""
    text = draft_description(folder)
    (folder / "my.toml").write_text(text, "utf-8")
    return text, read_description(folder / "my.toml")


def test_slices_codes_and_masks_with_gray_edges(tmp_path):
    for z in range(7, 12):
        save(tmp_path, f"Stack A/raw/{z}.tif", image())
        save(tmp_path, f"Stack A/labels/labels{z:04}.png", blocks([0, 64, 255]))
        mask = blocks([0, 255])
        mask[16, :20] = range(100, 120)
        bits = Image.fromarray(mask).convert("1")
        save(tmp_path, f"Stack A/mitochondria/{z}.png", mask if z % 2 else np.asarray(bits))
    text, spec = draft(tmp_path)
    (volume,) = spec.volumes
    assert (volume.name, volume.split) == ("Stack A", "train")
    assert volume.image_file == "Stack A/raw/*.tif"
    assert volume.label_files == (
        (SEMANTIC, "Stack A/labels/*.png"),
        ("mitochondria", "Stack A/mitochondria/*.png"),
    )
    assert volume.components == (("mitochondria", Components(threshold=127)),)
    assert spec.semantic_codes == ((0, 0), (64, 1), (255, 2))
    assert spec.class_names == ("class 0", "class 1", "class 2")
    assert "5 files of 32 x 48, uint8" in text
    assert '"class 1",  # stored as 64' in text


def test_pictures_of_many_sizes_with_lists(tmp_path):
    for index in range(8):
        stem = f"{index * 7919:05x}"
        shape = (30 + index, 40)
        rgb = np.repeat(image(shape)[..., None], 3, axis=2)
        save(tmp_path, f"images/{stem}.png", rgb)
        save(tmp_path, f"segmaps/{stem}.png", blocks(range(index + 2), shape, np.uint16))
    stems = sorted(path.stem for path in (tmp_path / "images").iterdir())
    (tmp_path / "test.csv").write_text("\n".join(stems[:3]))
    (tmp_path / "train.csv").write_text("\r\n".join(stems[3:]))
    (tmp_path / "notes.csv").write_text("a,b")
    text, spec = draft(tmp_path)
    assert spec.class_names == ()
    assert [i.column for i in spec.instances] == ["objects"]
    assert [(v.name, v.split) for v in spec.volumes] == [
        *((stem, "train") for stem in stems[3:]),
        *((stem, "test") for stem in stems[:3]),
    ]
    assert spec.volumes[0].label_files == (("objects", f"segmaps/{stems[3]}.png"),)
    assert not spec.volumes[0].components
    assert "RGB with equal channels, which is read as gray" in text


def test_files_told_apart_by_their_names(tmp_path):
    save(tmp_path, "img3d.tif", image((3, 32, 48), np.uint16))
    save(tmp_path, "mask3d.tif", np.stack([blocks([0, 5, 90], dtype=np.uint16)] * 3))
    save(tmp_path, "img2d.tif", image())
    save(tmp_path, "mask2d.tif", blocks([0, 3, 4], dtype=np.uint16))
    _, spec = draft(tmp_path)
    assert [(v.name, v.image_file, v.label_files) for v in spec.volumes] == [
        ("2d", "img2d.tif", (("objects", "mask2d.tif"),)),
        ("3d", "img3d.tif", (("objects", "mask3d.tif"),)),
    ]


def test_slices_beside_their_labels_in_one_folder(tmp_path):
    for z in range(12):
        save(tmp_path, f"s{z}.tif", image())
        save(tmp_path, f"s{z}_semantic.tif", blocks([0, 1, 2]))
        save(tmp_path, f"s{z}_instance-cell.tif", blocks([0, 1, 2]))
    _, spec = draft(tmp_path)
    (volume,) = spec.volumes
    assert volume.image_file == "*[0-9].tif"
    assert dict(volume.label_files) == {
        "semantic": "*_semantic.tif", "cell": "*_instance-cell.tif"
    }  # fmt: skip
    assert spec.semantic_codes == ()


def test_folders_of_splits_with_equal_names(tmp_path):
    for split in ("train", "val"):
        for stem in ("ant", "bee", "cat", "dog", "emu"):
            save(tmp_path, f"{split}/images/{stem}.png", image())
            save(tmp_path, f"{split}/masks/{stem}.png", blocks([0, 1]))
    _, spec = draft(tmp_path)
    assert {v.split: v.image_file for v in spec.volumes} == {
        "train": "train/images/emu.png",
        "validation": "val/images/emu.png",
    }
    assert len({v.name for v in spec.volumes}) == 10
    assert {v.label_files[0][1].split("/")[0] for v in spec.volumes if v.split == "train"} == {
        "train"
    }
    assert spec.volumes[0].components == (("objects", Components(threshold=0)),)


def test_colors_of_classes(tmp_path):
    colors = np.zeros((32, 48, 3), np.uint8)
    colors[:10] = (0, 255, 1)
    save(tmp_path, "raw/a.tif", image((32, 48)))
    save(tmp_path, "labels/a.png", colors)
    _, spec = draft(tmp_path)
    assert [c.colors for c in spec.classes] == [((0, 0, 0),), ((0, 255, 1),)]


def test_values_are_those_that_are_read(tmp_path):
    """Pillow scales gray values of 4 bits, and has none of gray with alpha alone."""
    codes = blocks([0, 3, 9])
    for name in ("a", "b"):
        alpha = np.stack([image(codes.shape), np.full(codes.shape, 255, np.uint8)], axis=2)
        for kind, content in {
            "images": png_writer.write(alpha, png_writer.GRAY_ALPHA),
            "classes": png_writer.write(codes, bits=4),
        }.items():
            (tmp_path / kind).mkdir(exist_ok=True)
            (tmp_path / kind / f"{name}.png").write_bytes(content)
    text = draft_description(tmp_path)
    assert "[semantic_codes]" in text
    assert re.findall("^[0-9]+ = [0-9]+$", text, re.MULTILINE) == ["0 = 0", "3 = 1", "9 = 2"]
    assert "RGB with equal channels" in text
    assert "not gray" not in text
    assert "cannot be read" not in text


def test_label_files_of_runs(tmp_path):
    save(tmp_path, "images/50-images.tif", image((2, 32, 48), np.uint16))
    labels = {".info": {"shape": [2, 32, 48]}, "3": "1 5", "9": "20 4"}
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "50-instance-cell.json").write_text(json.dumps(labels))
    (tmp_path / "labels" / "other.json").write_text("[]")
    _, spec = draft(tmp_path)
    (volume,) = spec.volumes
    assert volume.label_files == (("cell", "labels/50-instance-cell.json"),)


def test_missing_labels_are_left_open(tmp_path):
    for stem in ("ant", "bee", "cat", "dog", "emu"):
        save(tmp_path, f"images/{stem}.png", image())
        if stem != "cat":
            save(tmp_path, f"masks/{stem}.png", blocks([0, 255]))
    text, spec = draft(tmp_path)
    assert "# 1 files are missing, the first is masks/cat.png" in text
    assert "# objects = {" in text
    assert len(spec.volumes) == 5


def test_what_cannot_be_read_is_remarked(tmp_path):
    save(tmp_path, "raw/a.tif", image())
    save(tmp_path, "masks/a.tif", blocks([0, 1]).astype(np.float32))
    (tmp_path / "raw" / "b.tif").write_bytes(b"nothing")
    (tmp_path / "raw" / "c.docx").touch()
    text, spec = draft(tmp_path)
    assert "masks/a.tif: not understood: float32 values: images are uint8 or uint16" in text
    assert "raw/*.tif: one cannot be read" in text
    assert "files of other kinds, which were not looked at: 1" in text
    assert [v.name for v in spec.volumes] == ["a", "b"]


def test_names_of_people_and_file_managers(tmp_path):
    for z in range(3):
        save(tmp_path, f"Übersicht (1) [neu]/Rohdaten/Schicht {z}.TIF", image())
        save(tmp_path, f"Übersicht (1) [neu]/Zellkörper/Schicht {z}.TIF", blocks([0, 255]))
    folder = tmp_path / "Übersicht (1) [neu]"
    for name in (".DS_Store", "Rohdaten/Thumbs.db", "Rohdaten/._Schicht 0.TIF"):
        (folder / name).write_bytes(b"x")
    (tmp_path / "__MACOSX").mkdir()
    save(tmp_path, "__MACOSX/a.png", image())
    (folder / "empty").mkdir()
    os.close(os.open(os.fsencode(folder) + b"/\xff\x1b.png", os.O_CREAT))
    text, spec = draft(tmp_path)
    (volume,) = spec.volumes
    assert volume.name == "Übersicht (1) [neu]"
    assert dict(volume.label_files).keys() == {"zellkörper"}
    assert "1 files have control characters in their names" in text
    assert text.isprintable() is False  # line breaks
    assert all(line.isprintable() for line in text.splitlines())


@pytest.mark.parametrize("names", [[], ["notes.md"], ["masks/a.png"]])
def test_folders_without_images_have_placeholders(names, tmp_path):
    for name in names:
        save(tmp_path, name, blocks([0, 1])) if name.endswith("png") else (tmp_path / name).touch()
    text = draft_description(tmp_path)
    assert "# [[volumes]]" in text
    with pytest.raises(ValueError, match="expected a volume, found nothing"):
        draft(tmp_path)


def test_ten_thousand_files_are_looked_at_in_part(tmp_path, monkeypatch):
    save(tmp_path, "0.png", image())
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for index in range(10_000):
            os.link(tmp_path / "0.png", tmp_path / folder / f"{index}.png")
    (tmp_path / "0.png").unlink()
    looked = []
    look_at, look_at_size = series.look_at, series.look_at_size
    monkeypatch.setattr(series, "look_at", lambda path: looked.append(path) or look_at(path))
    monkeypatch.setattr(
        series, "look_at_size", lambda path: looked.append(path) or look_at_size(path)
    )
    _, spec = draft(tmp_path)
    assert spec.volumes[0].image_file == "images/*.png"
    assert len(looked) < 50


def test_what_is_no_folder_is_refused(tmp_path):
    for path in (tmp_path / "nowhere", tmp_path / "file"):
        (tmp_path / "file").touch()
        with pytest.raises(ArchiveError, match="expected a folder with pictures, found none"):
            draft_description(path)


def test_the_folder_is_named_where_the_description_lies_elsewhere(tmp_path):
    save(tmp_path, "data/raw/a.tif", image())
    text = draft_description(tmp_path / "data", tmp_path / "my.toml")
    (tmp_path / "my.toml").write_text(text)
    assert read_description(tmp_path / "my.toml").folder == str(tmp_path / "data")
    assert "\nfolder" not in draft_description(tmp_path / "data", tmp_path / "data" / "my.toml")


# --- the command ------------------------------------------------------------------------------


def test_the_command_prints_a_draft(tmp_path, capsys):
    save(tmp_path, "raw/a.tif", image())
    assert main(["describe", str(tmp_path)]) == 0
    assert 'image = "raw/a.tif"' in capsys.readouterr().out


def test_the_command_writes_a_draft_and_replaces_none(tmp_path, capsys):
    save(tmp_path, "raw/a.tif", image())
    out = tmp_path / "my.toml"
    assert main(["describe", str(tmp_path), "--out", str(out)]) == 0
    assert f"{out} is written" in capsys.readouterr().out
    assert len(read_description(out).volumes) == 1
    out.write_text("mine")
    assert main(["describe", str(tmp_path), "--out", str(out)]) == 1
    assert re.search(r"exists already: .* --force", capsys.readouterr().err)
    assert out.read_text() == "mine"
    assert main(["describe", str(tmp_path), "--out", str(out), "--force"]) == 0
    assert len(read_description(out).volumes) == 1
