"""nnU-Net itself finds, checks and reads an export; `make test-nnunet` runs this."""

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from support.own import write_own

import platelet_em

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("nnunetv2") is None, reason="nnunetv2 is not installed"
)

CHECK = """
import sys
from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprints
extract_fingerprints([int(sys.argv[1])], check_dataset_integrity=True, num_processes=1)
"""
"""Find the dataset by its number, check its integrity, and read all training volumes."""

READ = """
import sys
import numpy as np
from nnunetv2.imageio.tif_reader_writer import Tiff3DIO
image, of_image = Tiff3DIO().read_images([sys.argv[1]])
labels, of_labels = Tiff3DIO().read_seg(sys.argv[2])
spacings = [of_image["spacing"], of_labels["spacing"]]
np.savez(sys.argv[3], image=image, labels=labels, spacings=np.array(spacings))
"""


def run(program, *arguments, raw):
    """Run a program with nnU-Net's folders; returns what it wrote."""
    folders = {f"nnUNet_{name}": str(raw.parent / name) for name in ("preprocessed", "results")}
    for folder in folders.values():
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103
    environment = {**os.environ, **folders, "nnUNet_raw": str(raw)}
    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def read(out, ending, case, folder):
    """Image, labels and spacings of a case, as nnU-Net's reader gives them."""
    target = folder / f"{case}.npz"
    image, labels = out / f"images{ending}" / f"{case}_0000.tif", out / f"labels{ending}"
    run(READ, image, labels / f"{case}.tif", target, raw=out.parent)
    return np.load(target)


def test_the_published_volumes(archives, publication, tmp_path):
    out = platelet_em.export(archives, tmp_path / "raw" / "Dataset050_platelets", to="nnunet")
    assert "verify_dataset_integrity Done" in run(CHECK, 50, raw=out.parent)
    for name, ending in {"50": "Tr", "24": "Ts"}.items():
        truth, found = publication.volumes[name], read(out, ending, name, tmp_path)
        np.testing.assert_array_equal(found["image"], truth.images[None])
        np.testing.assert_array_equal(found["labels"], truth.semantic[None])
        assert found["spacings"].tolist() == [[40, 10, 10]] * 2


@pytest.mark.parametrize(
    ("form", "options", "case"),
    [("multipage", {"with_classes": True}, "first"), ("stack", {}, "Stack_1__u_")],
)
def test_own_volumes(tmp_path, form, options, case):
    own = write_own(tmp_path / "set", form, **options)
    out = platelet_em.export(own.description, tmp_path / "raw" / "Dataset007_own", to="nnunet")
    assert "verify_dataset_integrity Done" in run(CHECK, 7, raw=out.parent)
    (truth,), found = own.of("train"), read(out, "Tr", case, tmp_path)
    np.testing.assert_array_equal(found["image"], truth.image[None])
    np.testing.assert_array_equal(found["labels"], truth.semantic[None])


def test_a_damaged_export_does_not_pass(archives, tmp_path):
    out = platelet_em.export(archives, tmp_path / "raw" / "Dataset050_platelets", to="nnunet")
    described = json.loads((out / "dataset.json").read_text("utf-8"))
    del described["labels"]["dense granule core"]
    (out / "dataset.json").write_text(json.dumps(described), "utf-8")
    with pytest.raises(AssertionError, match="Unexpected labels found"):
        run(CHECK, 50, raw=out.parent)
