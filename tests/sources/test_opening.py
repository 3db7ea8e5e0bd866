"""The files of own volumes: what identifies them, and which changes are noticed."""

import os

import numpy as np
import pytest
import tifffile

from _platelet_em.errors import ArchiveError, ArgumentError
from _platelet_em.publisher.archive import Identity
from _platelet_em.sources import opening
from _platelet_em.sources.opening import OWN_FILES, check_label_source, find_files
from _platelet_em.spec import DatasetSpec, VolumeSpec


@pytest.fixture
def files(tmp_path):
    """Two volumes, of two slices and of one."""
    for number, name in enumerate(("a/1.tif", "a/2.tif", "b/1.tif")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / name, np.full((3, 4), number, np.uint8))
    volumes = tuple(VolumeSpec(name=n, split="train", image_file=f"{n}/*.tif") for n in "ab")
    return find_files(
        DatasetSpec(name="own", volumes=volumes, folder=str(tmp_path)), OWN_FILES, None
    )


def test_a_file_that_changes_while_all_are_read_is_refused(files, monkeypatch, tmp_path):
    read = opening.file_md5

    def change(file):
        os.utime(tmp_path / "a" / "1.tif", (1, 1))
        return read(file)

    monkeypatch.setattr(opening, "file_md5", change)
    with pytest.raises(ArchiveError, match="files changed while they were read: load them again"):
        files.identity()


def test_files_with_the_stamps_that_they_had_are_not_read_again(files, monkeypatch):
    identity = files.identity()
    monkeypatch.setattr(opening, "file_md5", None)
    for volume in (None, *files.spec.volumes):
        assert files.check(identity, volume) is identity


def test_files_of_other_times_are_read_again_and_may_be_the_same(files, tmp_path):
    identity = files.identity()
    os.utime(tmp_path / "b" / "1.tif", (1, 1))
    assert files.check(identity, files.spec.volumes[0]) is identity
    found = files.check(identity, files.spec.volumes[1])
    assert (found.md5, found.stamps != identity.stamps) == (identity.md5, True)
    assert files.check(Identity(identity.md5)).md5 == identity.md5


@pytest.mark.parametrize("which", [None, 1])
def test_other_content_is_refused(which, files, tmp_path):
    identity = files.identity()
    tifffile.imwrite(tmp_path / "b" / "1.tif", np.full((3, 4), 7, np.uint8))
    volume = None if which is None else files.spec.volumes[which]
    with pytest.raises(ArchiveError, match=f"changed since .* expected MD5 {identity.md5}, got"):
        files.check(identity, volume)


def test_own_volumes_have_no_label_source(files):
    assert check_label_source("json", files.spec) == OWN_FILES
    assert check_label_source(OWN_FILES, files.spec) == OWN_FILES
    with pytest.raises(ArgumentError, match=r"label_source: own volumes .*'tif': leave it out"):
        check_label_source("tif", files.spec)
