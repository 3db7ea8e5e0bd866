"""`ToTensors(augment=...)` with augmentation libraries: image and labels stay aligned."""

import datasets
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import platelet_em

LABELS = ("semantic", "cells", "organelles")
RNG = np.random.default_rng(7)
CELLS = RNG.integers(0, 2**16, (4, 8, 8)).repeat(3, axis=1).repeat(3, axis=2).astype(np.int32)


def make_window():
    """A 3D window whose image is its cells, so that a test sees whether they stay aligned."""
    return {
        "image": CELLS.astype(np.uint16),
        "semantic": (CELLS % 7).astype(np.uint8),
        "cells": CELLS,
        "organelles": CELLS,
        "volume": "50",
        "corner": [0, 0, 0],
    }


def make_slice():
    return {name: x[2] if isinstance(x, np.ndarray) else x for name, x in make_window().items()}


def check_aligned(tensors):
    """Check that image and labels were transformed alike, and that no id is new."""
    cells = tensors["cells"]
    assert torch.equal(tensors["image"][0], cells.float())
    assert torch.equal(tensors["semantic"], cells % 7)
    assert torch.equal(tensors["organelles"], cells)
    assert {tensors[name].dtype for name in LABELS} == {torch.int64}
    assert set(cells.unique().tolist()) <= set(CELLS.ravel().tolist())


@pytest.fixture
def albumentations(monkeypatch):
    monkeypatch.setenv("NO_ALBUMENTATIONS_UPDATE", "1")  # without it, the import asks PyPI
    import albumentations

    return albumentations


class Albumentations:
    """A transform of albumentations for `augment`: the first example of the README."""

    def __init__(self, transform):
        self.transform = transform

    def __call__(self, row):
        out = self.transform(image=row["image"], masks=[row[name] for name in LABELS])
        return {**row, "image": out["image"], **dict(zip(LABELS, out["masks"], strict=True))}


def test_albumentations_crops_and_turns(albumentations):
    hook = Albumentations(
        albumentations.Compose([albumentations.RandomCrop(16, 12), albumentations.D4(p=1)])
    )
    tensors = platelet_em.ToTensors(augment=hook)
    for _ in range(8):
        result = tensors(make_slice())
        assert sorted(result["image"].shape) == [1, 12, 16]
        check_aligned(result)


def test_albumentations_warps_and_changes_contrast(albumentations):
    steps = [
        albumentations.ElasticTransform(p=1),
        albumentations.Affine(rotate=(20, 20), p=1),
        albumentations.RandomBrightnessContrast(p=1),
    ]
    statistics = platelet_em.intensity_statistics([make_window()])
    tensors = platelet_em.ToTensors(
        normalize="minmax",
        statistics=statistics,
        augment=Albumentations(albumentations.Compose(steps)),
    )
    result = tensors(make_slice())
    assert not torch.equal(result["cells"], torch.from_numpy(CELLS[2]).long())
    assert set(result["cells"].unique().tolist()) <= {0, *CELLS[2].ravel().tolist()}
    assert torch.equal(result["semantic"], result["cells"] % 7)
    assert 0 <= result["image"].min() < result["image"].max() <= 1


def test_albumentations_in_workers_over_rows(albumentations, repository):
    stream = datasets.load_dataset(str(repository), "slices", split="train", streaming=True)
    hook = Albumentations(albumentations.Compose([albumentations.RandomCrop(16, 16)]))
    rows = stream.with_format("platelet_em").map(platelet_em.ToTensors(augment=hook))
    loader = DataLoader(rows, batch_size=3, num_workers=2, collate_fn=platelet_em.collate)
    batches = list(loader)
    assert sum(len(batch["z"]) for batch in batches) == 9
    assert {batch["image"].shape[1:] for batch in batches} == {(1, 16, 16)}


def test_torchio_flips_pads_and_crops():
    import torchio as tio

    steps = [tio.RandomFlip(axes=(0, 1, 2)), tio.Pad(2), tio.CropOrPad((4, 16, 16))]
    hook = torchio_hook(tio, tio.Compose(steps))
    result = platelet_em.ToTensors(augment=hook)(make_window())
    assert result["image"].shape == (1, 4, 16, 16)
    check_aligned(result)


def test_torchio_warps():
    import torchio as tio

    steps = [tio.RandomAffine(degrees=(20, 20, 0, 0, 0, 0)), tio.RandomNoise(std=0.1)]
    hook = torchio_hook(tio, tio.Compose(steps))
    result = platelet_em.ToTensors(augment=hook)(make_window())
    assert not torch.equal(result["cells"], torch.from_numpy(CELLS).long())
    assert torch.equal(result["semantic"], result["cells"] % 7)
    assert set(result["cells"].unique().tolist()) <= {0, *CELLS.ravel().tolist()}


def torchio_hook(tio, transform):
    """The second example of the README."""

    def augment(row):
        labels = {name: tio.LabelMap(tensor=row[name][None]) for name in LABELS}
        out = transform(tio.Subject(image=tio.ScalarImage(tensor=row["image"][None]), **labels))
        return {**row, **{name: out[name].data[0] for name in ("image", *LABELS)}}

    return augment


def test_monai_flips_turns_and_crops():
    from monai import transforms

    keys = ["image", *LABELS]
    hook = transforms.Compose(
        [
            transforms.EnsureChannelFirstd(keys, channel_dim="no_channel"),
            transforms.RandFlipd(keys, prob=1, spatial_axis=2),
            transforms.RandRotate90d(keys, prob=1, spatial_axes=(1, 2)),
            transforms.RandSpatialCropd(keys, (3, 16, 16), random_size=False),
            transforms.SqueezeDimd(keys, dim=0),
        ]
    )
    result = platelet_em.ToTensors(augment=hook)(make_window())
    assert result["image"].shape == (1, 3, 16, 16)
    assert {type(result[name]) for name in keys} == {torch.Tensor}
    check_aligned(result)


def test_monai_warps():
    from monai import transforms

    keys = ["image", *LABELS]
    hook = transforms.Compose(
        [
            transforms.EnsureChannelFirstd(keys, channel_dim="no_channel"),
            transforms.RandAffined(
                keys, prob=1, rotate_range=(0.3, 0, 0), mode=["bilinear"] + ["nearest"] * 3
            ),
            transforms.SqueezeDimd(keys, dim=0),
        ]
    )
    result = platelet_em.ToTensors(augment=hook)(make_window())
    assert torch.equal(result["semantic"], result["cells"] % 7)
    assert set(result["cells"].unique().tolist()) <= set(CELLS.ravel().tolist())


# --- slips ------------------------------------------------------------------------------------

RECORD = {"image": np.zeros((4, 4), np.uint16), "cells": np.zeros((4, 4), np.int32)}


@pytest.mark.parametrize("returned", [None, 5, [("image", 1)]])
def test_an_augment_that_returns_no_record_is_named(returned):
    tensors = platelet_em.ToTensors(augment=lambda record: returned)
    with pytest.raises(
        platelet_em.ArgumentError, match=r"^augment: expected .* return the record"
    ):
        tensors(RECORD)


@pytest.mark.parametrize("column", ["image", "cells"])
@pytest.mark.parametrize(
    "value",
    [torch.zeros(4, 4).bfloat16(), torch.zeros(4, 4, requires_grad=True), [[1], [2, 3]]],
    ids=["bfloat16", "grad", "ragged"],
)
def test_values_of_augment_that_numpy_cannot_read_are_named(column, value):
    tensors = platelet_em.ToTensors(augment=lambda record: {**record, column: value})
    expected = (
        rf"^augment: column '{column}': NumPy cannot read .*\.detach\(\)\.float\(\)\.cpu\(\)"
    )
    with pytest.raises(platelet_em.ArgumentError, match=expected):
        tensors(RECORD)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.usefixtures("impatient_torch")
def test_tensors_instead_of_their_collate_are_an_error_that_says_so(repository, workers):
    rows = datasets.load_dataset(str(repository), "slices", split="train")
    loader = DataLoader(
        rows.with_format("platelet_em"),
        batch_size=2,
        collate_fn=platelet_em.ToTensors(),
        num_workers=workers,
    )
    batches = iter(loader)
    with pytest.raises(platelet_em.ArgumentError, match=r"collate_fn=tensors\.collate"):
        next(batches)
    if workers:
        batches._shutdown_workers()  # now, and not when the iterator is collected
