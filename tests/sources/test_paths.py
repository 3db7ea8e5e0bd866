"""Paths and patterns of own files: what they find, in which order, and what is said otherwise."""

import re

import pytest

from _platelet_em.errors import ArchiveError, MissingMemberError
from _platelet_em.sources import paths
from _platelet_em.sources.paths import find_files, is_pattern, natural_order


@pytest.fixture
def write(tmp_path):
    """A function that writes empty files below a folder, and gives the folder."""

    def write(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path

    return write


def found(folder, path):
    return [file.relative_to(folder).as_posix() for file in find_files(folder, path)]


@pytest.mark.parametrize(
    "names",
    [
        ["z9.tif", "z010.tif", "z10.tif", "z11.tif"],
        ["a.tif", "B.tif", "c.tif"],
        ["a", "A1", "a2", "A10"],
        ["1", "2", "10", "a", "ä"],
        ["s1/z10", "s2/z9", "s10/z1"],
        ["z1", "z1.5", "z2"],
        [f"{2**64}", f"{10**30}"],
    ],
)
def test_numbers_are_in_the_order_of_their_values_and_case_does_not_count(names):
    assert natural_order(reversed(names)) == names
    assert natural_order(names) == names


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("raw/z2.tif", ["raw/z2.tif"]),
        ("raw/*.tif", ["raw/z2.tif", "raw/z10.tif"]),
        ("raw/z?.tif", ["raw/z2.tif"]),
        ("raw/z[0-9]*.tif", ["raw/z2.tif", "raw/z10.tif"]),
        ("**/*.tif", ["a[1].tif", "raw/deep/z1.tif", "raw/z2.tif", "raw/z10.tif"]),
        ("raw/.*.tif", ["raw/.hidden.tif"]),
        ("a[1].tif", ["a[1].tif"]),
    ],
)
def test_files_of_a_path_or_pattern(path, expected, write):
    folder = write(
        *("raw/z10.tif", "raw/z2.tif", "raw/.hidden.tif", "raw/deep/z1.tif", "a[1].tif"),
        *("raw/folder.tif/inside", "raw/z.png"),
    )
    assert found(folder, path) == expected


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no.tif", "no.tif: expected a file, found nothing there: name a file, or a pattern"),
        ("raw", "raw: expected a file, found a folder: name a file, or .*, such as raw/*.tif"),
        ("raw/*.png", "raw/*.png: expected files of this pattern, found only 2 others: a.TIF, b"),
        ("raw/*.tif", "*.tif: .* none in the same capitals and small letters: a.TIF"),
        ("no/*.tif", "no/*.tif: .* this pattern, and its folder cannot be read, or is none"),
    ],
)
def test_what_is_there_instead_is_named(path, message, write):
    folder = write("raw/a.TIF", "raw/b")
    with pytest.raises(MissingMemberError, match=re.escape(message).replace(r"\.\*", ".*")):
        find_files(folder, path)


def test_a_pattern_finds_at_most_as_many_files_as_a_volume_has_slices(write, monkeypatch):
    monkeypatch.setattr(paths, "MAX_PAGES", 2)
    folder = write("1.tif", "2.tif")
    assert len(find_files(folder, "*.tif")) == 2
    write("3.tif")
    with pytest.raises(ArchiveError, match="expected at most 2 files, one per slice, found 3"):
        find_files(folder, "*.tif")


def test_patterns_are_told_from_paths():
    assert [is_pattern(path) for path in ("a/*.tif", "a?", "[ab]", "a{b}", "é b.tif")] == [
        *(True, True, True, False, False)
    ]


def test_links_to_folders_find_no_file_twice(tmp_path):
    for name in ("a/1.tif", "a/b/2.tif", "c/3.tif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "circle").symlink_to(tmp_path)
    (tmp_path / "c" / "again").symlink_to(tmp_path / "a" / "b")
    (tmp_path / "c" / "4.tif").symlink_to("3.tif")
    found = [str(path.relative_to(tmp_path)) for path in find_files(tmp_path, "**/*.tif")]
    assert found == ["a/1.tif", "a/b/2.tif", "c/3.tif", "c/4.tif"]
