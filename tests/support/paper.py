"""The paper's archive, written from its description alone: images and semantic labels as TIFs."""

import zipfile
from dataclasses import dataclass

import numpy as np

from support.publisher import tif

NAME = "platelet_data_1219.zip"


@dataclass
class Paper:
    """Images and class indices of the third volume, (z, y, x)."""

    images: np.ndarray
    semantic: np.ndarray

    @property
    def as_uint16(self):
        """The images as rows have them."""
        offset = 32768 if self.images.dtype == np.int16 else 0
        return (self.images.astype(np.int64) + offset).astype(np.uint16)

    def files(self):
        """Path in the archive -> content."""
        return {
            "platelet_data/test-images.tif": tif(self.images),
            "platelet_data/test-labels.tif": tif(self.semantic.astype(np.uint16)),
        }

    def zip(self, path, **others):
        """Write the archive, with further files by name."""
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in {**self.files(), **others}.items():
                archive.writestr(name, content)
        return path


def paper(seed=0, shape=(6, 21, 30), dtype=np.int16):
    """One labeled cell with organelles; images of the whole range of their dtype."""
    rng = np.random.default_rng(seed)
    limits = np.iinfo(dtype)
    images = rng.integers(limits.min, limits.max, shape, endpoint=True).astype(dtype)
    images[0, 0, :2] = limits.min, limits.max
    semantic = np.zeros(shape, np.uint8)
    semantic[1:5, 4:18, 5:25] = 1
    for index in range(2, 7):
        for z in (2, 3):  # no two slices are alike
            semantic[z, 5 + index : 7 + index, 3 * index + z - 2 : 3 * index + 2] = index
    return Paper(images, semantic)
