"""Values of own volumes in the format: properties that are null, images of 8 bits, no classes."""

import datasets
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.own import write_own

import platelet_em
from _platelet_em.rows.schema import arrow_schema, json_features, label_columns
from _platelet_em.spec import DatasetSpec, InstanceSpec, SemanticClass
from platelet_em import FORMAT, LazyLabels, LazyStack

SPEC = DatasetSpec(
    name="own",
    classes=tuple(SemanticClass(name=name) for name in "abc"),
    instances=(
        InstanceSpec(column="cells", name="cell", has_class=True),
        InstanceSpec(column="pores", name="pore", has_class=True, part_of="cells", parent="cell"),
    ),
)
PROPERTIES = {"class_id": 2, "purity": 0.5, "cell": 7}


def make_struct(count, present):
    """A label struct of `count` pixels, each an instance, with these properties and no others."""
    ids = list(range(3, 3 + count))
    return {
        "shape": [1, 9],
        "id": ids,
        "rle": [f"{k + 1} 1" for k in range(count)],
        "area": [1] * count,
        "bbox": [[0, k, 1, k + 1] for k in range(count)],
        "touches_border": [True] * count,
        **{name: [v] * count if name in present else None for name, v in PROPERTIES.items()},
    }


LABELS = st.none() | st.builds(
    make_struct, st.integers(0, 3), st.sets(st.sampled_from([*PROPERTIES]))
)


def check(found, struct):
    """Labels equal those of the struct, and have its properties that are not null."""
    if struct is None:
        assert found is None
        return
    assert isinstance(found, LazyLabels)
    assert found.equals(LazyLabels(struct["shape"], struct["id"], struct["rle"]))
    expected = {name for name in PROPERTIES if struct[name] is not None}
    assert {*found.properties} == {"touches_border", *expected}
    for name in expected:
        assert found.properties[name].tolist() == struct[name]


@given(st.lists(LABELS, min_size=1, max_size=4))
def test_null_properties_are_properties_that_labels_lack(structs):
    columns = label_columns(SPEC)
    features = datasets.Features.from_dict({"pores": json_features(columns)["pores"]})
    rows = datasets.Dataset.from_dict({"pores": structs}, features=features)
    assert rows.data.schema.field("pores").type == arrow_schema(columns).field("pores").type
    formatted = rows.with_format(FORMAT)
    found = [
        [row["pores"] for row in formatted],
        [*formatted["pores"]],
        formatted[:]["pores"],
        [row["pores"] for row in formatted.to_iterable_dataset()],
        [row["pores"] for row in rows.to_iterable_dataset().map(dict).with_format(FORMAT)],
    ]
    for values in found:
        for value, struct in zip(values, structs, strict=True):
            check(value, struct)


@given(st.sets(st.sampled_from([*PROPERTIES])), st.integers(0, 3))
def test_labels_that_a_map_returns_lack_the_same_properties(present, count):
    features = datasets.Features.from_dict({"pores": json_features(label_columns(SPEC))["pores"]})
    struct = make_struct(count, present)
    rows = datasets.Dataset.from_dict({"pores": [struct] * 2}, features=features)
    mapped = rows.with_format(FORMAT).map(lambda row: {"pores": row["pores"]}, features=features)
    for row in mapped:
        check(row["pores"], struct)
    again = rows.with_format(FORMAT).to_iterable_dataset().map(lambda row: {"more": row["pores"]})
    for row in again:
        check(row["more"], struct)


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    found = write_own(folder / "stack", "stack"), write_own(folder / "pages", "multipage")
    return (*found, folder / "cache")


def load(own, number, config, **options):
    """Rows of all splits, and the truth."""
    rows = platelet_em.load_dataset(
        config, description=own[number].description, cache_dir=own[2], **options
    )
    return rows, own[number].volumes


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("config", ["slices", "volumes"])
def test_rows_are_the_same_wherever_they_are_stored(own, number, config, tmp_path):
    rows, truths = load(own, number, config)
    stream, _ = load(own, number, config, streaming=True)
    for split, part in rows.items():
        part.save_to_disk(tmp_path / split)
        part.to_parquet(tmp_path / f"{split}.parquet")
        parquet = datasets.Dataset.from_parquet(
            str(tmp_path / f"{split}.parquet"), cache_dir=str(tmp_path)
        )
        sources = {
            "map-style": part,
            "streaming": stream[split],
            "mapped": part.map(lambda row: {"more": 1}),
            "streamed and mapped": stream[split].map(lambda row: {"more": 1}),
            "saved": datasets.load_from_disk(tmp_path / split).with_format(FORMAT),
            "parquet": parquet.with_format(FORMAT),
        }
        for source in sources.values():
            for row in source:
                check_row(row, truths[row["volume"]], config)


def check_row(row, truth, config):
    """A row equals its volume, or slice of it; what the volume does not have is None."""
    z = row["z"] if config == "slices" else slice(None)
    assert isinstance(row["image"], np.ndarray if config == "slices" else LazyStack)
    assert row["image"].dtype == truth.image.dtype
    np.testing.assert_array_equal(row["image"], truth.image[z])
    if truth.semantic is None:
        assert row["semantic"] is None
    else:
        np.testing.assert_array_equal(row["semantic"], truth.semantic[z])
    counts = [name for name in row if name.startswith("n_")]
    assert counts
    for name in counts:
        column = name.removeprefix("n_")
        labels = truth.labels.get(column)
        assert (row[name] is None) == (row[column] is None) == (labels is None)
        if labels is not None:
            np.testing.assert_array_equal(row[column], labels[z])
            assert row[name] == len(np.unique(labels[z])) - 1
