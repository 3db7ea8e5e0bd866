"""Zips and folders of the publisher, packed in any way, or damaged."""

import dataclasses
import errno
import hashlib
import io
import os
import shutil
import zipfile
from pathlib import Path, PurePosixPath

import pytest

from _platelet_em.errors import ArchiveError, MissingMemberError, OutputError
from _platelet_em.facts import PUBLISHED
from _platelet_em.publisher import archive
from _platelet_em.publisher.archive import file_md5

SOURCES = ["json", "tif"]
ZIPS = {"json": "images_and_labels_json.zip", "tif": "images_and_labels_rgba.zip"}
JUNK = {
    "__MACOSX/platelet-em/images/50-images.tif": b"junk",
    "__MACOSX/platelet-em/images/._50-images.tif": b"junk",
    "labels-semantic/._50-semantic.json": b"junk",
    ".DS_Store": b"junk",
    "README.txt": b"not ours",
}


def find_source(path, label_source):
    return archive.find_source(path, label_source, PUBLISHED)


def open_source(path):
    return archive.open_source(path, PUBLISHED)


def needed_files(label_source):
    return archive.needed_files(PUBLISHED, label_source)


def by_name(files):
    return {PurePosixPath(path).name: content for path, content in files.items()}


def write_zip(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in files.items():
            zipped.writestr(name, content)
    return path


def zip_of(publication, path):
    path.mkdir()
    return publication.zip(path / "a.zip", "json")


def folder_of(publication, path):
    return publication.folder(path, "json")


def write_folder(path, files):
    for name, content in files.items():
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return path


def with_junk(publication):
    return dataclasses.replace(publication, extra=JUNK)


def folder_with_zips(publication, path, source):
    for label_source, name in ZIPS.items():
        publication.zip(path / name, label_source)
    (path / "notes.txt").write_text("not ours")
    return path


def folder_with_other_names(publication, path, source):
    for label_source in SOURCES:
        publication.zip(path / f"my {label_source} copy.zip", label_source)
    (path / "._my json copy.zip").write_bytes(b"added by macOS")
    return path


def zip_next_to_files_of_the_other_source(publication, path, source):
    other = {"json": "tif", "tif": "json"}[source]
    publication.zip(path / ZIPS[source], source)
    return publication.folder(path, other)


def folder_with_backslashes(publication, path, source):
    """As some programs extract zips of Windows: one folder, backslashes in the names of files."""
    for name, content in publication.files(source).items():
        (path / name.replace("/", "\\")).write_bytes(content)
    return path


def folder_with_capitals(publication, path, source):
    write_folder(path, {name.upper(): c for name, c in publication.files(source).items()})
    return path


def folder_with_long_suffixes(publication, path, source):
    files = publication.files(source)
    return write_folder(path, {name.replace(".tif", ".TIFF"): c for name, c in files.items()})


def folder_with_a_zip_in_capitals(publication, path, source):
    publication.zip(path / "COPY.ZIP", source)
    return path


LAYOUTS = {
    "folder with backslashes in names": folder_with_backslashes,
    "folder with names in capitals": folder_with_capitals,
    "folder with the suffix TIFF": folder_with_long_suffixes,
    "folder with a zip in capitals": folder_with_a_zip_in_capitals,
    "zip with backslashes": lambda p, path, s: write_zip(
        path / "a.zip", {f"x\\{name}".replace("/", "\\"): c for name, c in p.files(s).items()}
    ),
    "zip": lambda p, path, s: p.zip(path / "any name.zip", s),
    "zip without a suffix": lambda p, path, s: p.zip(path / "download", s),
    "zip without a top folder": lambda p, path, s: p.zip(path / "a.zip", s, top=""),
    "zip with another top folder": lambda p, path, s: p.zip(path / "a.zip", s, top="x/50/y z/"),
    "zip with junk": lambda p, path, s: with_junk(p).zip(path / "a.zip", s, top=""),
    "folder": lambda p, path, s: p.folder(path, s),
    "folder with a top folder": lambda p, path, s: p.folder(path / "platelet-em", s).parent,
    "folder with junk": lambda p, path, s: with_junk(p).folder(path, s),
    "folder with both sources": lambda p, path, s: p.folder(p.folder(path, "tif"), "json"),
    "folder with the zips": folder_with_zips,
    "folder with zips of other names": folder_with_other_names,
    "folder with a zip and files of the other source": zip_next_to_files_of_the_other_source,
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_file_is_found_in_any_layout(layout, source, publication, tmp_path):
    found = find_source(LAYOUTS[layout](publication, tmp_path, source), source)
    assert found.identity(needed_files(source)).md5
    for name, content in by_name(publication.files(source)).items():
        with found.open(name) as file:
            assert file.read() == content
            assert file.seek(1) == 1
            assert file.read(2) == content[1:3]


@pytest.mark.parametrize("source", SOURCES)
def test_the_needed_files_are_those_that_the_publisher_ships(source, publication):
    assert sorted(needed_files(source)) == sorted(by_name(publication.files(source)))


def test_files_of_volumes_that_an_archive_does_not_hold_are_not_needed(publication):
    first, second = PUBLISHED.volumes
    only_json = dataclasses.replace(second, archives=("json",))
    spec = dataclasses.replace(PUBLISHED, volumes=(first, only_json))
    assert archive.needed_files(spec, "json") == needed_files("json")
    assert archive.needed_files(spec, "tif") == list(first.members("tif"))


def test_only_files_of_the_dataset_are_looked_for_in_a_folder(publication, tmp_path):
    (first, _) = PUBLISHED.volumes
    spec = dataclasses.replace(PUBLISHED, volumes=(first,))
    source = archive.open_source(publication.folder(tmp_path, "json"), spec)
    assert source.holds(first.members("json"))
    assert not source.holds(["24-images.tif"])


def test_a_path_may_be_a_string_that_begins_with_the_home_folder(
    publication, tmp_path, monkeypatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    publication.zip(tmp_path / "a.zip", "json")
    assert find_source("~/a.zip", "json").path == tmp_path / "a.zip"


def test_a_source_knows_whether_it_is_a_zip_and_what_it_holds(archives, tmp_path):
    packed = open_source(archives / ZIPS["json"])
    assert packed.is_zip
    assert repr(packed) == f"Source('{archives / ZIPS['json']}')"
    assert not open_source(tmp_path).is_zip
    assert packed.holds(["50-images.tif", "24-semantic.json"])
    assert not packed.holds(["50-images.tif", "24-semantic.tif"])


def test_the_comment_of_a_zip_is_read(publication, tmp_path):
    path = publication.zip(tmp_path / "a.zip", "json")
    assert open_source(path).comment == ""
    with zipfile.ZipFile(path, "a") as zipped:
        zipped.comment = b"a comment, and \xff"
    assert open_source(path).comment == "a comment, and \ufffd"
    assert open_source(tmp_path).comment == ""


def test_messages_call_a_file_by_archive_and_member(archives):
    path = archives / ZIPS["json"]
    expected = f"{path}: platelet-em/labels-semantic/50-semantic.json"
    assert open_source(path).describe_member("50-semantic.json") == expected


def test_the_published_zip_is_preferred_to_others_that_match(publication, tmp_path):
    for name in ("a.zip", ZIPS["json"], "z.zip"):
        publication.zip(tmp_path / name, "json")
    assert find_source(tmp_path, "json").path.name == ZIPS["json"]


# Damaged and ambiguous sources


@pytest.mark.parametrize("missing", ["50-images.tif", "24-instance-organelle.json"])
@pytest.mark.parametrize("write", [write_zip, write_folder])
def test_a_missing_file_is_named(missing, write, publication, tmp_path):
    files = {n: c for n, c in publication.files("json").items() if not n.endswith(missing)}
    path = write(tmp_path / "source", files)
    with pytest.raises(
        MissingMemberError,
        match=rf"source: expected a file {missing}, found 24-.*extracted folder$",
    ):
        find_source(path, "json")


def test_an_archive_of_the_other_source_lacks_the_first_label_file(archives):
    path = archives / ZIPS["json"]
    with pytest.raises(
        MissingMemberError, match=r"_json\.zip: expected a file 50-semantic\.tif, found .*50-sem"
    ):
        find_source(path, "tif")


def test_a_file_added_by_macos_does_not_replace_a_missing_file(publication, tmp_path):
    files = {**publication.files("json"), **JUNK}
    del files["images/50-images.tif"]
    with pytest.raises(MissingMemberError, match=r"a\.zip: expected a file 50-images\.tif, found"):
        find_source(write_zip(tmp_path / "a.zip", files), "json")


def test_an_empty_folder_holds_nothing(tmp_path):
    with pytest.raises(
        MissingMemberError, match=r"expected a file 50-images\.tif, found nothing: .*folder$"
    ):
        find_source(tmp_path, "json")


@pytest.mark.parametrize("write", [write_zip, write_folder])
def test_a_file_that_is_present_twice_is_refused(write, publication, tmp_path):
    files = {**publication.files("json"), "old/50-semantic.json": b"{}"}
    expected = (
        r"source: found 2 files 50-semantic\.json "
        r"\(labels-semantic/50-semantic\.json, old/50-semantic\.json\): give the zip or the "
        "folder of one archive$"
    )
    with pytest.raises(ArchiveError, match=expected):
        find_source(write(tmp_path / "source", files), "json")


def test_two_extracted_archives_side_by_side_are_refused(publication, tmp_path):
    for source in SOURCES:
        publication.folder(tmp_path / source, source)
    with pytest.raises(
        ArchiveError, match=r"found 2 files 50-images\.tif \(json/images/.*, tif/images/"
    ):
        find_source(tmp_path, "json")


def test_two_zips_that_match_are_refused(publication, tmp_path):
    for name in ("a.zip", "b.zip"):
        publication.zip(tmp_path / name, "tif")
    publication.zip(tmp_path / "c.zip", "json")
    with pytest.raises(
        ArchiveError, match=r"2 zips hold tif labels \(a\.zip, b\.zip\): give one of them$"
    ):
        find_source(tmp_path, "tif")


@pytest.mark.parametrize("content", [b"", b"<html>gone</html>", b"PK\3\4" + bytes(100)])
def test_a_file_that_is_not_a_zip_is_refused(content, tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    with pytest.raises(
        ArchiveError, match=r"a\.zip: expected a zip archive: .*fetch the archive again"
    ):
        find_source(path, "json")


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_zip_that_ends_too_early_is_refused(share, archives, tmp_path):
    whole = (archives / ZIPS["json"]).read_bytes()
    path = tmp_path / "a.zip"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ArchiveError, match=r"a\.zip: expected a zip archive: .*zip file"):
        find_source(path, "json")


@pytest.mark.parametrize("path", ["nowhere", "nowhere/a.zip"])
def test_a_path_that_does_not_exist_is_named(path, tmp_path):
    with pytest.raises(
        MissingMemberError, match=rf"{path}: expected a zip or a folder .* found nothing there"
    ):
        find_source(tmp_path / path, "json")


def test_a_path_below_a_file_is_refused(archives):
    with pytest.raises(ArchiveError, match=r"_json\.zip/inside: expected a zip archive: .*direct"):
        find_source(archives / ZIPS["json"] / "inside", "json")


def test_a_damaged_member_is_named_when_it_is_opened(archives, tmp_path):
    data = bytearray((archives / ZIPS["json"]).read_bytes())
    with zipfile.ZipFile(io.BytesIO(data)) as zipped:
        info = zipped.getinfo("platelet-em/images/50-images.tif")
    data[info.header_offset + 1000] ^= 0xFF
    path = tmp_path / "a.zip"
    path.write_bytes(data)
    source = find_source(path, "json")
    with pytest.raises(
        ArchiveError,
        match=r"a\.zip: platelet-em/images/50-images\.tif: cannot be unpacked: .*fetch",
    ):
        source.open("50-images.tif")
    with source.open("24-images.tif") as file:
        assert file.read(2) == b"II"


@pytest.mark.parametrize("bit", range(8))
def test_no_flipped_bit_gives_other_content_or_another_exception(bit, tmp_path):
    content = b"the content of a member, " * 4
    whole = write_zip(tmp_path / "whole.zip", {"50-images.tif": content}).read_bytes()
    path = tmp_path / "a.zip"
    refused = 0
    for position in range(len(whole)):
        data = bytearray(whole)
        data[position] ^= 1 << bit
        path.write_bytes(data)
        try:
            with open_source(path).open("50-images.tif") as file:
                assert file.read() == content
        except ArchiveError:
            refused += 1
    assert refused > len(whole) // 3


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_a_full_disk_is_named_when_a_member_is_unpacked(archives, monkeypatch):
    file = Path("/dev/full").open("w+b")  # noqa: SIM115  # the source closes it
    monkeypatch.setattr("tempfile.TemporaryFile", lambda: file)
    source = find_source(archives / ZIPS["json"], "json")
    with pytest.raises(OutputError, match=r"folder of temporary files.*: no room to write"):
        source.open("50-images.tif")
    assert file.closed


# Identity


def test_the_identity_of_a_zip_is_its_md5_wherever_it_is(archives, tmp_path):
    path = archives / ZIPS["json"]
    moved = shutil.copy(path, tmp_path / "other name.zip")
    expected = hashlib.md5(path.read_bytes()).hexdigest()
    names = needed_files("json")
    assert open_source(path).identity(names).md5 == expected
    assert open_source(moved).identity(names).md5 == expected


def test_the_identity_of_a_folder_is_that_of_its_files_wherever_they_are(publication, tmp_path):
    names = needed_files("json")
    first = open_source(publication.folder(tmp_path / "a", "json"))
    nested = open_source(with_junk(publication).folder(tmp_path / "b/c/d", "json").parent)
    assert first.identity(names).md5 == nested.identity(reversed(names)).md5
    assert len(first.identity(names).md5) == 32


def test_the_identity_of_a_folder_changes_with_any_of_its_files(publication, tmp_path):
    names = needed_files("json")
    files = publication.files("json")
    seen = {open_source(write_folder(tmp_path / "whole", files)).identity(names).md5}
    for i, name in enumerate(files):
        changed = {**files, name: files[name] + b" "}
        seen.add(open_source(write_folder(tmp_path / str(i), changed)).identity(names).md5)
    assert len(seen) == len(files) + 1


def test_the_identity_of_a_folder_depends_on_which_content_has_which_name(publication, tmp_path):
    names = needed_files("json")
    files = publication.files("json")
    cell, organelle = (
        f"labels-instance/50-instance-{name}.json" for name in ("cell", "organelle")
    )
    swapped = {**files, cell: files[organelle], organelle: files[cell]}
    a, b = (
        open_source(write_folder(tmp_path / name, content)).identity(names).md5
        for name, content in (("a", files), ("b", swapped))
    )
    assert a != b


def test_the_identity_of_one_source_is_not_that_of_the_other(publication, tmp_path):
    source = open_source(publication.folder(publication.folder(tmp_path, "tif"), "json"))
    assert source.identity(needed_files("json")).md5 != source.identity(needed_files("tif")).md5


def test_the_md5_is_that_of_the_rest_of_a_file():
    data = bytes(range(256)) * 9000
    file = io.BytesIO(data)
    file.seek(7)
    assert file_md5(file) == hashlib.md5(data[7:]).hexdigest()


def test_a_missing_file_has_no_identity(tmp_path):
    with pytest.raises(MissingMemberError, match=r"expected a file 24-images\.tif, found nothing"):
        open_source(tmp_path).identity(["24-images.tif"])


def test_a_folder_that_cannot_be_read_is_refused_and_not_taken_as_empty(tmp_path, monkeypatch):
    # The user who runs the tests may be allowed to read everything.
    (tmp_path / "labels-semantic").mkdir()
    scandir = os.scandir

    def refuse(path):
        if Path(path).name == "labels-semantic":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ArchiveError, match="labels-semantic: cannot be read: Permission denied"):
        open_source(tmp_path)


def test_a_folder_that_memory_does_not_suffice_for_is_not_blamed(tmp_path, monkeypatch):
    def refuse(path):
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM), str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(MemoryError, match="Cannot allocate memory"):
        open_source(tmp_path)


def test_a_built_repository_is_no_archive_and_the_message_says_how_to_load_it(repository):
    with pytest.raises(MissingMemberError, match=r"a folder of Parquet files, .* datasets\.load_"):
        find_source(repository, "json")


def test_one_file_in_two_spellings_is_refused(publication, tmp_path):
    publication.folder(tmp_path, "json")
    (tmp_path / "images/50-IMAGES.TIFF").write_bytes(b"other")
    with pytest.raises(ArchiveError, match=r"found 2 files 50-images\.tif"):
        find_source(tmp_path, "json")


# Archives that are exchanged


@pytest.mark.parametrize("write", [zip_of, folder_of])
def test_a_source_that_was_touched_or_moved_is_the_same(write, publication, tmp_path):
    names = needed_files("json")
    source = find_source(write(publication, tmp_path / "first"), "json")
    identity = source.identity(names)
    assert source.check(identity, names) is identity
    assert source.check(archive.Identity(identity.md5), names) == identity
    for path in [source.path, *source.path.rglob("*")]:
        os.utime(path)
    touched = source.check(identity, names)
    assert touched.md5 == identity.md5
    assert touched.stamps != identity.stamps


@pytest.mark.parametrize("write", [zip_of, folder_of])
def test_a_source_that_was_exchanged_is_refused(write, publication, tmp_path):
    names = needed_files("json")
    source = find_source(write(publication, tmp_path / "first"), "json")
    identity = source.identity(names)
    target = source.path if source.is_zip else source.path / "images/24-images.tif"
    times = target.stat()
    content = bytearray(target.read_bytes())
    content[len(content) // 2] ^= 1
    target.write_bytes(content)
    os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(ArchiveError, match=f"changed .* expected MD5 {identity.md5}, got "):
        source.check(identity, names)
    target.unlink()
    with pytest.raises(ArchiveError, match="No such file or directory: bring the file back"):
        source.check(identity, names)


def test_a_source_that_changes_while_it_is_read_has_no_identity(publication, tmp_path):
    source = find_source(zip_of(publication, tmp_path / "first"), "json")

    class Meddler(archive.Source):
        def stamps(self, names):
            os.utime(self.path)
            return super().stamps(names)

    meddled = Meddler(source.path, PUBLISHED)
    with pytest.raises(ArchiveError, match="changed while it was read"):
        meddled.identity(needed_files("json"))
