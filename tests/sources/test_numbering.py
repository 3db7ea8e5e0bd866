"""Labels of other slices than those of the image, by the names of their files."""

from pathlib import Path

import pytest

from _platelet_em.errors import ArchiveError
from _platelet_em.sources.numbering import check_numbering


def paths(folder, names):
    return [Path(folder, name) for name in names.split()]


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("z1.tif z2.tif z4.tif", "z1.png z2.png z4.png"),
        ("00.tif 01.tif 02.tif", "labels0000.png labels0001.png labels0002.png"),
        ("0.tif 1.tif 2.tif", "l10.png l20.png l30.png"),
        ("z1.tif z2.tif z4.tif", "label_11.png label_12.png label_14.png"),
        ("z9.tif z10.tif", "z009.png z010.png"),
        ("a.tif b.tif c.tif", "x.png y.png z.png"),
        ("a1_t7.tif a2_t9.tif a3_t4.tif", "m1.png m2.png m4.png"),
        ("z1.tif z2.tif", "all.tif"),
        ("all.tif", "z1.tif z2.tif"),
        ("z1.tif z2.tif z4.tif", "z1.tif z2.tif"),
        ("a.tif", "b.png"),
        ("img.001 img.002", "lab.001.tif lab.002.tif"),
        ("1/raw.tif 2/raw.tif", "1/label.tif 2/label.tif"),
    ],
)
def test_names_that_may_belong_together(images, labels):
    check_numbering(paths("raw", images), paths("labels", labels))


@pytest.mark.parametrize(
    ("images", "labels", "wrong"),
    [
        ("z1.tif z2.tif z4.tif", "z1.png z3.png z4.png", "z3.png: .* slice 1, z2.tif"),
        ("z0.tif z1.tif z2.tif", "z1.png z2.png z3.png", "z1.png: .* slice 0, z0.tif"),
        ("1.tif 2.tif 4.tif", "m01.png m02.png m03.png", "m03.png: .* slice 2, 4.tif"),
        ("1.tif 2.tif 3.tif", "m1.png m2.png m4.png", "m4.png: .* slice 2, 3.tif"),
        (
            "1/raw.tif 2/raw.tif 4/raw.tif",
            "1/l.tif 3/l.tif 4/l.tif",
            "3/l.tif: .* slice 1, raw.tif",
        ),
        ("a.tif b.tif c.tif", "a.png b.png d.png", "d.png: .* slice 2, c.tif"),
    ],
)
def test_labels_of_other_slices_are_refused(images, labels, wrong):
    with pytest.raises(ArchiveError, match=wrong):
        check_numbering(paths("raw", images), paths("labels", labels))


@pytest.mark.parametrize(
    "names", ["z1.tif z01.tif z2.tif", "1.png 1.tif", "a.png A.tif", "1/a.tif 01/a.tif"]
)
def test_two_files_of_one_slice_are_refused(names):
    with pytest.raises(ArchiveError, match="expected one file per slice, found "):
        check_numbering(paths("raw", "a.png b.png"), paths("labels", names))
