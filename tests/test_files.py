"""Files that are whole or not there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from _platelet_em.errors import ArgumentError, OutputError
from _platelet_em.files import PARTIAL_SUFFIX, new_file, user_path


def test_no_path_is_not_the_current_folder():
    with pytest.raises(ArgumentError, match=r"^a path is empty: give a file or a folder, '\.'"):
        user_path("")
    assert user_path(".") == Path()


def write_half(target, trouble):
    with new_file(target) as file:
        file.write(b"half")
        raise trouble("in the block")


def test_a_file_takes_its_name_at_the_end(tmp_path):
    target = tmp_path / "new" / "folders" / "a.bin"
    with new_file(target) as file:
        file.write(b"content")
        assert not target.exists()
    assert target.read_bytes() == b"content"
    assert [p.name for p in target.parent.iterdir()] == ["a.bin"]


def test_until_then_it_lies_beside_under_the_partial_suffix(tmp_path):
    with new_file(tmp_path / "a.bin"):
        (partial,) = tmp_path.iterdir()
        assert partial.name.startswith(".a.bin.")
        assert partial.suffix == PARTIAL_SUFFIX


def test_it_can_be_read_while_it_is_written(tmp_path):
    with new_file(tmp_path / "a.bin") as file:
        file.write(b"content")
        file.seek(3)
        assert file.read() == b"tent"


def test_a_file_that_is_there_is_replaced_at_the_end(tmp_path):
    target = tmp_path / "a.bin"
    target.write_bytes(b"a longer old content")
    with new_file(target) as file:
        file.write(b"new")
        file.flush()
        assert target.read_bytes() == b"a longer old content"
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize("trouble", [ValueError, KeyboardInterrupt, OSError])
@pytest.mark.parametrize("old", [None, b"old"])
def test_an_error_leaves_the_folder_as_it_was(trouble, old, tmp_path):
    target = tmp_path / "a.bin"
    if old is not None:
        target.write_bytes(old)
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(trouble, match=r"^in the block$"):
        write_half(target, trouble)
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_a_file_is_as_public_as_any_new_file(mask, tmp_path):
    before = os.umask(mask)
    try:
        with new_file(tmp_path / "a.bin"):
            pass
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert (tmp_path / "a.bin").stat().st_mode & 0o777 == 0o666 & ~mask


def test_a_place_below_a_file_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with (
        pytest.raises(OutputError, match=r"file/a\.bin: cannot be written: .*: choose another"),
        new_file(tmp_path / "file" / "a.bin"),
    ):
        pytest.fail("there is no place to write to")


def test_a_name_that_is_too_long_cannot_be_written_to(tmp_path):
    with (
        pytest.raises(OutputError, match=r"x: cannot be written: File name too long: choose"),
        new_file(tmp_path / ("x" * 400)),
    ):
        pytest.fail("there is no place to write to")


def test_a_folder_is_not_replaced_by_a_file(tmp_path):
    target = tmp_path / "folder"
    target.mkdir()
    with (
        pytest.raises(OutputError, match=r"folder: cannot be written: Is a directory: choose"),
        new_file(target) as file,
    ):
        file.write(b"content")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]
    assert list(target.iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from _platelet_em.files import new_file
with new_file(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_deleted_and_nothing_else(tmp_path):
    target = tmp_path / "a[1].bin"
    others = {".a[1].bin.part", ".b.bin.x.part", "a[1].bin.x.part", ".a1.bin.x.part"}
    for name in others:
        (tmp_path / name).write_bytes(b"somebody's")
    (tmp_path / ".a[1].bin.dir.part").mkdir()
    (tmp_path / ".a[1].bin.link.part").symlink_to(tmp_path / ".b.bin.x.part")
    others |= {".a[1].bin.dir.part", ".a[1].bin.link.part"}
    for _ in range(2):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.run([sys.executable, "-c", KILLED, target], env=environment, check=False)
        left = {path.name for path in tmp_path.iterdir()} - others
        assert len(left) == 1, "of the second one, for it deleted that of the first"
        assert left != {target.name}
    with new_file(target) as file:
        file.write(b"whole")
    assert {path.name for path in tmp_path.iterdir()} == {*others, target.name}


def test_what_another_writer_is_at_is_no_leftover(tmp_path):
    target = tmp_path / "a.bin"
    with new_file(target) as slow:
        slow.write(b"slow")
        with new_file(target) as quick:
            quick.write(b"quick")
        assert target.read_bytes() == b"quick"
    assert target.read_bytes() == b"slow"
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]
