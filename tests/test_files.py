"""Files that are written completely or not at all, paths of the user, and locks."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support.programs import PROGRAMS

from _platelet_em.errors import ArgumentError, OutputError
from _platelet_em.files import (
    PARTIAL_SUFFIX,
    exclusive_lock,
    new_file,
    new_folder,
    user_path,
)

DIE_WHILE_WRITING = PROGRAMS / "die_while_writing.py"


# Paths


def test_an_empty_path_is_not_the_current_folder():
    with pytest.raises(ArgumentError, match=r"^a path is empty: give a file or a folder, '\.'"):
        user_path("")
    assert user_path(".") == Path()


def test_the_home_of_an_unknown_user_is_refused():
    with pytest.raises(
        ArgumentError, match=r"^~no-such-user/a: there is no such home directory: "
    ):
        user_path("~no-such-user/a")


@pytest.mark.parametrize("path", [None, 5, b"out", [], object()])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(ArgumentError, match=r"^expected the path of a file or a folder, got "):
        user_path(path)


def test_a_path_with_a_null_character_is_refused():
    with pytest.raises(ArgumentError, match=r"^'a\\x00b': expected a path, which has no char"):
        user_path("a\0b")


# Files


def write_half(target, error):
    with new_file(target) as file:
        file.write(b"half")
        raise error("in the block")


def test_a_file_gets_its_name_at_the_end(tmp_path):
    target = tmp_path / "new" / "folders" / "a.bin"
    with new_file(target) as file:
        file.write(b"content")
        assert not target.exists()
    assert target.read_bytes() == b"content"
    assert [p.name for p in target.parent.iterdir()] == ["a.bin"]


def test_the_temporary_name_is_in_the_same_folder_with_the_partial_suffix(tmp_path):
    with new_file(tmp_path / "a.bin"):
        (partial,) = tmp_path.iterdir()
        assert partial.name.startswith(".a.bin.")
        assert partial.suffix == PARTIAL_SUFFIX


def test_a_new_file_can_be_read(tmp_path):
    with new_file(tmp_path / "a.bin") as file:
        file.write(b"content")
        file.seek(3)
        assert file.read() == b"tent"


def test_an_existing_file_is_replaced_at_the_end(tmp_path):
    target = tmp_path / "a.bin"
    target.write_bytes(b"a longer old content")
    with new_file(target) as file:
        file.write(b"new")
        file.flush()
        assert target.read_bytes() == b"a longer old content"
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
@pytest.mark.parametrize("old", [None, b"old"])
def test_an_error_leaves_the_folder_unchanged(error, old, tmp_path):
    target = tmp_path / "a.bin"
    if old is not None:
        target.write_bytes(old)
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(error, match=r"^in the block$"):
        write_half(target, error)
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_the_umask_applies(mask, tmp_path):
    before = os.umask(mask)
    try:
        with new_file(tmp_path / "a.bin"):
            pass
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert (tmp_path / "a.bin").stat().st_mode & 0o777 == 0o666 & ~mask


def test_the_umask_of_the_process_is_not_changed_for_a_moment(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("other threads create files, too"))
    with new_file(tmp_path / "a.bin"):
        pass


def test_a_path_below_a_file_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with (
        pytest.raises(OutputError, match=r"file/a\.bin: cannot be written: .*: choose another"),
        new_file(tmp_path / "file" / "a.bin"),
    ):
        pytest.fail("nothing can be written there")


def test_a_name_that_is_too_long_cannot_be_written_to(tmp_path):
    with (
        pytest.raises(OutputError, match=r"x: cannot be written: File name too long: choose"),
        new_file(tmp_path / ("x" * 400)),
    ):
        pytest.fail("nothing can be written there")


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


def test_leftovers_of_killed_processes_are_deleted_and_nothing_else(tmp_path):
    target = tmp_path / "a[1].bin"
    others = {".a[1].bin.part", ".b.bin.x.part", "a[1].bin.x.part", ".a1.bin.x.part"}
    others |= {".a[1].bin.mine.part", ".a[1].bin.b.0123abcd.part"}
    for name in others:
        (tmp_path / name).write_bytes(b"somebody's")
    (tmp_path / ".a[1].bin.dir.part").mkdir()
    (tmp_path / ".a[1].bin.link.part").symlink_to(tmp_path / ".b.bin.x.part")
    others |= {".a[1].bin.dir.part", ".a[1].bin.link.part"}
    for _ in range(2):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, DIE_WHILE_WRITING, target], check=False, env=environment
        )
        assert done.returncode == -signal.SIGKILL
        left = {path.name for path in tmp_path.iterdir()} - others
        assert len(left) == 1, "the second process deletes what the first one left"
        assert left != {target.name}
    with new_file(target) as file:
        file.write(b"complete")
    assert {path.name for path in tmp_path.iterdir()} == {*others, target.name}


def test_the_file_of_another_writer_is_no_leftover(tmp_path):
    target = tmp_path / "a.bin"
    with new_file(target) as slow:
        slow.write(b"slow")
        with new_file(target) as quick:
            quick.write(b"quick")
        assert target.read_bytes() == b"quick"
    assert target.read_bytes() == b"slow"
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


# Folders


def fill(target, error=None):
    with new_folder(target) as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "a.bin").write_bytes(b"content")
        assert not target.exists() or not any(target.iterdir())
        if error is not None:
            raise error("in the block")


@pytest.mark.parametrize("exists", [False, True])
def test_a_folder_gets_its_name_at_the_end(exists, tmp_path):
    target = tmp_path / "new" / "out"
    if exists:
        target.mkdir(parents=True)
    fill(target)
    assert (target / "deep" / "a.bin").read_bytes() == b"content"
    assert [path.name for path in target.parent.iterdir()] == ["out"]


def test_the_files_of_a_folder_are_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    synced = []
    target = tmp_path / "out"
    monkeypatch.setattr(os, "fsync", lambda file: synced.append((os.fstat(file), target.exists())))
    fill(target)
    inode = (target / "deep" / "a.bin").stat().st_ino
    assert [(found.st_ino, exists) for found, exists in synced] == [(inode, False)]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
@pytest.mark.parametrize("exists", [False, True])
def test_an_error_leaves_no_folder(error, exists, tmp_path):
    if exists:
        (tmp_path / "out").mkdir()
    before = [*tmp_path.rglob("*")]
    with pytest.raises(error, match=r"^in the block$"):
        fill(tmp_path / "out", error)
    assert [*tmp_path.rglob("*")] == before


def test_a_folder_that_is_not_empty_is_kept_even_if_it_is_filled_meanwhile(tmp_path):
    target = tmp_path / "out"

    def fill_meanwhile():
        with new_folder(target) as folder:
            (folder / "a.bin").write_bytes(b"content")
            target.mkdir()
            (target / "mine.txt").write_text("mine")

    with pytest.raises(OutputError, match="out: exists already: choose another name, or move it"):
        fill_meanwhile()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "mine.txt"]


def test_a_folder_below_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match=r"file/out: cannot be written: .*: choose another"):
        fill(tmp_path / "file" / "out")


def test_a_file_with_a_name_that_is_too_long_is_named(tmp_path):
    def write_long():
        with new_folder(tmp_path / "out") as folder:
            (folder / f"{'x' * 300}.tif").write_bytes(b"")

    with pytest.raises(OutputError, match=r"out: cannot be written: .* would be too long, 'xxx"):
        write_long()
    assert not any(tmp_path.iterdir())


def test_a_folder_without_room_says_so(tmp_path):
    def no_room(text):
        return OSError(errno.ENOSPC, text)

    with pytest.raises(OutputError, match="out: no room to write: in the block: free some"):
        fill(tmp_path / "out", no_room)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", [".", "{}", "../here"])
def test_the_current_folder_is_not_replaced(name, tmp_path, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    with pytest.raises(OutputError, match=r"is the current folder, .* name a folder in it"):
        fill(Path(name.format(here)))
    assert [*tmp_path.rglob("*")] == [here]


def test_folders_of_killed_processes_are_deleted_and_those_of_others_are_not(tmp_path):
    target = tmp_path / "out"
    with new_folder(target) as slow:
        (slow / "slow.bin").write_bytes(b"slow")
        lock, killed = (tmp_path / f".out.0123abcd.{end}" for end in ("lock", "part"))
        lock.write_bytes(b"")
        killed.mkdir()
        (killed / "half.bin").write_bytes(b"half")
        (tmp_path / ".out.mine").mkdir()
        (tmp_path / ".out.mine.lock").write_text("mine")
        (tmp_path / ".out.mine.part").mkdir()
        fill(target)
        assert not lock.exists()
        assert not killed.exists()
        assert (slow / "slow.bin").exists()
        (target / "deep" / "a.bin").unlink()
        (target / "deep").rmdir()
    mine = {".out.mine", ".out.mine.lock", ".out.mine.part"}
    assert {path.name for path in tmp_path.iterdir()} == {"out", *mine}
    assert (target / "slow.bin").read_bytes() == b"slow"


# Locks


def test_a_lock_excludes_others_and_leaves_no_file(tmp_path):
    lock, counter, waits = tmp_path / "new" / "a.lock", tmp_path / "counter", []
    counter.write_text("0")

    def count():
        for _ in range(5):
            with exclusive_lock(lock, on_wait=lambda: waits.append(1)):
                value = int(counter.read_text())
                time.sleep(0.01)
                counter.write_text(str(value + 1))

    threads = [threading.Thread(target=count) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.read_text() == "15"
    assert waits
    assert list(lock.parent.iterdir()) == []


def test_a_lock_that_another_one_has_can_be_refused(tmp_path):
    lock, refused = tmp_path / "a.lock", []

    def refuse():
        raise OutputError("in use")

    def try_it():
        try:
            with exclusive_lock(lock, on_wait=refuse):
                pytest.fail("two have the lock")
        except OutputError as error:
            refused.append(str(error))

    with exclusive_lock(lock, on_wait=refuse):
        thread = threading.Thread(target=try_it)
        thread.start()
        thread.join()
        assert lock.exists(), "who has no lock deletes none"
    assert refused == ["in use"]
    assert not lock.exists()


def test_a_lock_file_that_was_left_is_no_obstacle(tmp_path):
    lock = tmp_path / "a.lock"
    lock.touch()
    with exclusive_lock(lock, on_wait=pytest.fail):
        pass
    assert not lock.exists()


def test_an_error_in_the_block_releases_the_lock(tmp_path):
    lock = tmp_path / "a.lock"
    with pytest.raises(KeyError, match="in the block"), exclusive_lock(lock, on_wait=pytest.fail):
        raise KeyError("in the block")
    assert not lock.exists()


def test_a_lock_file_that_cannot_be_created_is_an_os_error(tmp_path):
    (tmp_path / "file").touch()
    lock = exclusive_lock(tmp_path / "file" / "a.lock", on_wait=pytest.fail)
    with pytest.raises(FileExistsError, match="file"), lock:
        pytest.fail("there is no lock")
