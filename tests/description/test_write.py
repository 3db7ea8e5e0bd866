"""A description of a spec is read as the same spec; the published one and its schema."""

import json
import string
from dataclasses import replace
from importlib import resources
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

import _platelet_em
from _platelet_em.description.parse import parse_description, read_description
from _platelet_em.description.write import describe_spec
from _platelet_em.errors import DescriptionError
from _platelet_em.facts import PUBLISHED
from _platelet_em.spec import (
    SEMANTIC,
    Archive,
    Components,
    DatasetSpec,
    InstanceSpec,
    SemanticClass,
    VolumeSpec,
)

FILES = resources.files("_platelet_em.description")
SCHEMA = json.loads((FILES / "description.schema.json").read_text("utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def test_the_published_dataset_ships_as_a_description():
    path = Path(_platelet_em.__file__).parent / "description" / "published.toml"
    assert read_description(path) == PUBLISHED


@pytest.mark.parametrize("spec", [PUBLISHED, PUBLISHED.with_optional()], ids=["", "with_test"])
def test_the_published_dataset_is_described(spec):
    described = describe_spec(spec)
    assert parse_description(described) == spec
    assert parse_description(json.loads(json.dumps(described, sort_keys=False))) == spec


def test_volumes_and_folders_can_be_left_out():
    own = replace(PUBLISHED, folder="/home/me", archives=())
    described = describe_spec(own, volumes=False)
    assert "/home/me" not in json.dumps(described)
    expected = replace(own, volumes=(), optional_volumes=(), other_labels=(), folder="")
    assert parse_description(described, needs_volumes=False) == expected


# --- any spec ---------------------------------------------------------------------------------

WORDS = st.text(string.ascii_lowercase, min_size=1, max_size=8).map(lambda text: f"q{text}")
LINES = st.text(st.characters(categories=("L", "N", "P", "Sm")), min_size=1, max_size=12)
TEXTS = st.one_of(st.just(""), LINES)
COUNTS = st.lists(st.integers(0, 2**63 - 1), min_size=1).map(tuple)
COLORS = st.tuples(*[st.integers(0, 255)] * 3)


@st.composite
def instance_specs(draw, columns, class_count):
    found = []
    for column in columns:
        parent = draw(st.one_of(st.none(), st.sampled_from(found))) if found else None
        found.append(
            InstanceSpec(
                column=column,
                name=draw(st.sampled_from([column, f"one {column}"])),
                first_class=draw(st.integers(0, max(class_count - 1, 1))),
                fills_classes=bool(class_count) and draw(st.booleans()),
                has_class=draw(st.booleans()),
                part_of=parent and parent.column,
                parent=parent and draw(WORDS),
            )
        )
    return tuple(found)


@st.composite
def volume_specs(draw, name, columns):
    labels = [c for c in columns if draw(st.booleans())]
    masks = [c for c in labels if c != SEMANTIC and draw(st.booleans())]
    rules = st.builds(Components, threshold=st.integers(0, 65535), connectivity=st.integers(1, 3))
    return VolumeSpec(
        name=name,
        split=draw(WORDS),
        shape=draw(st.one_of(st.none(), st.tuples(*[st.integers(1, 9)] * 3))),
        image_file=draw(LINES),
        label_files=tuple((c, draw(LINES)) for c in labels),
        components=tuple((c, draw(rules)) for c in masks),
        is_partly_labeled=draw(st.booleans()),
        note=draw(TEXTS),
        label_versions=draw(
            st.dictionaries(LINES, COUNTS, max_size=2)
            .map(lambda versions: tuple(versions.items()))
        ),
    )  # fmt: skip


@st.composite
def specs(draw):
    names = draw(st.lists(LINES, unique=True, max_size=4))
    palettes = draw(st.sampled_from([(), ("color",), ("A", "B")])) if names else ()
    colors = [
        draw(st.lists(COLORS, unique=True, min_size=len(names), max_size=len(names)))
        for _ in palettes
    ]
    classes = tuple(
        SemanticClass(
            name=name,
            colors=tuple(palette[i] for palette in colors),
            accessible=draw(st.one_of(st.none(), COLORS)),
        )
        for i, name in enumerate(names)
    )
    columns = draw(st.lists(WORDS, unique=True, min_size=not names, max_size=3))
    codes = draw(st.dictionaries(st.integers(0, 65535), st.integers(0, 3), max_size=4))
    label_columns = [*([SEMANTIC] if names else []), *columns]
    names_of_volumes = draw(st.lists(WORDS, unique=True, min_size=1, max_size=3))
    return DatasetSpec(
        name=draw(WORDS),
        title=draw(TEXTS),
        about=draw(TEXTS),
        notes=tuple(draw(st.lists(LINES, unique=True, max_size=3))),
        tags=tuple(draw(st.lists(LINES, unique=True, max_size=3))),
        license=draw(WORDS),
        license_note=draw(TEXTS),
        voxel_size_nm=draw(
            st.one_of(st.none(), st.tuples(*[st.floats(1e-3, 1e3)] * 3))
        ),
        classes=classes,
        semantic_codes=tuple((code, i) for code, i in codes.items() if i < len(classes)),
        palettes=palettes,
        instances=draw(instance_specs(columns, len(classes))),
        volumes=tuple(draw(volume_specs(name, label_columns)) for name in names_of_volumes),
        folder=draw(LINES),
    )  # fmt: skip


@given(specs())
def test_any_spec_is_described(spec):
    described = json.loads(json.dumps(describe_spec(spec)))
    assert parse_description(described) == spec
    VALIDATOR.validate(described)


def test_own_archives_are_described():
    archive = Archive(name="zip", file_name="a.zip", url="https://x.org/a", size="1 MB", md5=None)
    volume = VolumeSpec(
        name="a", split="train", shape=(1, 2, 3), archives=("zip",), image_file="a.tif"
    )
    spec = DatasetSpec(
        name="x", classes=(SemanticClass(name="a"),), volumes=(volume,), archives=(archive,)
    )
    assert parse_description(describe_spec(spec)) == spec


# --- the schema for editors -------------------------------------------------------------------

OWN = {
    "name": "own",
    "citation": "10.1234/x",
    "classes": ["a", {"name": "b", "color": "#000000"}],
    "semantic_codes": {"255": 0},
    "instances": ["cells", {"name": "parts", "part_of": "cells", "parent": "cell"}],
    "volumes": [
        {"name": "{stem}", "split": {"a.csv": "train"}, "image": "{stem}.png"},
        {
            "name": "b",
            "split": "test",
            "image": "b.tif",
            "semantic": "s.tif",
            "cells": {"file": "c.tif", "components": True, "threshold": 3},
        },
    ],
}


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("document", [describe_spec(PUBLISHED), OWN], ids=["published", "own"])
def test_descriptions_are_valid(document):
    VALIDATOR.validate(document)


def test_the_schema_has_every_key():
    described = describe_spec(replace(PUBLISHED, title="x", folder="x", semantic_codes=((1, 1),)))
    assert {*SCHEMA["properties"]} == {*described}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", None), ("name", "a b"), ("name", "a--b"), ("volumes", None), ("volumes", []),
        ("licence", "mit"), ("license", "CC BY"), ("citation", "me"), ("voxel_size_nm", [1, 0, 1]),
        ("voxel_size_nm", [1, 1]), ("published", "21"), ("homepage", "x"),
        ("classes", [3]), ("classes", [{"color": "#000000"}]), ("semantic_codes", {"a": 0}),
        ("classes", [{"name": "a", "color": "red"}]), ("instances", ["a b"]),
        ("instances", ["n_a"]), ("instances", [{"name": "a", "parent": "b"}]),
        ("semantic_codes", {"1": -1}), ("bright_background", 1),
    ],
)  # fmt: skip
def test_mistakes_that_a_schema_can_see(key, value):
    document = {k: v for k, v in {**OWN, key: value}.items() if v is not None}
    assert not VALIDATOR.is_valid(document)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", None), ("name", "a/b"), ("split", None), ("split", "a-b"), ("split", {}),
        ("split", "all"), ("image", None), ("image", 3), ("cells", 3), ("cells", {}),
        ("cells", {"file": "a", "threshold": 3}), ("cells", {"file": "a", "comp": True}),
        ("cells", {"file": "a", "components": True, "connectivity": 4}), ("shape", [1, 2]),
    ],
)  # fmt: skip
def test_mistakes_of_volumes_that_a_schema_can_see(key, value):
    volume = {k: v for k, v in {**OWN["volumes"][1], key: value}.items() if v is not None}
    assert not VALIDATOR.is_valid({**OWN, "volumes": [volume]})


def test_classes_or_instances_are_required_by_the_schema():
    document = {k: v for k, v in OWN.items() if k not in ("classes", "instances")}
    assert not VALIDATOR.is_valid(document)


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
ITEMS = st.dictionaries(
    st.sampled_from(["name", "split", "image", "semantic", "cells", "colors", "archives", "file"]),
    VALUES,
)


@given(
    st.dictionaries(
        st.sampled_from(sorted(SCHEMA["properties"])), st.one_of(VALUES, st.lists(ITEMS))
    )
)
def test_any_document_is_read_or_refused(document):
    sentences = refusal({**OWN, "volumes": OWN["volumes"][1:], **document})
    assert all(": expected " in sentence for sentence in sentences)


def refusal(document):
    try:
        spec = parse_description(document)
    except DescriptionError as error:
        return str(error).splitlines()
    assert parse_description(describe_spec(spec)) == spec
    return []
