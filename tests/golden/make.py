"""Makes the golden files of the present schema: run `PYTHONPATH=.:builder:tests python THIS_FILE`.

`schema-N/repository` is a built repository of schema N, and beside it lies what it holds, said
without this project's code: `truth.npz` has the dense arrays (z, y, x) of both volumes, named like
`50_organelle`, and `properties.json` what belongs to each organelle. Every later version must read
every such folder. So one is made once, when the schema gets its number, and never again: a
difference is a bug of the reader, or a reason for a new number.
"""

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
from support import paper, publisher

from _platelet_em.hub.build import build
from _platelet_em.rows.schema import SCHEMA_VERSION

FOLDER = Path(__file__).parent
KINDS = ("images", "semantic", "cell", "organelle")


def scene():
    """A small publication with what is easily got wrong.

    Ids far apart, a slice without instances, touching and lone voxels; an organelle that has no
    voxel of an organelle's class, one of two classes in equal parts, one that lies in no cell, one
    in two cells, one half of which lies in none, and one that is cut off by the border.
    """
    made = publisher.publication(seed=11, depth=5, plane=(19, 26))
    made.volumes["24"] = publisher.random_volume((2, 19, 26), seed=12)
    for volume in made.volumes.values():
        # Steps instead of noise: previews of noise would be most of what is committed.
        steps = np.arange(volume.images.size).reshape(volume.images.shape) // 13 % 6
        volume.images[:] = np.array([0, 1, 255, 256, 40_000, 65_535])[steps]
    volume = made.volumes["50"]
    for array in (volume.cell, volume.organelle, volume.semantic):
        array[2:4] = 0
    volume.cell[2:4, 2:12, 2:20] = 7
    volume.cell[2:4, 12:17, 2:20] = 300
    volume.semantic[volume.cell > 0] = np.maximum(volume.semantic[volume.cell > 0], 1)
    for label, place, classes in [
        (1_012, np.s_[2:4, 3:5, 3:7], 1),
        (1_000_000, np.s_[2:4, 6:8, 3:7], (3, 3, 4, 4)),
        (2**31 - 1, np.s_[2:4, 0:2, 22:26], 5),
        (1_088, np.s_[2:4, 10:13, 12:14], (5, 6)),
        (1_089, np.s_[3, 16, 19], 2),
    ]:
        volume.organelle[place] = label
        volume.semantic[place] = classes
    return made


def organelle_properties(volume):
    """Class, purity and cell of each organelle, by id, from the dense arrays."""
    properties = {}
    for label in np.unique(volume.organelle[volume.organelle > 0]):
        inside = volume.organelle == label
        classes = np.bincount(volume.semantic[inside], minlength=7)
        chosen = 2 + int(np.argmax(classes[2:])) if classes[2:].any() else 0
        outside = np.count_nonzero(volume.cell[inside] == 0)
        cells, counts = np.unique(volume.cell[inside & (volume.cell > 0)], return_counts=True)
        # 0 only if more of it lies in no cell: with as many, it is the cell's.
        held = int(cells[np.argmax(counts)]) if counts.max(initial=0) >= max(outside, 1) else 0
        share = float(classes[chosen] / classes.sum())
        properties[int(label)] = {"class_id": chosen, "purity": share, "cell": held}
    return properties


def third():
    """The paper's volume: int16 images in steps, as above, and semantic labels of one cell."""
    made = paper.paper(shape=(4, 19, 26))
    steps = np.arange(made.images.size).reshape(made.images.shape) // 13 % 6
    made.images[:] = np.array([-32768, -1, 0, 1, 4_000, 32_767])[steps]
    return made


def make(folder):
    """Write the golden files of the present schema into a folder of their own.

    Raises:
        FileExistsError: if they are there.
    """
    target = folder / f"schema-{SCHEMA_VERSION}"
    target.mkdir()
    made = scene()
    with tempfile.TemporaryDirectory() as archives:
        made.zip(Path(archives) / "images_and_labels_json.zip", "json")
        test = third()
        test.zip(Path(archives) / paper.NAME)
        built = build(Path(archives) / "repository", data_dir=archives, with_test=True)
        # The card's pictures are large, and nothing reads them.
        no_pictures = shutil.ignore_patterns("pictures")
        shutil.copytree(built, target / "repository", ignore=no_pictures)
    arrays = {f"{n}_{kind}": getattr(v, kind) for n, v in made.volumes.items() for kind in KINDS}
    arrays |= {"test_images": test.as_uint16, "test_semantic": test.semantic}
    np.savez_compressed(target / "truth.npz", **arrays)
    properties = {name: organelle_properties(v) for name, v in made.volumes.items()}
    (target / "properties.json").write_text(json.dumps(properties, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    make(FOLDER)
