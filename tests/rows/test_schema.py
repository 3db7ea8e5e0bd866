"""The columns, as datasets, Arrow, Parquet and YAML spell them."""

import json

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from _platelet_em.facts import PUBLISHED
from _platelet_em.hub.record import parquet_metadata
from _platelet_em.rows import schema
from _platelet_em.rows.make import config_named

COLUMNS_OF = {
    name: config_named(name).columns(PUBLISHED)
    for name in ("slices", "volumes", "instances", "preview")
}
FEATURES = {name: schema.json_features(columns) for name, columns in COLUMNS_OF.items()}


def arrow_schema(config):
    return schema.arrow_schema(COLUMNS_OF[config])


def yaml_features(config):
    return schema.yaml_features(COLUMNS_OF[config])


CONFIGS = ["slices", "volumes", "instances", "preview"]
LABELS = ["shape", "id", "rle", "area", "bbox", "touches_border"]
COLUMNS = {
    "slices": ["image", "semantic", "volume", "z", "n_cells", "n_organelles"],
    "volumes": [
        *("image", "semantic", "preview", "volume", "shape", "voxel_size_nm"),
        *("n_cells", "n_organelles"),
    ],
    "instances": [
        *("volume", "kind", "id", "class_id", "class_name", "voxels", "purity", "cell"),
        *("z_min", "z_max", "y_min", "y_max", "x_min", "x_max", "touches_border"),
    ],
    "preview": ["volume", "z", "preview"],
}
CLASSES = ["background", "cell", "mitochondrion", "alpha granule", "canalicular vessel"]
CLASSES += ["dense granule body", "dense granule core"]


@pytest.fixture(params=CONFIGS)
def config(request):
    return request.param


def features(config):
    return datasets.Features.from_dict(FEATURES[config])


def types_in(feature):
    if isinstance(feature, dict):
        found = {feature["_type"]} if isinstance(feature.get("_type"), str) else set()
        return found.union(*(types_in(value) for value in feature.values()))
    return set()


def test_the_columns_of_the_design_in_its_order(config):
    labels = ["cells", "organelles"] if config in ("slices", "volumes") else []
    assert list(FEATURES[config]) == COLUMNS[config] + labels
    assert arrow_schema(config).names == COLUMNS[config] + labels


@pytest.mark.parametrize("config", ["slices", "volumes"])
def test_the_structs_of_the_design(config):
    found = arrow_schema(config)
    expected = {
        "shape": pa.list_(pa.int32()),
        "id": pa.list_(pa.int32()),
        "rle": pa.list_(pa.string()),
        "area": pa.list_(pa.int64()),
        "bbox": pa.list_(pa.list_(pa.int32())),
        "touches_border": pa.list_(pa.bool_()),
    }
    properties = {
        "class_id": pa.list_(pa.int64()),
        "purity": pa.list_(pa.float32()),
        "cell": pa.list_(pa.int32()),
    }
    for name, fields in (("cells", expected), ("organelles", {**expected, **properties})):
        assert {f.name: f.type for f in found.field(name).type} == fields
        assert [f.name for f in found.field(name).type] == list(fields)


def test_the_plain_columns_of_the_design():
    for config, column, kind in [
        ("slices", "volume", pa.string()),
        ("slices", "z", pa.int32()),
        ("slices", "n_cells", pa.int32()),
        ("slices", "n_organelles", pa.int32()),
        ("volumes", "shape", pa.list_(pa.int32())),
        ("volumes", "voxel_size_nm", pa.list_(pa.float64())),
        ("preview", "z", pa.int32()),
    ]:
        assert arrow_schema(config).field(column).type == kind


def test_images_are_images():
    image = datasets.Image()
    assert features("slices")["image"] == features("slices")["semantic"] == image
    assert features("volumes")["preview"] == features("preview")["preview"] == image
    assert [features("volumes")[c].feature for c in ("image", "semantic")] == [image, image]


def test_class_ids_have_the_names_of_all_seven_classes():
    for config in ("slices", "volumes"):
        assert features(config)["organelles"]["class_id"].feature.names == CLASSES


def test_the_arrow_schema_is_that_of_datasets(config):
    assert arrow_schema(config).equals(features(config).arrow_schema)
    assert arrow_schema(config).metadata is None


def test_the_features_are_plain_and_spell_lists_sequence(config):
    assert types_in(FEATURES[config]) <= {"Value", "Sequence", "Image", "ClassLabel"}


def test_the_features_of_a_card_are_read_back(config):
    text = yaml.safe_dump(yaml_features(config), sort_keys=False)
    assert "sequence" not in text
    read = datasets.Features._from_yaml_list(yaml.safe_load(text))
    assert read == features(config)
    assert list(read) == list(features(config))


def test_a_card_spells_features_as_datasets_itself(config):
    assert yaml_features(config) == features(config)._to_yaml_list()


def test_datasets_reads_the_features_from_parquet_metadata(config, tmp_path):
    written = arrow_schema(config).with_metadata(parquet_metadata(COLUMNS_OF[config], {}))
    pq.write_table(written.empty_table(), tmp_path / "a.parquet")
    read = datasets.Features.from_arrow_schema(pq.read_schema(tmp_path / "a.parquet"))
    assert read == features(config)


def test_parquet_metadata_spells_lists_sequence_and_holds_our_record(config):
    metadata = parquet_metadata(COLUMNS_OF[config], {"made_by": "a test"})
    assert set(metadata) == {"huggingface", "platelet_em"}
    spelled = json.loads(metadata["huggingface"])["info"]["features"]
    assert spelled == FEATURES[config]
    assert "List" not in types_in(spelled)
    assert json.loads(metadata["platelet_em"]) == {"schema_version": 2, "made_by": "a test"}
    assert ("Sequence" in types_in(spelled)) == (config in ("slices", "volumes"))
