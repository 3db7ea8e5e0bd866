"""How far colors are apart to readers with the three common deficiencies of color vision.

The matrices are those of Machado, Oliveira and Fernandes (2009), "A physiologically-based model
for simulation of color vision deficiency", for a severity of 1, on linear RGB. The distance is
CIEDE2000 of scikit-image.
"""

import numpy as np
from skimage.color import deltaE_ciede2000, rgb2lab

DEFICIENCIES = {
    "none": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}


def simulate(colors, deficiency):
    """sRGB (n, 3), 0..255, as a reader with a deficiency sees it, as sRGB of 0..1."""
    encoded = np.asarray(colors) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ DEFICIENCIES[deficiency].T, 0, 1)
    return np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)


def differences(colors, deficiency):
    """CIEDE2000 (n, n) between colors; infinite on the diagonal."""
    lab = rgb2lab(simulate(colors, deficiency)[None])[0]
    found = deltaE_ciede2000(lab[:, None], lab[None])
    np.fill_diagonal(found, np.inf)
    return found
