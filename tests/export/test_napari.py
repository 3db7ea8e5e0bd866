"""The reader in napari itself; `make test-napari` runs this, on a virtual screen."""

import subprocess
import sys

import numpy as np
import pytest

napari = pytest.importorskip("napari")

ASK = """
import sys
from npe2 import PluginManager
manager = PluginManager.instance()
manager.discover()
readers = [*manager.iter_compatible_readers(sys.argv[1])]
assert "platelet-em" in [reader.plugin_name for reader in readers], readers
loaded = [name for name in sys.modules if name.startswith("_platelet_em.")]
assert not loaded, loaded
"""


def test_napari_finds_the_reader_without_importing_it(repository):
    done = subprocess.run(
        [sys.executable, "-c", ASK, str(repository)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("source", ["archives", "repository"])
def test_napari_shows_all_layers_of_a_volume(source, request, publication):
    path, volume = request.getfixturevalue(source), publication.volumes["50"]
    viewer = napari.Viewer()
    try:
        viewer.open(str(path), plugin="platelet-em")
        layers = {layer.name: layer for layer in viewer.layers}
        z, y, x = np.argwhere(volume.organelle)[0].tolist()
        viewer.dims.set_point(0, z * 40.0)
        position = (z * 40.0, y * 10.0, x * 10.0)
        dense = {
            "50 image": volume.images,
            "50 semantic": volume.semantic,
            "50 cells": volume.cell,
            "50 organelles": volume.organelle,
        }
        for name, array in dense.items():
            layer = layers[name]
            layer.visible = True
            assert layer.get_value(position, world=True) == array[z, y, x]
            assert not isinstance(layer.data, np.ndarray)
            np.testing.assert_array_equal(layer.scale, (40, 10, 10))
        status = layers["50 organelles"].get_status(position, world=True)["value"]
        assert status.startswith(f"{volume.organelle[z, y, x]}; class: ")
        shown = viewer.screenshot(canvas_only=True, flash=False)
        layers["50 organelles"].visible = False
        assert (shown != viewer.screenshot(canvas_only=True, flash=False)).any()
    finally:
        viewer.close()
