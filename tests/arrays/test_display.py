"""How lazy arrays show themselves."""

import base64
import html.parser
import io
import pickle
import re

import datasets
import numpy as np
import pytest
from PIL import Image

import platelet_em
from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.arrays.page import encode_page
from _platelet_em.arrays.stack import LazyStack

NAMES = ("background", "cell", "mitochondrion <b>")


def labels(shape=(3, 400, 600)):
    dense = np.zeros(shape, np.int32)
    dense[:, 10:90, 20:300] = 7
    dense[1, 100:200, 5:500] = 9
    found = LazyLabels.from_array(dense)
    with_classes = LazyLabels(shape, found.ids, found.rle, {"class_id": [1, 2]})
    with_classes.class_names = NAMES
    return with_classes


def picture(text):
    [data] = re.findall(r"src='data:image/png;base64,([^']+)'", text)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


class Outline(html.parser.HTMLParser):
    """Refuses tags that are not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.text = [], ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += f"{data} "


def test_labels_in_text():
    assert repr(labels()) == (
        "LazyLabels(shape=(3, 400, 600), 2 instances: 1 cell, 1 mitochondrion <b>)"
    )
    assert repr(LazyLabels((2, 3), [4], ["1 1"])) == "LazyLabels(shape=(2, 3), 1 instance)"
    assert repr(labels().select([9])).endswith("1 instance: 1 mitochondrion <b>)")
    unnamed = LazyLabels((2, 3), [4], ["1 1"], {"class_id": [5]})
    assert repr(unnamed).endswith("1 instance: 1 class 5)")


def test_labels_in_a_notebook():
    lazy = labels()
    text = lazy._repr_html_()
    shown = Outline(text).text
    assert "(3, 400, 600)" in shown
    assert "int32" in shown
    assert "2 instances: 1 cell, 1 mitochondrion <b>" in shown
    assert f"{lazy.nbytes / 1000:.3g} kB stored, 2.88 MB decoded" in shown
    drawn, dense = picture(text), np.asarray(lazy)[1, ::4, ::4]
    assert drawn.shape == (*dense.shape, 3)
    assert len({tuple(color) for color in drawn[dense == 7].tolist()}) == 1
    assert not drawn[dense == 0].any()
    assert drawn[dense == 9].max() == 255
    assert tuple(drawn[dense == 7][0]) != tuple(drawn[dense == 9][0])


def test_a_stack_in_a_notebook():
    images = np.random.default_rng(0).integers(0, 65536, (5, 30, 20)).astype(np.uint16)
    lazy = LazyStack([encode_page(page) for page in images])
    text = lazy._repr_html_()
    assert "uint16" in Outline(text).text
    drawn = picture(text)
    assert drawn.shape == (30, 20)
    order = np.argsort(images[2].ravel())
    assert (np.diff(drawn.ravel()[order].astype(int)) >= 0).all()
    assert (drawn.min(), drawn.max()) == (0, 255)


def test_only_one_slice_is_decoded(monkeypatch):
    pages = [encode_page(np.full((4, 5), z, np.uint16)) for z in range(3)]
    damaged = LazyStack([pages[0], pages[1], b"no picture"])
    assert "LazyStack" in damaged._repr_html_()
    read = []
    monkeypatch.setattr(LazyLabels, "_read", lambda self, picked: read.append(picked) or
                        np.zeros([len(p) for p in picked], np.int32))  # fmt: skip
    labels()._repr_html_()
    assert [[len(indices) for indices in picked] for picked in read] == [[1, 100, 150]]


@pytest.mark.parametrize("lazy", [LazyLabels((0, 3), [], []), LazyLabels((4,), [1], ["1 2"]),
                                  LazyStack([])], ids=repr)  # fmt: skip
def test_arrays_without_a_picture(lazy):
    assert "<img" not in lazy._repr_html_()


def test_an_image_of_one_value():
    lazy = LazyStack([encode_page(np.full((4, 5), 900, np.uint16))])
    assert len(np.unique(picture(lazy._repr_html_()))) == 1


def test_damaged_properties_are_left_out_of_the_text():
    def damaged():
        raise platelet_em.LabelFormatError("damaged")

    lazy = LazyLabels.from_buffer(
        (3,), [4], np.frombuffer(b"1 2", np.uint8), np.array([0, 3]), damaged
    )
    assert repr(lazy) == "LazyLabels(shape=(3,), 1 instance)"


@pytest.mark.parametrize("classes", [["<b>"], [None], [2.5]], ids=repr)
def test_classes_that_are_no_indices_are_left_out_of_the_text(classes):
    lazy = LazyLabels((3,), [4], ["1 2"], {"class_id": classes})
    assert repr(lazy) == "LazyLabels(shape=(3,), 1 instance)"
    assert "1 instance" in Outline(lazy._repr_html_()).text


@pytest.mark.parametrize(
    ("lazy", "message"),
    [
        (LazyLabels((4, 4), [7], ["1 <b>"]), "id 7: expected digits and blanks, got '<'"),
        (LazyLabels((4, 4), [7], ["9 9"]), "id 7: run 1 is 9 9"),
        (LazyStack([encode_page(np.zeros((4, 5), np.uint16)), b"no picture"]), "page 1: "),
    ],
)
def test_a_notebook_shows_what_is_wrong_with_a_damaged_slice(lazy, message):
    text = lazy._repr_html_()
    assert message in Outline(text).text
    assert "<img" not in text


def test_rows_know_the_names_of_classes(repository, archives):
    rows = datasets.load_dataset(str(repository), "slices", split="train")
    made = platelet_em.load_dataset("slices", data_dir=archives, split="train", streaming=True)
    for row in (rows.with_format("platelet_em")[3], list(made)[3]):
        for lazy in (row["organelles"], pickle.loads(pickle.dumps(row["organelles"]))):
            assert lazy.class_names == platelet_em.CLASS_NAMES
            names = [platelet_em.CLASS_NAMES[i] for i in lazy.properties["class_id"]]
            assert all(f"{names.count(name)} {name}" in repr(lazy) for name in set(names))
        assert row["cells"].class_names == () or "class_id" not in row["cells"].properties
