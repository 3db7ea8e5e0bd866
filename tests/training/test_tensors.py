"""`ToTensors` and `collate`: rows, batches and windows as tensors, with real loaders."""

import pickle
import sys

import datasets
import numpy as np
import pytest
import torch
from datasets.fingerprint import Hasher
from torch.utils.data import DataLoader

import platelet_em
from platelet_em import (
    ArgumentError,
    ImageFormatError,
    IntensityStatistics,
    LabelFormatError,
    LabelRangeError,
    MissingExtraError,
    ToTensors,
    collate,
    intensity_statistics,
)

LABELS = {"semantic": "semantic", "cells": "cell", "organelles": "organelle"}
STATISTICS = IntensityStatistics(minimum=2, maximum=10, mean=5, std=2, low=3, high=7)


@pytest.fixture
def lazy(loaded):
    return loaded["train"].with_format("platelet_em")


@pytest.fixture
def stream(repository):
    return datasets.load_dataset(str(repository), "slices", split="train", streaming=True)


@pytest.fixture
def volumes(repository, cache):
    return datasets.load_dataset(str(repository), "volumes", cache_dir=str(cache))


@pytest.fixture(scope="session")
def statistics(loaded):
    return intensity_statistics(loaded)


def make_window():
    """A window as `windows` returns it: arrays, the volume and the corner."""
    rng = np.random.default_rng(3)
    return {
        "image": rng.integers(0, 2**16, (4, 8, 8)).astype(np.uint16),
        "semantic": rng.integers(0, 7, (2, 6, 6), np.uint8),
        "organelles": rng.integers(0, 2**31, (2, 6, 6), np.int32),
        "volume": "50",
        "corner": [3, -1, 7],
    }


def check_row(row, publication, statistics, batched=False):
    """Compare a row, or a batch, of tensors that are normalized as "standard" with the truth."""
    kinds = ("images", *LABELS.values())
    if batched:
        truths = [publication.volumes[v] for v in row["volume"]]
        pairs = [*zip(truths, row["z"], strict=True)]
        expected = {kind: np.stack([getattr(t, kind)[z] for t, z in pairs]) for kind in kinds}
        [volume] = set(row["volume"])
    else:
        volume, truth = row["volume"], publication.volumes[row["volume"]]
        expected = {kind: getattr(truth, kind)[int(row["z"])] for kind in kinds}
    measured = statistics[volume]
    images = (expected["images"].astype(np.float64) - measured.mean) / measured.std
    assert row["image"].dtype == torch.float32
    np.testing.assert_allclose(row["image"].numpy().squeeze(-3), images, rtol=1e-4, atol=1e-5)
    for column, kind in LABELS.items():
        assert row[column].dtype == torch.int64
        assert np.array_equal(row[column].numpy(), expected[kind])


# --- rows of datasets -------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_loader_over_rows_in_our_format(lazy, publication, statistics, workers):
    tensors = ToTensors(normalize="standard", statistics=statistics)
    loader = DataLoader(lazy, batch_size=4, num_workers=workers, collate_fn=tensors.collate)
    seen = []
    for batch in loader:
        assert batch["z"].dtype == torch.int64
        check_row(batch, publication, statistics, batched=True)
        seen += batch["z"].tolist()
    assert seen == list(range(9))


@pytest.mark.parametrize("workers", [0, 2])
def test_loader_over_with_transform(loaded, publication, statistics, workers):
    tensors = ToTensors(normalize="standard", statistics=statistics)
    rows = loaded["train"].with_transform(tensors)
    check_row(rows[2], publication, statistics)
    for batch in DataLoader(rows, batch_size=4, num_workers=workers, collate_fn=collate):
        check_row(batch, publication, statistics, batched=True)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", [None, "platelet_em"])
def test_loader_over_a_mapped_stream(stream, publication, statistics, workers, kind):
    tensors = ToTensors(normalize="standard", statistics=statistics)
    rows = stream.with_format(kind).map(tensors)
    seen = []
    for batch in DataLoader(rows, batch_size=2, num_workers=workers, collate_fn=collate):
        check_row(batch, publication, statistics, batched=True)
        seen += batch["z"].tolist()
    assert sorted(seen) == list(range(9))


def test_stream_mapped_in_batches(stream, publication, statistics):
    tensors = ToTensors(normalize="standard", statistics=statistics)
    for row in stream.with_format("platelet_em").map(tensors, batched=True, batch_size=4):
        check_row(row, publication, statistics)


@pytest.mark.parametrize("options", [{}, {"batched": True, "batch_size": 4}, {"num_proc": 2}])
@pytest.mark.parametrize("kind", [None, "platelet_em"])
def test_map_writes_renamed_columns(loaded, publication, statistics, kind, options):
    names = {"image": "pixel_values", **{name: f"{name}_labels" for name in LABELS}}
    tensors = ToTensors(normalize="standard", statistics=statistics, names=names)
    source = loaded["train"].with_format(kind)
    removed = [name for name in source.column_names if name not in ("volume", "z")]
    written = source.map(tensors, remove_columns=removed, **options).with_format("torch")
    assert set(written.column_names) == {"volume", "z", *names.values()} | (
        {"n_cells", "n_organelles"}  # returned by `tensors`, though they are removed
    )
    for row in written:
        check_row({k: row[v] for k, v in names.items()} | row, publication, statistics)


def test_map_finds_its_cache(lazy, statistics):
    tensors = ToTensors(normalize="standard", statistics=statistics, names={"image": "x"})
    again = pickle.loads(pickle.dumps(tensors))
    assert again == tensors
    assert Hasher.hash(again) == Hasher.hash(tensors)
    assert Hasher.hash(ToTensors()) != Hasher.hash(tensors)
    columns = lazy.select_columns(["volume", "image"])
    first = columns.map(tensors, remove_columns=["volume"])
    assert columns.map(again, remove_columns=["volume"]).cache_files == first.cache_files


@pytest.mark.parametrize("kind", [None, "platelet_em"])
def test_rows_of_volumes(volumes, publication, kind):
    truth = publication.volumes["50"]
    row = ToTensors()(volumes["train"].with_format(kind)[0])
    assert row["image"].shape == (1, *truth.images.shape)
    assert np.array_equal(row["image"][0], truth.images)
    for column, name in LABELS.items():
        assert np.array_equal(row[column], getattr(truth, name))
    transformed = volumes["train"].with_transform(ToTensors())[0]
    assert torch.equal(transformed["image"], row["image"])


def test_uint16_images_are_collated_as_int32(lazy, publication):
    truth = publication.volumes["50"]
    batch = collate([lazy[0], lazy[3]])
    assert batch["image"].dtype == batch["cells"].dtype == torch.int32
    assert batch["semantic"].dtype == torch.uint8
    assert np.array_equal(batch["image"], truth.images[[0, 3]])
    assert np.array_equal(batch["cells"], truth.cell[[0, 3]])
    assert batch["volume"] == ["50", "50"]


# --- one record -------------------------------------------------------------------------------


def test_values_that_are_not_arrays_are_kept():
    window = make_window()
    tensors = ToTensors()(window)
    assert tensors["image"].shape == (1, 4, 8, 8)
    assert tensors["image"].dtype == torch.float32
    assert np.array_equal(tensors["image"][0], window["image"])
    assert np.array_equal(tensors["organelles"], window["organelles"])
    assert (tensors["volume"], tensors["corner"]) == ("50", [3, -1, 7])
    assert isinstance(window["image"], np.ndarray)
    assert ToTensors(channel_axis=False)(window)["image"].shape == (4, 8, 8)


def test_batches_of_windows_are_stitched_to_the_volume():
    volume = np.random.default_rng(0).integers(0, 2**16, (4, 8, 8)).astype(np.uint16)
    corners = [[z, 0, x] for z in (0, 2) for x in (0, 4)]
    rows = [
        {"image": volume[z : z + 2, y:, x : x + 4], "volume": "50", "corner": [z, y, x]}
        for z, y, x in corners
    ]
    pairs = []
    for batch in DataLoader(rows, batch_size=3, collate_fn=ToTensors().collate):
        assert batch["volume"] == ["50"] * len(batch["corner"])
        pairs += zip(batch["corner"], batch["image"], strict=True)
    stitched = platelet_em.stitch(pairs, volume.shape, channel_axes=1)
    assert np.array_equal(stitched[0], volume)


@pytest.mark.parametrize(
    ("normalize", "offset", "scale"),
    [("none", 0, 1), ("minmax", 2, 8), ("standard", 5, 2), ("percentile", 3, 4)],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32, ">u2"])
def test_normalization(normalize, offset, scale, dtype):
    image = np.arange(12).reshape(3, 4).astype(dtype)
    before = image.copy()
    tensors = ToTensors(normalize=normalize, statistics={"50": STATISTICS})
    result = tensors({"image": image, "volume": "50"})["image"]
    assert result.dtype == torch.float32
    assert np.array_equal(result[0], (np.arange(12).reshape(3, 4) - offset) / scale)
    assert np.array_equal(image, before)


def test_a_volume_of_one_value_is_only_shifted():
    rows = [{"volume": "50", "image": np.full((2, 2), 7, np.uint16)}]
    for normalize in ("minmax", "standard", "percentile"):
        tensors = ToTensors(normalize=normalize, statistics=intensity_statistics(rows))
        assert tensors(rows[0])["image"].count_nonzero() == 0


def test_every_16_bit_value_is_exact_in_float32():
    image = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
    assert np.array_equal(ToTensors()({"image": image})["image"][0].numpy(), image)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("column", "dtype", "labels"),
    [
        ("image", np.float32, "int64"),
        ("cells", np.int64, "int64"),
        ("semantic", np.uint8, "uint8"),
    ],
)
def test_arrays_are_copied_only_if_necessary(column, dtype, labels):
    tensors = ToTensors(labels=labels)
    array = np.ones((4, 4), dtype)
    assert np.shares_memory(tensors({column: array})[column].numpy(), array)
    for other in (array[::-1], array[:, ::2], array.copy()):
        other.setflags(write=False)
        result = tensors({column: other})[column].numpy()
        assert not np.shares_memory(result, array)
        assert np.array_equal(result.reshape(other.shape), other)


def test_ids_that_do_not_fit_the_dtype_are_refused():
    narrow = ToTensors(labels="uint8")
    cells = platelet_em.LazyLabels((2, 2), [7, 255], ["1 1", "3 1"])
    assert narrow({"cells": cells})["cells"].tolist() == [[7, 0], [255, 0]]
    assert narrow({"cells": cells})["cells"].dtype == torch.uint8
    cells = platelet_em.LazyLabels((2, 2), [7, 256], ["1 1", "3 1"])
    with pytest.raises(LabelRangeError, match=r"cells: id 256 does not fit uint8; use .*int64"):
        narrow({"cells": cells})
    with pytest.raises(LabelRangeError, match="semantic: id -1 does not fit uint8"):
        narrow({"semantic": np.array([[-1, 2]])})
    with pytest.raises(LabelRangeError, match=f"cells: id {2**63} does not fit int64"):
        ToTensors()({"cells": np.array([[2**63, 1]], np.uint64)})


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf, 2**24, -(2**24)])
def test_float_labels_that_are_not_ids_are_refused(value):
    to_tensors = ToTensors(labels={"cells": "int64"})
    good = np.array([[2**24 - 1, 0]], np.float32)
    assert to_tensors({"cells": good})["cells"].tolist() == [[2**24 - 1, 0]]
    with pytest.raises(LabelFormatError, match="cells: expected integer labels, which float32"):
        to_tensors({"cells": np.array([[1, value]], np.float32)})
    with pytest.raises(
        LabelFormatError, match="cells: expected integer labels, got dtype complex"
    ):
        to_tensors({"cells": np.ones((2, 2), np.complex64)})


def test_a_dictionary_chooses_the_columns_of_labels():
    tensors = ToTensors(labels={"semantic": "uint8", "organelles": "int64"})
    result = tensors({**make_window(), "cells": "unchanged"})
    assert (result["semantic"].dtype, result["organelles"].dtype) == (torch.uint8, torch.int64)
    assert result["cells"] == "unchanged"


def test_none_and_empty_records_are_kept():
    row = {"image": None, "cells": None, "volume": "50"}
    assert ToTensors()(row) == row
    assert collate([row, row]) == {"image": [None] * 2, "cells": [None] * 2, "volume": ["50"] * 2}
    assert ToTensors()({}) == {}
    assert ToTensors(names={"image": "x"})({"image": []}) == {"x": []}


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_images_that_float32_would_round_are_refused(dtype):
    image = np.array([[2**24 + 1]], dtype)
    for tensors in (ToTensors(), ToTensors(augment=lambda _: {"image": image})):
        with pytest.raises(ImageFormatError, match=f"{np.dtype(dtype)} do not fit float32"):
            tensors({"image": image})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"normalize": "max"},
            "normalize: expected one of none, minmax, standard, percentile, got 'max'",
        ),
        ({"labels": "int32"}, "labels: expected one of int64, uint8, .* got 'int32'"),
        ({"labels": {"cells": "uint16"}}, "labels: expected one of int64, uint8"),
        ({"labels": {"cells": ["int64"]}}, "labels: expected one of int64, uint8"),
        ({"normalize": "minmax"}, "needs the statistics of complete volumes: .*intensity_stat"),
    ],
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(ArgumentError, match=message):
        ToTensors(**options)


@pytest.mark.parametrize("names", [{"image": "x", "cells": "x"}, {"image": "cells"}])
def test_names_that_lose_a_column_are_refused(names):
    row = {"image": np.ones((2, 2), np.uint16), "cells": np.ones((2, 2), np.int32)}
    with pytest.raises(ArgumentError, match=r"gives two of the columns .* the same name"):
        ToTensors(names=names)(row)


def test_names_may_be_swapped():
    row = {"semantic": np.zeros((2, 2), np.uint8), "cells": np.ones((2, 2), np.int32)}
    converted = ToTensors(names={"semantic": "cells", "cells": "semantic"})(row)
    assert converted["semantic"].all()
    assert not converted["cells"].any()


def test_augment_may_write_to_labels(lazy):
    def blank(row):
        for name in ("semantic", "cells", "organelles"):
            row[name][:] = 7
        return row

    row = lazy[0]
    before = {name: np.array(row[name]) for name in ("semantic", "cells", "organelles")}
    converted = ToTensors(augment=blank)(row)
    for name, labels in before.items():
        assert (converted[name] == 7).all()
        assert np.array_equal(row[name], labels)


def test_a_volume_without_statistics_is_refused():
    tensors = ToTensors(normalize="minmax", statistics={"50": STATISTICS})
    for volume, row in (("'24'", {"volume": "24"}), ("None", {})):
        with pytest.raises(ArgumentError, match=rf"no statistics of volume {volume}.*\['50'\]"):
            tensors({"image": np.ones((2, 2), np.uint16), **row})


def test_without_torch_an_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    tensors = ToTensors()
    for call in (lambda: tensors(make_window()), lambda: collate([{"a": 1}])):
        with pytest.raises(MissingExtraError, match=r"pip install platelet-em\[torch\]"):
            call()
