"""Descriptions: the forms that are read, and every mistake with its place."""

import os
import re

import numpy as np
import pytest
import tifffile
from PIL import Image

import platelet_em
from _platelet_em.description import parse as module
from _platelet_em.description.parse import parse_description, read_description
from _platelet_em.errors import DescriptionError, MissingMemberError
from _platelet_em.spec import Components, InstanceSpec, SemanticClass, VolumeSpec

MINIMAL = {
    "name": "data",
    "instances": ["cells"],
    "volumes": [{"name": "a", "split": "train", "image": "a.tif"}],
}
FULL = """\
name = "drosophila-vnc"
title = "A larva"
license = "cc-by-nc-sa-3.0"
citation = "10.6084/m9.figshare.856713"
voxel_size_nm = [50, 4.6, 4.6]
classes = ["intracellular", { name = "membrane" }]
instances = [
  "mitochondria",
  { name = "cristae", kind = "crista", part_of = "mitochondria", parent = "mitochondrion" },
]
[semantic_codes]
255 = 0
0 = 1
32 = 1
[[volumes]]
name = "stack1"
split = "train"
image = "raw/*.tif"
mitochondria = { file = "masks/*.png", components = true, threshold = 127, connectivity = 1 }
semantic = "labels.png"
[[volumes]]
name = "stack 2"
split = "validation"
image = "raw/1.tif"
cristae = { file = "labels.png" }
"""


@pytest.fixture
def folder(tmp_path):
    """A folder with small pictures, as FULL names them."""
    (tmp_path / "raw").mkdir()
    (tmp_path / "masks").mkdir()
    for z in range(2):
        tifffile.imwrite(tmp_path / f"raw/{z}.tif", np.zeros((4, 4), np.uint8))
        Image.new("1", (4, 4)).save(tmp_path / f"masks/{z}.png")
    Image.new("L", (4, 4)).save(tmp_path / "labels.png")
    return tmp_path


def write(folder, text, name="my.toml"):
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def mistakes(path):
    with pytest.raises(DescriptionError, match="expected") as caught:
        read_description(path)
    return str(caught.value).splitlines()


def test_a_full_description(folder):
    spec = read_description(write(folder, FULL))
    assert spec.name == "drosophila-vnc"
    assert spec.title == "A larva"
    assert spec.citation == "10.6084/m9.figshare.856713"
    assert spec.voxel_size_nm == (50.0, 4.6, 4.6)
    assert spec.classes == (SemanticClass(name="intracellular"), SemanticClass(name="membrane"))
    assert spec.semantic_codes == ((255, 0), (0, 1), (32, 1))
    assert spec.palettes == ()
    assert spec.instances == (
        InstanceSpec(column="mitochondria", name="mitochondria", has_class=True),
        InstanceSpec(
            column="cristae", name="crista", has_class=True,
            part_of="mitochondria", parent="mitochondrion",
        ),
    )  # fmt: skip
    assert spec.folder == str(folder)
    assert spec.volumes == (
        VolumeSpec(
            name="stack1",
            split="train",
            image_file="raw/*.tif",
            label_files=(("semantic", "labels.png"), ("mitochondria", "masks/*.png")),
            components=(("mitochondria", Components(threshold=127, connectivity=1)),),
        ),
        VolumeSpec(
            name="stack 2",
            split="validation",
            image_file="raw/1.tif",
            label_files=(("cristae", "labels.png"),),
        ),
    )


def test_a_minimal_description():
    spec = parse_description(MINIMAL)
    assert spec.instances == (InstanceSpec(column="cells", name="cells", has_class=True),)
    assert spec.volumes == (VolumeSpec(name="a", split="train", image_file="a.tif"),)


def test_the_parent_is_called_after_its_kind():
    instances = [{"name": "cells", "kind": "cell"}, {"name": "vesicles", "part_of": "cells"}]
    assert parse_description({**MINIMAL, "instances": instances}).instances[1].parent == "cell"
    instances = ["cells", {"name": "vesicles", "part_of": "cells"}]
    assert parse_description({**MINIMAL, "instances": instances}).instances[1].parent == "cells"


def test_colors_of_classes_are_a_palette():
    classes = [{"name": "a", "color": "#000000"}, {"name": "b", "color": "#01Ff80"}]
    spec = parse_description({**MINIMAL, "classes": classes})
    assert spec.palettes == ("color",)
    assert [c.colors for c in spec.classes] == [((0, 0, 0),), ((1, 255, 128),)]


def test_volumes_need_not_be_described_again():
    document = {"name": "data", "classes": ["a"]}
    assert parse_description(document, needs_volumes=False).volumes == ()
    with pytest.raises(DescriptionError, match=r"^description: expected a volume, found nothing"):
        parse_description(document)


@pytest.mark.parametrize("citation", ["https://doi.org/10.1234/x(y)z", "doi:10.1234/x", "@a{b}\n"])
def test_citations_are_kept_as_they_are(citation):
    assert parse_description({**MINIMAL, "citation": citation}).citation == citation


def test_a_folder_of_files_is_relative_to_the_description(folder):
    (folder / "descriptions").mkdir()
    path = write(folder / "descriptions", FULL.replace("[sem", 'x"\n[sem').replace('x"\n', ""))
    assert "found nothing there" in mistakes(path)[-1]
    path.write_text('folder = ".."\n' + FULL)
    spec = read_description(path)
    assert folder.samefile(spec.folder)
    path.write_text(f'folder = "{folder}"\n' + FULL)
    assert read_description(path).folder == str(folder)


def test_a_relative_path_gives_an_absolute_folder(folder, monkeypatch):
    write(folder, FULL)
    monkeypatch.chdir(folder)
    assert read_description("my.toml").folder == str(folder)


def test_names_with_blanks_capitals_and_accents(tmp_path):
    (tmp_path / "Mes Données").mkdir()
    for name in ("Échantillon [1] (a).TIF", "Z 2.TIF"):
        tifffile.imwrite(tmp_path / "Mes Données" / name, np.zeros((4, 4), np.uint8))
    path = write(
        tmp_path,
        'name="x"\ninstances=["Zellen_ä"]\n[[volumes]]\nname="Échantillon [1]"\nsplit="train"\n'
        'image="Mes Données/Échantillon [1] (a).TIF"\n"Zellen_ä"="Mes Données/Z*.TIF"\n',
    )
    spec = read_description(path)
    assert spec.volumes[0].name == "Échantillon [1]"
    assert spec.volumes[0].label_files == (("Zellen_ä", "Mes Données/Z*.TIF"),)


def test_a_byte_order_mark_and_ends_of_lines_of_windows(folder):
    path = folder / "my.toml"
    path.write_bytes(b"\xef\xbb\xbf" + FULL.replace("\n", "\r\n").encode())
    assert read_description(path).name == "drosophila-vnc"
    path.write_bytes(path.read_bytes().replace(b"labels.png", b"nowhere.png", 1))
    assert "my.toml: line 20: volumes[0].semantic: " in mistakes(path)[0]


# --- mistakes ---------------------------------------------------------------------------------

TEN = """\
# name = "commented"
name = "bad name"
licence = "mit"
citation = "Smith 2020"
voxel_size_nm = [1, 0, -3]
classes = ["a", { name = "b", color = "green" }]
instances = ["image", "mito"]
[semantic_codes]
300 = 2
[[volumes]]
name = "a/b"
split = "my-split"
image = "nowhere.tif"
mitto = "x"
"""


def test_ten_mistakes_are_ten_sentences(tmp_path):
    path = write(tmp_path, TEN)
    found = mistakes(path)
    expected = [
        "line 2: name: expected a name that a file and a dataset on the Hub may have",
        "line 3: licence: expected no such key, found it: did you mean license?",
        "line 4: citation: expected a DOI, or BibTeX, found 'Smith 2020': write",
        "line 5: voxel_size_nm: expected three positive numbers, z, y, x, found [1, 0, -3]: ",
        "line 6: classes[1].color: expected a color \"#rrggbb\", found 'green': write",
        "line 7: instances[0].name: expected a name that rows do not have already, found 'image'",
        (
            "line 11: volumes[0].name: expected a name without / and control characters, "
            "of at most 200 bytes, found 'a/b'"
        ),
        "line 12: volumes[0].split: expected the name of a split",
        "line 13: volumes[0].image: ",
        "line 14: volumes[0].mitto: expected no such key, found it: did you mean mito?",
    ]
    assert len(found) == 10
    for line, text in zip(found, expected, strict=True):
        assert line.startswith(f"{path}: {text}")
    assert f"{tmp_path / 'nowhere.tif'}: expected a file, found nothing there" in found[8]


VOLUME = MINIMAL["volumes"][0]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": None}, 'name: expected a name.*, found nothing: write name = "my-dataset"'),
        ({"name": 3}, "name: expected a name .* found 3"),
        ({"name": "a..b"}, "name: expected .*found 'a..b'"),
        ({"name": "x" * 97}, "name: expected "),
        ({"instances": None}, "expected classes or instances, found nothing: write instances"),
        ({"instances": []}, "expected classes or instances, found nothing"),
        ({"volumes": None}, r"expected a volume, found nothing: write \[\[volumes\]\]"),
        ({"volumes": []}, r"volumes: expected at least one volume, found \[\]"),
        ({"volumes": {}}, r"volumes: expected volumes, each as a table \[\[volumes\]\], found {}"),
        ({"volumes": ["a"]}, r"volumes\[0\]: expected a table, found 'a'"),
        ({"title": "a\nb"}, r"title: expected a text of one line, found 'a\\nb'"),
        ({"title": 3}, "title: expected a text of one line, found 3"),
        ({"title": " "}, "title: expected a text"),
        ({"homepage": "www.x.org"}, "homepage: expected an address with http:// or https://"),
        ({"license": "CC BY"}, "license: expected an identifier of a license"),
        ({"license_link": "x"}, "license_link: expected an address"),
        ({"published": 21}, "published: expected a year, found 21"),
        ({"published": True}, "published: expected a year, found True"),
        ({"voxel_size_nm": [1, 2]}, "voxel_size_nm: expected three positive numbers"),
        ({"voxel_size_nm": [1, 2, float("nan")]}, "voxel_size_nm: expected"),
        ({"voxel_size_nm": [1, 2, float("inf")]}, "voxel_size_nm: expected"),
        ({"voxel_size_nm": [1, 2, 10**400]}, "voxel_size_nm: expected"),
        ({"voxel_size_nm": [1, 2, True]}, "voxel_size_nm: expected"),
        ({"voxel_size_nm": "4"}, "voxel_size_nm: expected"),
        ({"classes": "a"}, "classes: expected a list of names"),
        ({"classes": [""]}, r"classes\[0\].name: expected a text of one line, found ''"),
        ({"classes": [3]}, r"classes\[0\]: expected a table, found 3"),
        ({"classes": ["a", "a"]}, r"classes\[1\]: expected a name of its own, found 'a'"),
        ({"classes": [f"c{i}" for i in range(257)]}, "classes: expected at most 256 classes"),
        ({"classes": [{"name": "a", "nam": "a"}]}, r"classes\[0\].nam: .* mean name\?"),
        (
            {"classes": ["a", {"name": "b", "color": "#000000"}]},
            r"classes\[0\]: expected a color, as 1 other classes have, found none",
        ),
        (
            {"classes": [{"name": n, "color": "#000001"} for n in "ab"]},
            r"classes\[1\]: expected a color of its own, found '#000001': a has it",
        ),
        ({"classes": ["a"], "palettes": ["A"]}, r"classes\[0\].colors: expected a table"),
        (
            {"classes": [{"name": "a", "colors": {}}], "palettes": ["A"]},
            r"classes\[0\].colors.A: expected a color",
        ),
        ({"classes": ["a"], "semantic_codes": {"x": 0}}, "semantic_codes.x: expected a stored"),
        ({"classes": ["a"], "semantic_codes": {"01": 0}}, "semantic_codes.01: expected a stored"),
        ({"classes": ["a"], "semantic_codes": {"65536": 0}}, "expected a stored value from 0"),
        ({"classes": ["a"], "semantic_codes": {"²": 0}}, "expected a stored value from 0"),
        ({"classes": ["a"], "semantic_codes": {"9": 1}}, "the index of a class, 0 to 0, found 1"),
        ({"classes": ["a"], "semantic_codes": {"9": False}}, "the index of a class, 0 to 0"),
        ({"semantic_codes": {"9": 1}}, "expected no codes, since there are no classes"),
        ({"classes": ["a"], "confusable_classes": [0, 1]}, "expected indices of classes"),
        ({"instances": [""]}, "expected the name of a column"),
        ({"instances": ["a b"]}, r"instances\[0\].name: expected the name of a column"),
        ({"instances": ["cells", "cells"]}, r"instances\[1\].name: expected a name of its own"),
        ({"instances": ["cells", "Cells"]}, r"instances\[1\].name: expected a name of its own"),
        *(
            ({"instances": [name]}, "expected a name that rows do not have already")
            for name in ("semantic", "Z", "n_cells", "rle", "x_max", "split", "class_id", "corner")
        ),
        ({"instances": ["a", {"name": "b", "kind": "a"}]}, "kind: expected a kind of its own"),
        (
            {"instances": [{"name": "a", "kind": "c"}, {"name": "b", "kind": "c"}]},
            r"instances\[1\].kind: expected a kind of its own, found 'c'",
        ),
        ({"tags": ["a", "b", "a"]}, "tags: expected a list of different words, found"),
        ({"instances": [{"name": "a", "part_of": "b"}]}, "part_of: expected .*there are none"),
        ({"instances": [{"name": "a", "part_of": "a"}]}, "part_of: expected "),
        ({"instances": [{"name": "a", "parent": "b"}]}, "parent: expected part_of, too"),
        (
            {"instances": ["a", {"name": "b", "part_of": "a", "parent": "id"}]},
            r"instances\[1\].parent: expected a name for the ids of parents.*, found 'id'",
        ),
        (
            {"instances": [{"name": "a", "kind": "the a"}, {"name": "b", "part_of": "a"}]},
            r"instances\[1\].parent: expected a name .*, found 'the a': write parent = ",
        ),
        ({"instances": [{"name": "a", "first_class": 256}]}, "an integer from 0 to 255"),
        ({"instances": [{"name": "a", "has_class": 1}]}, "has_class: expected true or false"),
        ({"instances": [{"name": "a", "fills_classes": True}]}, "fills_classes: expected classes"),
        ({"known_files": {"a": "b"}}, "known_files.a: expected an MD5 and a text"),
        ({"Name": 1}, r"Name: expected no such key, found it: did you mean name\?"),
        ({"xyzzy": 1}, "xyzzy: expected no such key, found it: known here are name, title"),
    ],
)  # fmt: skip
def test_mistakes_of_the_dataset(change, sentence):
    document = {k: v for k, v in {**MINIMAL, **change}.items() if v is not None}
    with pytest.raises(DescriptionError, match=f"^description: (.*)?{sentence}") as caught:
        parse_description(document)
    assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"name": None},
            (
                "name: expected a name without / and control characters, of at most 200 "
                "bytes, found nothing"
            ),
        ),
        ({"name": ".."}, "name: expected a name"),
        ({"name": "a\n"}, "name: expected a name"),
        ({"name": "a\u202e"}, "name: expected a name"),
        ({"split": None}, "split: expected the name of a split: .*, found nothing"),
        ({"split": "a-b"}, "split: expected the name of a split"),
        ({"split": "all"}, "split: expected the name of a split"),
        ({"split": {"a.csv": "train"}}, "split: expected .*lists belong to a template"),
        ({"image": None}, "image: expected a text of one line, found nothing: write image"),
        ({"image": "a/{stem}.tif"}, "name: expected {stem}, as in image, found 'a'"),
        ({"image": ["a"]}, "image: expected a text"),
        ({"imagee": "a"}, r"imagee: expected no such key, found it: did you mean image\?"),
        ({"cells": 3}, "cells: expected a path, a pattern, or a table, found 3"),
        ({"cells": ""}, "cells: expected a path"),
        ({"cells": {}}, "cells.file: expected a text of one line, found nothing"),
        ({"cells": {"file": "a", "threshold": 1}}, "cells.threshold: expected components = true"),
        ({"cells": {"file": "a", "connectivity": 1}}, "connectivity: expected components = true"),
        (
            {"cells": {"file": "a", "components": True, "connectivity": 4}},
            "cells.connectivity: expected an integer from 1 to 3, found 4",
        ),
        (
            {"cells": {"file": "a", "components": True, "threshold": 0.5}},
            "cells.threshold: expected an integer from 0 to 65535, found 0.5",
        ),
        ({"cells": {"file": "a", "component": True}}, r"did you mean components\?"),
        ({"semantic": "a"}, "semantic: expected no such key without classes"),
        ({"shape": [1, 2]}, "shape: expected three positive integers"),
        (
            {"archives": ["zip"], "shape": [1, 2, 3]},
            r"archives: expected names of \[\[archives\]\] \(there are none\)",
        ),
        (
            {"name": "n" * 201},
            "name: expected a name without / and .* of at most 200 bytes, found",
        ),
        (
            {"name": "ü" * 101},
            "name: expected a name without / and .* of at most 200 bytes, found",
        ),
        ({"split": "n" * 51}, "split: expected the name of a split: .*, at most 50, .* found"),
        ({"label_suffix": "png"}, 'label_suffix: expected "json" or "tif"'),
        ({"label_versions": {"a": []}}, "label_versions.a: expected voxels of each class"),
        ({"name": "{stem}", "image": "{stem}.tif"}, "name: expected a volume, found a template"),
    ],
)
def test_mistakes_of_a_volume(change, sentence):
    volume = {k: v for k, v in {**VOLUME, **change}.items() if v is not None}
    with pytest.raises(
        DescriptionError, match=rf"^description: volumes\[0\]\.(.*)?{sentence}"
    ) as caught:
        parse_description({**MINIMAL, "volumes": [volume]})
    assert str(caught.value).count("\n") == 0


ARCHIVE = {"name": "zip", "file_name": "a.zip", "url": "https://x.org/a"}


@pytest.mark.parametrize(
    ("archive", "volume", "sentence"),
    [
        ({"file_name": None}, {}, r"archives\[0\].file_name: expected the name of a zip"),
        ({"url": None}, {}, r"archives\[0\].url: expected an address with .*, found nothing"),
        ({}, {"shape": None}, r"volumes\[0\].shape: expected the shape .*, found nothing"),
        ({}, {"archives": None}, r"volumes\[0\].archives: expected names .*, found none: .* own"),
    ],
)
def test_mistakes_of_archives(archive, volume, sentence):
    def change(values, others):
        return {k: v for k, v in {**values, **others}.items() if v is not None}

    stored = {**VOLUME, "archives": ["zip"], "shape": [1, 2, 3]}
    document = {**MINIMAL, "archives": [ARCHIVE], "volumes": [stored]}
    assert parse_description(document).volumes[0].archives == ("zip",)
    document["archives"], document["volumes"] = (
        [change(ARCHIVE, archive)],
        [change(stored, volume)],
    )
    with pytest.raises(DescriptionError, match=f"^description: {sentence}") as caught:
        parse_description(document)
    assert str(caught.value).count("\n") == 0


def test_components_of_classes_are_a_mistake():
    volume = {**VOLUME, "semantic": {"file": "a", "components": True}}
    with pytest.raises(DescriptionError, match=r"semantic.components: expected no components"):
        parse_description({**MINIMAL, "classes": ["a"], "volumes": [volume]})


def test_names_of_volumes_are_distinct_in_the_dataset():
    document = {**MINIMAL, "volumes": [VOLUME, VOLUME]}
    with pytest.raises(
        DescriptionError, match=r"volumes\[1\]\.name: expected a name of its own, found 'a': "
        r"volumes\[0\] has it"
    ):  # fmt: skip
        parse_description(document)
    document = {**MINIMAL, "optional_volumes": [{**VOLUME, "split": "test"}]}
    with pytest.raises(DescriptionError, match=r"optional_volumes\[0\]\.name: expected a name of"):
        parse_description(document)


def test_a_mistake_in_classes_brings_no_others():
    document = {
        **MINIMAL,
        "classes": [3],
        "semantic_codes": {"9": 1},
        "volumes": [{**VOLUME, "semantic": "s"}],
    }
    with pytest.raises(DescriptionError, match=r"^description: classes\[0\]: [^\n]*$"):
        parse_description(document)


def test_a_mistake_in_instances_brings_no_others():
    document = {**MINIMAL, "instances": ["my cells"], "volumes": [{**VOLUME, "my cells": "s"}]}
    with pytest.raises(DescriptionError, match=r"^description: instances\[0\].name: [^\n]*$"):
        parse_description(document)


def test_control_characters_of_a_description_are_escaped():
    with pytest.raises(DescriptionError, match=re.escape(r"\x1b")) as caught:
        parse_description({**MINIMAL, "a\x1b[2J": 1}, source="a\x1b.toml")
    assert "\x1b" not in str(caught.value)


# --- files ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"name = \n", r": line 1, column \d+: expected TOML, found a mistake: "),
        (b'name = "a"\nname = "b"\n', r": line 2, column \d+: expected TOML, .*overwrite"),
        (b'a = "', ": the end: expected TOML, found a mistake: unterminated string|: line 1"),
        (b'name = "\xff"', ": byte 8: expected text in UTF-8, found another encoding"),
        (b"a = " + b"[" * 50_000, ": expected TOML, found a mistake: "),
        (b"a = " + b"9" * 5_000, ": expected TOML, found a mistake: "),
    ],
)
def test_what_is_no_toml_is_one_sentence(content, sentence, tmp_path):
    path = tmp_path / "my.toml"
    path.write_bytes(content)
    with pytest.raises(DescriptionError, match=f"^{re.escape(str(path))}({sentence})") as caught:
        read_description(path)
    assert str(caught.value).count("\n") == 0


def test_what_is_no_file_is_one_sentence(tmp_path, monkeypatch):
    with pytest.raises(DescriptionError, match=r"expected a regular file, found a folder: name"):
        read_description(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DescriptionError, match=r"pipe: expected a regular file, found a pipe"):
        read_description(tmp_path / "pipe")
    with pytest.raises(MissingMemberError, match=r"nowhere\.toml: no such file"):
        read_description(tmp_path / "nowhere.toml")
    monkeypatch.setattr(module, "MAX_METADATA", 10)
    with pytest.raises(DescriptionError, match="expected at most 10 bytes, found more: name"):
        read_description(write(tmp_path, FULL))


def test_every_file_that_is_missing_is_reported(folder):
    (folder / "labels.png").unlink()
    (folder / "raw/1.tif").unlink()
    (folder / "masks/1.png").rename(folder / "masks/1.PNG")
    (folder / "masks/0.png").unlink()
    found = mistakes(write(folder, FULL))
    assert [re.search(r"line \d+: [\w.\[\]]+", line)[0] for line in found] == [
        "line 19: volumes[0].mitochondria",
        "line 20: volumes[0].semantic",
        "line 24: volumes[1].image",
        "line 25: volumes[1].cristae",
    ]
    assert "found none in the same capitals and small letters: 1.PNG" in found[0]


def test_a_name_that_no_file_can_have(folder):
    found = mistakes(write(folder, FULL.replace("labels.png", "x" * 300)))
    assert len(found) == 2


def test_the_error_is_public(folder):
    with pytest.raises(platelet_em.DescriptionError, match="line 1: name"):
        read_description(write(folder, FULL.replace("drosophila-vnc", "")))


def test_splits_that_differ_by_capitals_are_a_mistake():
    volumes = [
        {**VOLUME, "name": name, "split": split} for name, split in ("aA", "bB", "ca", "da")
    ]
    with pytest.raises(DescriptionError, match=r"volumes\[2\]\.split: expected A, as") as caught:
        parse_description({"name": "x", "instances": ["cells"], "volumes": volumes})
    assert len(str(caught.value).splitlines()) == 2
