"""The files of a built repository, against the rules of `datasets` and of the Hub's viewer.

Tests are named after the numbers of the rules in the project's notes on the Hub. They check two
repositories: one of small irregular volumes, and one of slices of the published size.

Rules about code are tested elsewhere. Of those on `datasets`: the cache of the builder (2) and
how it streams (8) in test_builder; finding the builder by name (3) and the script for 3.x (11) in
test_register and test_oldest; the format (4) in test_formatter; lazy values under other formats
(6) in test_lazy; reading the files with 3.6 (10) in test_oldest; the bytes that move over HTTP
(12) in test_stream. Rules on uploading are tested in test_push.
"""

import io
import itertools
import json
from pathlib import PurePosixPath

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from datasets.data_files import resolve_pattern
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCard
from PIL import Image
from support import viewer
from support.folders import front_matter

from _platelet_em.facts import PUBLISHED
from _platelet_em.publisher.palettes import class_palette

CONFIGS = ("slices", "volumes", "instances", "preview")
SPLITS = ("train", "validation")
PLAIN = (datasets.Value, datasets.Image, datasets.ClassLabel, datasets.List)
DEPTH = {spec.split: spec.shape[0] for spec in PUBLISHED.volumes}

each_config = pytest.mark.parametrize("config", CONFIGS)
each_split = pytest.mark.parametrize("split", SPLITS)


@pytest.fixture(params=["small", "full size"])
def built(request):
    return request.getfixturevalue("repository" if request.param == "small" else "full_size")


def shards(folder, config="*", split="*"):
    found = sorted(folder.glob(f"{config}/{split}-*.parquet"))
    assert found
    return found


def row_groups(path):
    """(row group, its columns) of a file."""
    metadata = pq.read_metadata(path)
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        yield group, [group.column(i) for i in range(group.num_columns)]


def offset(column):
    """Position of a column chunk in its file."""
    return min(filter(None, (column.dictionary_page_offset, column.data_page_offset)))


def read(folder, config, split):
    tables = [pq.read_table(path) for path in shards(folder, config, split)]
    return pa.concat_tables(tables).to_pylist()


def parquet_features(path):
    """The features that `datasets` finds in a file."""
    return datasets.Features.from_arrow_schema(pq.read_schema(path))


def card_features(folder, config):
    """The features that `datasets` and the viewer find in the card."""
    card = DatasetCard.load(folder / "README.md")
    return DatasetInfosDict.from_dataset_card_data(card.data)[config].features


def leaves(feature):
    if isinstance(feature, dict):
        for part in feature.values():
            yield from leaves(part)
    else:
        yield feature
        if isinstance(feature, datasets.List):
            yield from leaves(feature.feature)


def type_names(value):
    """Every `_type` in the JSON form of features."""
    if isinstance(value, dict):
        if isinstance(value.get("_type"), str):
            yield value["_type"]
        for part in value.values():
            yield from type_names(part)


def types_in_parquet(path):
    metadata = pq.read_schema(path).metadata[b"huggingface"]
    return set(type_names(json.loads(metadata)["info"]["features"]))


# --- datasets ---------------------------------------------------------------------------------


def test_datasets_1_no_script_that_load_dataset_would_refuse(built):
    assert not list(built.rglob("*.py"))


def test_datasets_5_features_are_plain_in_metadata_and_card(built):
    for path in shards(built):
        assert types_in_parquet(path) <= {"Value", "Image", "ClassLabel", "Sequence"}
    for config in CONFIGS:
        assert {type(leaf) for leaf in leaves(card_features(built, config))} <= set(PLAIN)


def test_datasets_6_formats_give_16_bit_images(built):
    import torch

    stream = datasets.load_dataset(str(built), "slices", split="train", streaming=True)
    row = next(iter(stream.with_format("numpy")))
    assert (row["image"].dtype, row["semantic"].dtype) == (np.uint16, np.uint8)
    tensors = next(iter(stream.with_format("torch")))
    assert (tensors["image"].dtype, tensors["semantic"].dtype) == (torch.uint16, torch.uint8)
    assert np.array_equal(tensors["image"].numpy(), row["image"][None]), "channels come first"


@each_config
def test_datasets_7_images_are_encoded_by_this_project(built, config):
    for split in SPLITS:
        for row in read(built, config, split):
            cells = [row[name] for name in ("image", "semantic", "preview") if name in row]
            for page in itertools.chain(*(c if isinstance(c, list) else [c] for c in cells)):
                name = PurePosixPath(page["path"])
                assert name.name == page["path"], "a name, not a path"
                with Image.open(io.BytesIO(page["bytes"])) as picture:
                    assert picture.format == {".tif": "TIFF", ".png": "PNG"}[name.suffix]


def test_datasets_8_no_archives_to_stream_from(built):
    found = {path.suffix for path in built.rglob("*") if path.is_file()}
    assert ".parquet" in found
    assert not found & {".zip", ".tar", ".gz", ".tgz", ".7z", ".tif", ".tiff"}


def test_datasets_9_shards_for_eight_workers(built):
    stream = datasets.load_dataset(str(built), "slices", split="train", streaming=True)
    assert stream.num_shards == len(shards(built, "slices", "train")) == 8


def test_datasets_10_lists_are_spelled_for_3_and_5_and_empty_ones_are_lists(repository):
    for path in shards(repository):
        assert "List" not in types_in_parquet(path)
        has_lists = path.parent.name in ("slices", "volumes")
        assert ("Sequence" in types_in_parquet(path)) == has_lists
    head = yaml.safe_dump(front_matter(repository)["dataset_info"])
    assert "list:" in head
    assert "sequence" not in head
    row = read(repository, "slices", "train")[0]
    assert (row["n_cells"], row["n_organelles"]) == (0, 0)
    for column in ("cells", "organelles"):
        empty = {k: v for k, v in row[column].items() if k != "shape"}
        assert all(v == [] for v in empty.values())
    numpy = datasets.load_dataset(str(repository), "slices", split="train", streaming=True)
    assert next(iter(numpy.with_format("numpy")))["cells"]["bbox"].shape == (0,)


@each_split
def test_datasets_12_images_are_first_and_labels_last(full_size, split):
    for path in shards(full_size, "slices", split):
        names = [column.path_in_schema.split(".")[0] for _, c in row_groups(path) for column in c]
        assert list(dict.fromkeys(names)) == [
            *("image", "semantic", "volume", "z"),
            *("n_cells", "n_organelles", "cells", "organelles"),
        ]
        for _, columns in row_groups(path):
            offsets = [offset(column) for column in columns]
            assert offsets == sorted(offsets)
        *_, (_, columns) = row_groups(path)
        tail = min(offset(c) for c in columns if c.path_in_schema.startswith(("z", "cells")))
        assert path.stat().st_size - tail < 0.05 * path.stat().st_size


def test_datasets_12_slice_numbers_and_cells_are_a_twentieth_of_the_bytes(full_size):
    paths = shards(full_size, "slices", "train")
    wanted = sum(pq.read_metadata(path).serialized_size for path in paths)
    for path in paths:
        for _, columns in row_groups(path):
            chosen = [c for c in columns if c.path_in_schema.split(".")[0] in ("z", "cells")]
            wanted += sum(c.total_compressed_size for c in chosen)
    assert wanted < 0.05 * sum(path.stat().st_size for path in paths)


def test_datasets_13_nothing_is_loaded_by_an_https_address(built):
    for config in front_matter(built)["configs"]:
        assert not [entry["path"] for entry in config["data_files"] if ":" in entry["path"]]
    card = (built / "README.md").read_text()
    assert "load_dataset(" in card
    assert 'load_dataset("http' not in card


# --- the viewer -------------------------------------------------------------------------------


def test_viewer_1_ten_slices_fit_with_their_pictures(full_size):
    features = card_features(full_size, "slices")
    rows = read(full_size, "slices", "train")
    answer = viewer.first_rows(rows, features, "slices", "train")
    assert viewer.size(answer) < viewer.FIRST_BYTES
    items = answer["rows"]
    assert len(items) == viewer.FIRST_ROWS
    # Labels of two rows are shown in full; of the others, the start of their JSON.
    assert [item["truncated_cells"] for item in items] == [
        *([], []),
        *([["cells", "organelles"]] * 8),
    ]
    for item in items:
        assert all(item["row"][name]["width"] == 800 for name in ("image", "semantic"))
    # However long labels are, truncated rows are short.
    assert max(viewer.size(item) for item in items if item["truncated_cells"]) < 4000


@each_split
def test_viewer_1_volumes_keep_their_preview(full_size, split):
    features, rows = card_features(full_size, "volumes"), read(full_size, "volumes", split)
    answer = viewer.first_rows(rows, features, "volumes", split)
    [item] = answer["rows"]
    assert viewer.size(answer) < viewer.FIRST_BYTES
    assert item["truncated_cells"] == ["image", "semantic", "cells", "organelles"]
    assert item["row"]["preview"]["width"] > 800


@each_split
@pytest.mark.parametrize(("built", "config"), [("repository", "slices"), ("full_size", "preview")])
def test_viewer_1_small_rows_are_not_truncated(built, config, split, request):
    folder = request.getfixturevalue(built)
    features, rows = card_features(folder, config), read(folder, config, split)
    answer = viewer.first_rows(rows, features, config, split)
    assert len(answer["rows"]) == len(rows)
    assert not any(item["truncated_cells"] for item in answer["rows"])


@each_split
@each_config
def test_viewer_2_pages_of_the_published_depth_stay_below_the_limit(full_size, config, split):
    rows = read(full_size, config, split)
    slices = len(read(full_size, "slices", split))
    answer = viewer.page(rows, card_features(full_size, config), config, split)
    # A page of a configuration with one row per slice has all slices of the volume.
    assert DEPTH[split] <= viewer.PAGE_ROWS
    assert viewer.size(answer) / slices * DEPTH[split] < viewer.ANSWER_BYTES


@each_config
def test_viewer_2_statistics_count_instances_and_have_short_names(built, config):
    features = card_features(built, config)
    numbers = {"preview": {"z"}, "instances": {"id", "x_min"}}.get(
        config, {"n_cells", "n_organelles"}
    )
    assert {name for name in numbers if features[name] == datasets.Value("int32")} == numbers
    strings = [name for name, feature in features.items() if feature == datasets.Value("string")]
    assert strings == (["volume", "kind", "class_name"] if config == "instances" else ["volume"])
    for split in SPLITS:
        rows = read(built, config, split)
        assert {type(row[name]) for row in rows for name in numbers} == {int}
        assert max(len(row["volume"]) for row in rows) <= 10


@pytest.mark.parametrize("column", ["image", "semantic"])
def test_viewer_3_images_reach_the_visitor_bit_for_bit(built, column):
    mode = {"image": "I;16", "semantic": "P"}[column]
    for row in [read(built, "slices", split)[1] for split in SPLITS]:
        form, data = viewer.encode_for_browser(row[column]["bytes"])
        assert form == "PNG", "JPEG would change the values"
        with (
            Image.open(io.BytesIO(row[column]["bytes"])) as stored,
            Image.open(io.BytesIO(data)) as seen,
        ):
            assert stored.mode == seen.mode == mode
            assert np.array_equal(np.asarray(seen), np.asarray(stored))
            if mode == "P":
                assert seen.getpalette()[:21] == class_palette(PUBLISHED).ravel().tolist()


def test_viewer_3_pages_of_volumes_and_previews_have_modes_that_are_shown(built):
    for split in SPLITS:
        [row] = read(built, "volumes", split)
        for name, mode in (("image", "I;16"), ("semantic", "P")):
            assert {Image.open(io.BytesIO(page["bytes"])).mode for page in row[name]} == {mode}
        for preview in (row, *read(built, "preview", split)):
            assert Image.open(io.BytesIO(preview["preview"]["bytes"])).mode == "RGB"


def test_viewer_4_row_groups_are_small_with_an_index_and_no_dictionary(built):
    for path in shards(built):
        for group, columns in row_groups(path):
            assert group.num_rows == 1 or group.total_byte_size < 22_000_000
            for column in columns:
                assert column.compression == "ZSTD"
                assert not column.has_dictionary_page
                assert not any("DICTIONARY" in encoding for encoding in column.encodings)
                assert column.has_offset_index
                # Arrow leaves it out where strings or bytes are long.
                assert column.has_column_index or column.physical_type == "BYTE_ARRAY"


@each_split
@each_config
def test_viewer_4_a_page_of_the_published_depth_can_be_read(full_size, config, split):
    # One of the viewer's two ways of reading counts all row groups of a page, uncompressed.
    read_together = sum(
        group.total_byte_size for path in shards(full_size, config, split)
        for group, _ in row_groups(path)
    )  # fmt: skip
    slices = len(read(full_size, "slices", split))
    assert read_together / slices * DEPTH[split] < viewer.SCAN_BYTES


@each_config
def test_viewer_5_card_and_metadata_have_the_same_features(built, config, tmp_path):
    card = card_features(built, config)
    cache = str(tmp_path)
    builder = datasets.load_dataset_builder(str(built), config, cache_dir=cache)
    assert builder.info.features == card
    for path in shards(built, config):
        assert parquet_features(path) == card
        assert list(parquet_features(path)) == list(card) == pq.read_schema(path).names
        assert card.arrow_schema.equals(pq.read_schema(path).remove_metadata())


def test_viewer_6_patterns_of_splits_match_their_shards(built):
    found = []
    for config in front_matter(built)["configs"]:
        schemas = set()
        for entry in config["data_files"]:
            assert "-" not in entry["split"]
            expected = shards(built, config["config_name"], entry["split"])
            matched = resolve_pattern(entry["path"], base_path=str(built))
            assert sorted(matched) == [str(path.resolve()) for path in expected]
            schemas |= {pq.read_schema(path).to_string() for path in expected}
            found += expected
        assert len(schemas) == 1, "all shards of a configuration have the same columns"
    assert sorted(found) == shards(built), "every file belongs to one configuration"


@each_config
def test_viewer_7_no_column_makes_it_a_time_series(built, config):
    for path in shards(built, config):
        for field in pq.read_schema(path):
            is_list = pa.types.is_list(field.type)
            assert not (is_list and pa.types.is_float32(field.type.value_type)), field.name
