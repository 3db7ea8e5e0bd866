"""Faults planted in a sample: each is found as what it is; clean samples pass."""

from dataclasses import replace

import numpy as np
import pytest
from support import publisher, verified

from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.facts import PUBLISHED
from _platelet_em.sample.scene import Scene
from _platelet_em.verify.consistency import check_volume
from _platelet_em.verify.report import ERROR, REMARK, Report
from _platelet_em.verify.view import VerifiedVolume

SHAPE = (8, 192, 192)
LABELS = ("semantic", "cell", "organelle")
COLUMNS = {"semantic": "semantic", "cell": "cells", "organelle": "organelles"}


def draw(shape, seed):
    """A sample volume as dense arrays."""
    scene = Scene(shape, seed)
    slices = [scene.slice(z) for z in range(shape[0])]
    parts = ("image", "semantic", "cells", "organelles")
    return publisher.Volume(*(np.stack([getattr(s, part) for s in slices]) for part in parts))


@pytest.fixture(scope="module")
def clean():
    return draw(SHAPE, 0)


def check(volume, spec=PUBLISHED.volumes[0]):
    """(level, check, file, place) of each finding that is listed."""
    view = VerifiedVolume("archive", spec, "json", volume.images.shape)
    view.image = lambda z: volume.images[z]
    view.files = {"images": "images", **{column: kind for kind, column in COLUMNS.items()}}
    for kind, column in COLUMNS.items():
        view.labels[column] = LazyLabels.from_array(getattr(volume, kind).astype(np.int32))
    report = Report()
    check_volume(report.section("archive"), view, PUBLISHED)
    return [
        (level, name, file, finding.place)
        for (level, name, file), (kept, _) in report.sections[0].groups.items()
        for finding in kept
    ]


def copy(volume):
    return publisher.Volume(
        volume.images.copy(), *(getattr(volume, kind).copy() for kind in LABELS)
    )


def of_labels(change):
    """A fault of all labels: they agree with each other, and not with the image."""

    def fault(v):
        for kind in LABELS:
            setattr(v, kind, change(getattr(v, kind)))

    return fault


def of_slice(change, z=3):
    """A fault of all labels of one slice."""

    def fault(v):
        for kind in LABELS:
            labels = getattr(v, kind)
            labels[z] = change(labels, z)

    return fault


def images(change):
    """A fault of the images: `change` gets them and returns other ones."""

    def fault(v):
        v.images = np.ascontiguousarray(change(v.images)).astype(np.uint16)

    return fault


def image_part(where, value):
    def fault(v):
        v.images[where] = value

    return fault


def shift(labels, dy, dx):
    """Labels shifted, with background where there were none."""
    padded = np.pad(labels, [(0, 0), (max(dy, 0), max(-dy, 0)), (max(dx, 0), max(-dx, 0))])
    top, left = max(-dy, 0), max(-dx, 0)
    return padded[:, top : top + labels.shape[1], left : left + labels.shape[2]]


def duplicate_image(v):
    v.images[5] = v.images[2]


def permute(kind, z=3):
    """Ids of one slice exchanged in a circle."""

    def fault(v):
        page = getattr(v, kind)[z]
        ids = np.unique(page[page > 0])
        lut = np.arange(page.max() + 1)
        lut[ids] = np.roll(ids, 1)
        page[:] = lut[page]

    return fault


def new_ids(kind):
    """Other ids in each slice."""

    def fault(v):
        labels = getattr(v, kind)
        for z, page in enumerate(labels):
            page[page > 0] += 1000 * z

    return fault


def new_ids_from(kind, z):
    def fault(v):
        labels = getattr(v, kind)
        labels[z:][labels[z:] > 0] += 1000

    return fault


def swap_classes(first, second, where=slice(None)):
    def fault(v):
        part = v.semantic[where]
        lut = np.arange(7, dtype=np.uint8)
        lut[[first, second]] = second, first
        v.semantic[where] = lut[part]

    return fault


def reverse_one(kind):
    def fault(v):
        setattr(v, kind, getattr(v, kind)[::-1])

    return fault


def exchange_images(v):
    v.images[[1, 6]] = v.images[[6, 1]]


HALF = np.s_[:, :96]
FAULTS = {
    # The images.
    "constant images": (image_part(np.s_[:], 700), (ERROR, "constant", "images", {"z": 0})),
    "a black slice": (image_part(4, 0), (ERROR, "constant", "images", {"z": 4})),
    "a slice of one value": (image_part(4, 9), (ERROR, "constant", "images", {"z": 4})),
    "half black": (image_part(HALF, 0), (ERROR, "constant", "images", {"z": 0})),
    "half a slice black": (image_part(np.s_[2, :, 96:], 0),
     (ERROR, "constant", "images", {"z": 2})),
    "a duplicated image": (duplicate_image, (ERROR, "duplicate", "images", {"z": 5})),
    "swapped bytes": (images(lambda i: i.byteswap()), (ERROR, "byte order", "images", {})),
    "the high byte alone": (images(lambda i: i >> 8), (ERROR, "depth", "images", {})),
    "no low byte": (images(lambda i: i & 0xFF00), (ERROR, "depth", "images", {})),
    "8 bits stretched": (images(lambda i: (i >> 8) * 257), (ERROR, "depth", "images", {})),
    "inverted": (images(lambda i: 65535 - i), (REMARK, "contrast", "semantic", {})),
    "a quarter of the range": (images(lambda i: i // 4), (REMARK, "range", "images", {})),
    "images shifted": (images(lambda i: np.roll(i, (0, 5, 3), (0, 1, 2))),
     (ERROR, "placement", "semantic", {})),
    "images a slice off": (images(lambda i: np.roll(i, 1, 0)),
     (ERROR, "placement", "semantic", {})),
    "images mirrored": (images(lambda i: i[:, :, ::-1]), (ERROR, "placement", "semantic", {})),
    "images in another order": (exchange_images,
     (REMARK, "weak agreement", "semantic", {"z": 6})),
    # Labels that agree with each other.
    "mirrored in y": (of_labels(lambda a: a[:, ::-1]), (ERROR, "placement", "semantic", {})),
    "mirrored in x": (of_labels(lambda a: a[:, :, ::-1]), (ERROR, "placement", "semantic", {})),
    "turned by 180": (of_labels(lambda a: a[:, ::-1, ::-1]),
     (ERROR, "placement", "semantic", {})),
    "transposed": (of_labels(lambda a: a.transpose(0, 2, 1)),
     (ERROR, "placement", "semantic", {})),
    "turned by 90": (of_labels(lambda a: np.rot90(a, axes=(1, 2))),
     (ERROR, "placement", "semantic", {})),
    "flipped in z": (of_labels(lambda a: a[::-1]), (ERROR, "flip", "semantic", {})),
    "shifted by 2 in y": (of_labels(lambda a: shift(a, 2, 0)),
     (ERROR, "placement", "semantic", {})),
    "shifted by -3, 40": (of_labels(lambda a: shift(a, -3, 40)),
     (ERROR, "placement", "semantic", {})),
    "a slice late": (of_labels(lambda a: np.roll(a, 1, 0)), (ERROR, "placement", "semantic", {})),
    "a slice early": (of_labels(lambda a: np.roll(a, -1, 0)),
     (ERROR, "placement", "semantic", {})),
    "a mirrored slice": (of_slice(lambda a, z: a[z, ::-1]),
     (ERROR, "placement", "semantic", {"z": 3})),
    "the first slice mirrored": (of_slice(lambda a, z: a[z, :, ::-1], 0),
     (ERROR, "placement", "semantic", {"z": 0})),
    "the last slice mirrored": (of_slice(lambda a, z: a[z, :, ::-1], 7),
     (ERROR, "placement", "semantic", {"z": 7})),
    "a transposed slice": (of_slice(lambda a, z: a[z].T),
     (ERROR, "placement", "semantic", {"z": 3})),
    "a shifted slice": (of_slice(lambda a, z: np.roll(a[z], 8, 0)),
     (ERROR, "placement", "semantic", {"z": 3})),
    "a duplicated slice": (of_slice(lambda a, z: a[z - 1]),
     (ERROR, "duplicate", "semantic", {"z": 3})),
    "an emptied slice": (of_slice(lambda a, z: 0 * a[z]),
     (ERROR, "empty slice", "semantic", {"z": 3})),
    "the last slice emptied": (of_slice(lambda a, z: 0 * a[z], 7),
     (REMARK, "weak agreement", "semantic", {"z": 7})),
    "other labels": (lambda v: [setattr(v, k, getattr(draw(SHAPE, 7), k)) for k in LABELS],
     (REMARK, "weak agreement", "semantic", {})),
    # Labels that do not agree with each other.
    "cells flipped in z": (reverse_one("cell"), (ERROR, "flip", "cell", {})),
    "organelles flipped in z": (reverse_one("organelle"), (ERROR, "flip", "organelle", {})),
    "cells of a slice permuted": (permute("cell"), (ERROR, "exchanged labels", "cell", {"z": 3})),
    "organelles of a slice permuted": (permute("organelle"),
     (ERROR, "exchanged labels", "organelle", {"z": 3})),
    "organelles of the first slice permuted": (permute("organelle", 0),
     (ERROR, "exchanged labels", "organelle", {"z": 0})),
    "organelles of the last slice permuted": (permute("organelle", 7),
     (ERROR, "exchanged labels", "organelle", {"z": 7})),
    "new ids of cells in each slice": (new_ids("cell"), (ERROR, "continuity", "cell", {})),
    "new ids of organelles in each slice": (new_ids("organelle"),
     (ERROR, "continuity", "organelle", {})),
    "new ids from a slice on": (new_ids_from("organelle", 4),
     (ERROR, "continuity", "organelle", {"z": 3})),
    "classes 1 and 2 swapped": (swap_classes(1, 2), (ERROR, "agreement", "organelle", {"z": 0})),
    "classes 0 and 1 swapped": (swap_classes(0, 1), (ERROR, "agreement", "cell", {"z": 0})),
    "classes 4 and 6 swapped": (swap_classes(4, 6), (REMARK, "palette", "semantic", {})),
    "classes swapped in a slice": (swap_classes(3, 4, 3),
     (ERROR, "exchanged labels", "semantic", {"z": 3})),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault, clean):
    plant, (level, name, file, place) = FAULTS[fault]
    volume = copy(clean)
    plant(volume)
    found = check(volume)
    assert any(
        entry[:3] == (level, name, file) and place.items() <= entry[3].items() for entry in found
    ), found


@pytest.mark.parametrize("shape", [(1, 64, 64), (3, 128, 128), (8, 192, 192)])
@pytest.mark.parametrize("seed", range(5))
def test_a_clean_sample_passes(seed, shape):
    found = check(draw(shape, seed))
    assert not [entry for entry in found if entry[0] == ERROR]
    assert not [entry for entry in found if entry[1] in ("contrast", "weak agreement", "flip")]


def with_version(volume, counts):
    """The volume as published with so many voxels of each class."""
    versions = (("that of a test", tuple(counts)),)
    return replace(PUBLISHED.volume("50"), shape=volume.semantic.shape, label_versions=versions)


def test_classes_swapped_in_a_known_version_are_an_error(clean):
    counts = np.bincount(clean.semantic.ravel(), minlength=7).tolist()
    spec = with_version(clean, counts)
    assert not [entry for entry in check(clean, spec) if entry[0] == ERROR]
    for first, second in ((2, 3), (3, 4), (5, 6)):
        volume = copy(clean)
        swap_classes(first, second)(volume)
        assert (ERROR, "classes", "semantic", {}) in check(volume, spec)


def test_voxels_of_an_unknown_version_are_a_remark(clean):
    counts = np.bincount(clean.semantic.ravel(), minlength=7)
    one_moved = [counts[0] + 1, counts[1] - 1, *counts[2:]]
    one_less = [counts[0], counts[1] - 1, counts[2:].sum()]
    for known in (one_moved, one_less):
        found = check(clean, with_version(clean, known))
        assert (REMARK, "version", "semantic", {}) in found
    grouped = with_version(clean, [counts[0], counts[1], counts[2:].sum()])
    assert "version" not in [entry[1] for entry in check(clean, grouped)]


def test_new_ids_in_each_slice_are_an_error_beside_an_intact_archive(tmp_path, capsys):
    def renumber(first, second):
        new_ids("organelle")(first)

    code, report = verified.run(capsys, verified.plant(tmp_path / "archives", renumber))
    assert code == 1
    file = "50-instance-organelle.json"
    assert verified.has_finding(report, "error", "continuity", file, "change their label")


def test_exchanged_volumes_are_an_error(tmp_path, capsys):
    publication = verified.tidy()
    train, validation = publication.volumes.values()
    train.images, validation.images = validation.images, train.images
    code, report = verified.run(capsys, publication.zip(tmp_path / "exchanged.zip", "json"))
    assert code == 1
    for name in ("50", "24"):
        file = f"{name}-semantic.json"
        assert verified.has_finding(report, "error", "shape", file, "the shape of the volume")
