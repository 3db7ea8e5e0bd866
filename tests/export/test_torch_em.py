"""torch-em's own loader trains from the format `hdf5`; `make test-torch-em` runs this."""

import numpy as np
import pytest

import platelet_em
from _platelet_em.export.run import export

# torch-em and what it imports warn of themselves and of each other.
pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def torch_em():
    torch = pytest.importorskip("torch")
    try:
        import torchvision  # noqa: F401  # imported by torch-em
    except ImportError:
        pytest.skip("torchvision is not installed")
    except RuntimeError:
        # torchvision for GPUs has no operators with torch for CPUs. The loader needs none, but a
        # second import of torchvision fails without these two.
        for name in ("nms", "qnms"):
            signature = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            torch.library.define(f"torchvision::{name}", signature)
    return pytest.importorskip("torch_em")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("torch-em")
    platelet_em.write_sample(folder / "archives", depth=12, size=96)
    return export(folder / "archives", folder / "out", to="hdf5", volume="50")


def test_the_loader_gives_the_voxels(torch_em, exported):
    """Without normalization and augmentation, a patch of the whole volume is the volume."""
    import h5py
    import torch

    with h5py.File(exported / "50.h5") as file:
        truth = {"raw": file["raw"][:]} | {c: file["labels"][c][:] for c in file["labels"]}
    for column in ("semantic", "cells", "organelles"):
        dataset = torch_em.default_segmentation_dataset(
            str(exported / "50.h5"), "raw", str(exported / "50.h5"), f"labels/{column}",
            patch_shape=truth["raw"].shape, raw_transform=lambda raw: raw.astype(np.float32),
            transform=lambda *arrays: arrays, label_dtype=torch.int64, n_samples=1,
        )  # fmt: skip
        raw, labels = dataset[0]
        np.testing.assert_array_equal(raw.numpy()[0], truth["raw"])
        np.testing.assert_array_equal(labels.numpy()[0], truth[column])


def test_a_network_is_trained_for_some_steps(torch_em, exported):
    import torch
    from torch_em.loss import DiceLoss
    from torch_em.model import AnisotropicUNet
    from torch_em.transform.label import BoundaryTransform

    loader = torch_em.default_segmentation_loader(
        str(exported / "50.h5"), "raw", str(exported / "50.h5"), "labels/organelles",
        batch_size=2, patch_shape=(4, 32, 32), n_samples=6,
        label_transform=BoundaryTransform(add_binary_target=True),
    )  # fmt: skip
    torch.manual_seed(0)
    factors = [[1, 2, 2], [1, 2, 2]]
    model = AnisotropicUNet(1, 2, factors, initial_features=4, final_activation="Sigmoid")
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = torch.optim.Adam(model.parameters())
    for raw, target in loader:
        assert (raw.shape, target.shape) == ((2, 1, 4, 32, 32), (2, 2, 4, 32, 32))
        loss = DiceLoss()(model(raw), target)
        assert torch.isfinite(loss)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = [*model.parameters()]
    assert any((a != b).any() for a, b in zip(before, after, strict=True))
