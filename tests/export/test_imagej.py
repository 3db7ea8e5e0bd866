"""What ImageJ itself reads from the format `tiff`, where it and a virtual screen are installed."""

import shutil
import subprocess

import numpy as np
import pytest
import tifffile

import platelet_em

MACRO = """\
setBatchMode(true);
path = getArgument();
open(path);
getVoxelSize(x, y, z, unit);
getDimensions(width, height, channels, slices, frames);
print("VOXEL " + z + " " + y + " " + x + " " + unit + " " + channels + " " + frames);
for (k = 1; k <= slices; k++) {
  setSlice(k);
  sum = 0;
  for (i = 0; i < height; i++)
    for (j = 0; j < width; j++) sum += getPixel(j, i) * ((i * 31 + j * 17) % 101);
  print("SUM " + d2s(sum, 0));
}
"""
"""A weighted sum of each slice: voxels that change or move change it."""

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        not (shutil.which("imagej") and shutil.which("xvfb-run")),
        reason="needs ImageJ and xvfb (Debian: imagej, xvfb)",
    ),
]


@pytest.mark.parametrize("column", ["image", "semantic", "cells", "organelles"])
def test_imagej_reads_voxels_and_their_size(column, repository, tmp_path):
    out = platelet_em.export(repository, tmp_path / "out", to="tiff", volume="50")
    path, macro = out / f"50-{column}.tif", tmp_path / "macro.ijm"
    macro.write_text(MACRO)
    done = subprocess.run(
        ["xvfb-run", "-a", "imagej", "-b", macro, path],
        check=False,
        capture_output=True,
        text=True,
    )
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("VOXEL")] == ["VOXEL 0.04 0.01 0.01 µm 1 1"]
    pages = tifffile.imread(path).astype(np.int64)
    y, x = np.indices(pages.shape[1:])
    expected = [f"SUM {(page * ((y * 31 + x * 17) % 101)).sum()}" for page in pages]
    assert [line for line in lines if line.startswith("SUM")] == expected
