"""How the memory of `build` grows with a volume: three sizes of one kind of own volume."""

import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import tifffile

from _platelet_em.description.parse import read_description
from _platelet_em.hub.build import build

SIZES = (((50, 800, 800), 475), ((100, 1131, 1131), 1900), ((200, 1600, 1600), 7600))
"""Shape (z, y, x), and number of objects."""

_DESCRIPTION = """\
name = "growth"
voxel_size_nm = [40, 10, 10]
classes = ["background", "cell", "a", "b", "c", "d", "e"]
instances = ["cells", { name = "objects", part_of = "cells" }]
[[volumes]]
name = "v"
split = "train"
image = "image.tif"
semantic = "semantic.tif"
cells = "cells.tif"
objects = "objects.tif"
"""


def write_volume(folder: Path, shape: tuple[int, int, int], count: int) -> None:
    """Write squeezed balls of five classes that fill a quarter of boxes of 200 x 200 pixels."""
    random = np.random.default_rng(0)
    depth, height, width = shape
    radius = int((3 * 0.25 * depth * height * width / count / np.pi) ** (1 / 3))
    flat = max(radius // 4, 1)
    centers = random.integers(0, shape, (count, 3))
    classes = random.integers(2, 7, count)
    y, x = np.mgrid[:height, :width]
    cells = ((y // 200) * -(-width // 200) + x // 200 + 1).astype(np.uint16)
    cells[(y % 200 < 6) | (x % 200 < 6)] = 0
    grain = random.integers(0, 3000, (height, width)).astype(np.uint16)
    names = ("image", "semantic", "cells", "objects")
    files = [tifffile.TiffWriter(folder / f"{name}.tif", bigtiff=True) for name in names]
    for z in range(depth):
        objects, semantic = np.zeros_like(cells), (cells > 0).astype(np.uint8)
        for i in np.flatnonzero(abs(centers[:, 0] - z) <= flat):
            cz, cy, cx = centers[i]
            window = (
                slice(max(cy - radius, 0), cy + radius + 1),
                slice(max(cx - radius, 0), cx + radius + 1),
            )
            distance = (y[window] - cy) ** 2 + (x[window] - cx) ** 2
            ball = distance <= (1 - ((z - cz) / flat) ** 2) * radius**2
            objects[window][ball], semantic[window][ball] = i + 1, classes[i]
        image = grain + np.uint16(5000) * semantic
        for file, page in zip(files, (image, semantic, cells, objects), strict=True):
            file.write(page, photometric="minisblack", compression=None if page is image else 8)
    for file in files:
        file.close()
    (folder / "my.toml").write_text(_DESCRIPTION)


def measure(folder: Path) -> None:
    """Build, and print seconds and the megabytes that this process held at most."""
    start = time.perf_counter()
    build(folder / "out", spec=read_description(folder / "my.toml"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(f"{time.perf_counter() - start:.0f} {peak:.0f}")


def run(folder: Path) -> None:
    """Print the table; each size is built in a process of its own."""
    print("## Memory of `build`\n")
    print(
        "| volume | objects | MB of images and classes | seconds | peak, MB | row of `volumes` |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for shape, count in SIZES:
        name = " x ".join(map(str, shape))
        part = folder / name
        part.mkdir(parents=True)
        write_volume(part, shape, count)
        done = subprocess.run(
            [sys.executable, __file__, part], check=True, capture_output=True, text=True
        )
        seconds, peak = done.stdout.split()[-2:]
        has_row = "yes" if [*(part / "out").glob("volumes/*.parquet")] else "left out"
        size = 3 * np.prod(shape) / 1e6
        print(f"| {name} | {count} | {size:.0f} | {seconds} | {peak} | {has_row} |", flush=True)


if __name__ == "__main__":
    measure(Path(sys.argv[1]))
