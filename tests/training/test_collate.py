"""`collate`: records as batches, with labels dense or packed."""

import datasets
import numpy as np
import pytest

import platelet_em
from platelet_em import (
    ArgumentError,
    LazyLabels,
    PackedLabels,
    RandomWindows,
    ToTensors,
    collate,
    windows,
)

torch = pytest.importorskip("torch")
DataLoader = torch.utils.data.DataLoader

# --- stacked ----------------------------------------------------------------------------------


def test_collate_stacks_numbers_and_lists_other_values():
    records = [
        {
            "n": 1,
            "x": 0.5,
            "ok": True,
            "name": "a",
            "corner": [0, 0, 1],
            "u": np.uint32(2**32 - 1),
        },
        {"n": 2, "x": 1.5, "ok": False, "name": "b", "corner": [0, 0, 2], "u": np.uint32(0)},
    ]
    batch = collate(records)
    assert (batch["n"].dtype, batch["x"].dtype, batch["ok"].dtype) == (
        torch.int64, torch.float32, torch.bool,
    )  # fmt: skip
    assert batch["u"].tolist() == [2**32 - 1, 0]
    assert (batch["name"], batch["corner"]) == (["a", "b"], [[0, 0, 1], [0, 0, 2]])


def test_records_that_cannot_be_stacked_are_refused():
    with pytest.raises(ArgumentError, match="at least one record"):
        collate([])
    with pytest.raises(
        ArgumentError, match=r"all with the same columns, got \[\['a'\], \['b'\]\]"
    ):
        collate([{"a": 1}, {"b": 1}])
    records = [{"image": torch.zeros(1, n, 4)} for n in (3, 4)]
    with pytest.raises(
        ArgumentError, match=r"'image': tensors of shapes \[\(1, 3, 4\), \(1, 4, 4\)\] cannot"
    ):
        collate(records)


# --- windows as tensors -----------------------------------------------------------------------


@pytest.fixture
def windows_of_two(load):
    both = datasets.concatenate_datasets([load(), load(split="validation")])
    sampler = platelet_em.RandomWindows((2, 8, 8), 6)
    return platelet_em.windows(both, sampler, columns=["image", "cells"])


def test_corners_and_volumes_of_windows_become_tensors_on_request(windows_of_two):
    w = windows_of_two
    for make_batch in (collate, ToTensors().collate):
        batch = make_batch(w[:], tensors=True)
        assert batch["corner"].dtype == batch["volume"].dtype == torch.int64
        assert batch["corner"].tolist() == [window["corner"] for window in w]
        assert [w.volumes[k] for k in batch["volume"]] == [window["volume"] for window in w]
        assert len({*batch["volume"].tolist()}) == 2
        lists = make_batch(w[:])
        assert lists["corner"] == batch["corner"].tolist()
        assert lists["volume"] == [window["volume"] for window in w]
        assert torch.equal(batch["cells"], lists["cells"])


def test_volumes_that_lost_their_position_are_refused(windows_of_two):
    message = "tensors=True: expected volumes of platelet_em.windows, .* got '50'; keep the column"
    with pytest.raises(ArgumentError, match=message):
        collate([{"volume": "50", "z": 3}], tensors=True)
    forgetful = ToTensors(augment=lambda record: {**record, "volume": str(record["volume"])})
    with pytest.raises(ArgumentError, match=message):
        forgetful.collate([window for window in windows_of_two if window["volume"] == "50"],
                          tensors=True)  # fmt: skip
    assert collate([{"z": 3}], tensors=True)["z"].tolist() == [3]


# --- packed labels ----------------------------------------------------------------------------

LABELS = ("cells", "organelles")


@pytest.fixture
def pair(load):
    """The same windows with arrays and with lazy labels."""
    both = datasets.concatenate_datasets([load(), load(split="validation")])
    sampler = RandomWindows((2, 8, 8), 6, label_shape=(2, 5, 6))
    return windows(both, sampler), windows(both, sampler, packed=True)


def test_windows_with_packed_labels_are_packed_with_the_same_voxels(pair):
    dense, packed = (collate(w[:]) for w in pair)
    assert list(packed) == [*pair[1].columns, "volume", "corner"]
    for name in LABELS:
        assert type(packed[name]) is PackedLabels
        assert packed[name].shape == (6, 2, 5, 6)
        assert torch.equal(packed[name].to("cpu"), dense[name])
        assert dense[name].any()
    assert (packed["volume"], packed["corner"]) == (dense["volume"], dense["corner"])


def test_images_beside_packed_labels_keep_their_dtype(pair):
    dense, packed = (collate(w[:]) for w in pair)
    assert (dense["image"].dtype, packed["image"].dtype) == (torch.int32, torch.uint16)
    assert (dense["semantic"].dtype, packed["semantic"].dtype) == (torch.uint8, torch.uint8)
    for name in ("image", "semantic"):
        assert np.array_equal(packed[name].numpy(), dense[name].numpy())


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_send_packed_labels(pair, workers, method):
    dense, packed = pair
    context = method if workers else None
    loader = DataLoader(
        packed, 4, num_workers=workers, collate_fn=collate, multiprocessing_context=context
    )
    painted = torch.cat([batch["cells"].to("cpu") for batch in loader])
    assert torch.equal(painted, collate(dense[:])["cells"])


@pytest.mark.parametrize("config", ["slices", "volumes"])
def test_windows_of_slices_are_packed_as_planes(load, config):
    sampler = RandomWindows((8, 9), 6)
    dense, packed = (windows(load(config), sampler, packed=p) for p in (False, True))
    assert packed[0]["cells"].shape == (8, 9)
    for one, other in zip(dense, packed, strict=True):
        for name in LABELS:
            assert type(other[name]) is LazyLabels
            assert np.array_equal(other[name], one[name])
    assert torch.equal(collate(packed[:])["cells"].to("cpu"), collate(dense[:])["cells"])


def test_mirrored_windows_are_packed(volume):
    sampler = RandomWindows((12, 30, 40), 3, pad="reflect")
    dense, packed = (windows(volume, sampler, packed=p) for p in (False, True))
    assert torch.equal(collate(packed[:])["cells"].to("cpu"), collate(dense[:])["cells"])


def test_lazy_windows_keep_the_properties_of_instances(load, dense_volumes):
    w = windows(load(), RandomWindows((3, 8, 8), 4), packed=True)
    whole = load().with_format("platelet_em")[0]["organelles"]
    class_of = dict(zip(whole.ids.tolist(), whole.properties["class_id"].tolist(), strict=True))
    found = [window["organelles"] for window in w]
    assert any(len(labels.ids) for labels in found)
    for labels in found:
        expected = [class_of[label] for label in labels.ids.tolist()]
        assert labels.properties["class_id"].tolist() == expected


def test_rows_are_decoded_unless_packed_is_asked_for(load):
    rows = load("slices").with_format("platelet_em")
    records = [rows[k] for k in (0, 1)]
    dense, packed = collate(records), collate(records, packed=True)
    assert dense["cells"].dtype == torch.int32
    assert torch.equal(packed["cells"].to("cpu"), dense["cells"])
    assert packed["image"].dtype == torch.uint16


def test_windows_are_decoded_if_packed_is_declined(pair):
    dense, packed = pair
    batch = collate(packed[:], packed=False)
    assert torch.equal(batch["cells"], collate(dense[:])["cells"])
    assert batch["image"].dtype == torch.int32


def test_tensors_leave_packed_labels_as_they_are(pair):
    dense, packed = pair
    tensors = ToTensors(names={"cells": "instances"})
    expected, batch = tensors.collate(dense[:]), tensors.collate(packed[:])
    assert torch.equal(batch["instances"].to("cpu").long(), expected["instances"])
    for name in ("image", "semantic"):
        assert batch[name].dtype == expected[name].dtype
        assert torch.equal(batch[name], expected[name])
    assert type(tensors(packed[0])["instances"]) is LazyLabels


def test_windows_whose_corner_has_another_name_are_packed(pair):
    batch = ToTensors(names={"corner": "origin"}).collate(pair[1][:])
    assert type(batch["cells"]) is PackedLabels


def test_rows_become_tensors_with_packed_labels_on_request(load):
    rows = load("slices").with_format("platelet_em")
    records = [rows[k] for k in (0, 1)]
    batch = ToTensors().collate(records, packed=True)
    assert torch.equal(batch["cells"].to("cpu"), collate(records)["cells"])
    assert ToTensors().collate(records)["cells"].dtype == torch.int64


def test_an_augmentation_gets_arrays(pair):
    dense, packed = pair

    def flip(record):
        assert type(record["cells"]) is np.ndarray
        return {**record, "cells": record["cells"][:, ::-1]}

    tensors = ToTensors(augment=flip)
    for name in LABELS:
        found = tensors.collate(packed[:])[name]
        assert torch.equal(found, tensors.collate(dense[:])[name])


def test_packed_labels_of_different_shapes_are_refused():
    records = [{"cells": LazyLabels((n,), [], []), "corner": [0, 0, 0]} for n in (3, 4)]
    with pytest.raises(ArgumentError, match=r"'cells': tensors of shapes \[\(3,\), \(4,\)\]"):
        collate(records)


def test_an_augmentation_gets_arrays_of_labels_with_other_names_too(pair):
    seen = []
    tensors = ToTensors(labels={"semantic": "int64"}, augment=lambda r: seen.append(r) or r)
    batch = tensors.collate(pair[1][:2])
    assert type(seen[0]["cells"]) is np.ndarray
    assert torch.equal(batch["cells"], collate(pair[0][:2])["cells"])
