"""Builds with worker processes: the same bytes, and no process or partial file after an error."""

import logging
import multiprocessing
import os
import signal
import sys
import time
from concurrent.futures import Future

import pytest
from support.folders import contents
from support.own import FORMS, write_own

import platelet_em
from _platelet_em.commands.cli import main
from _platelet_em.description.parse import read_description
from _platelet_em.files import PARTIAL_SUFFIX
from _platelet_em.hub import workers
from _platelet_em.hub.build import build


@pytest.fixture(autouse=True)
def _start_quickly(monkeypatch):
    monkeypatch.setenv("PLATELET_EM_KERNELS", "numpy")


def build_own(own, out, **options):
    return build(out, spec=read_description(own.description), **options)


def test_two_processes_write_the_bytes_of_one(flat_repository, flat_archives, tmp_path):
    out = build(tmp_path / "repo", data_dir=flat_archives, num_proc=2)
    assert contents(out) == contents(flat_repository)


@pytest.mark.long
@pytest.mark.parametrize("form", FORMS)
def test_own_volumes_have_the_bytes_of_one_process(form, tmp_path):
    own = write_own(tmp_path / "set", form)
    one, two = (build_own(own, tmp_path / str(n), num_proc=n) for n in (1, 2))
    assert contents(one) == contents(two)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Small pictures, and the repository that one process builds from them."""
    folder = tmp_path_factory.mktemp("pictures")
    own = write_own(folder / "set", "pictures", count=30, side=30)
    return own, build_own(own, folder / "repo")


@pytest.mark.parametrize(
    ("end", "error", "words"),
    [
        (lambda: os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL),
         platelet_em.OutputError, "a process that wrote it was killed, perhaps because memory"),
        (lambda: signal.raise_signal(signal.SIGINT), KeyboardInterrupt, None),
    ],
    ids=["a killed worker", "Ctrl-C"],
)  # fmt: skip
def test_the_end_of_one_process_is_that_of_all(end, error, words, pictures, tmp_path, monkeypatch):
    own, whole = pictures
    wait_for, out = workers._wait, tmp_path / "repo"

    def end_and_wait(futures, progress, update):
        while not sum(progress[:-1]):
            time.sleep(0.01)
        end()
        wait_for(futures, progress, update)

    with monkeypatch.context() as patch:
        patch.setattr(workers, "_wait", end_and_wait)
        with pytest.raises(error, match=words):
            build_own(own, out, num_proc=2)
    assert not multiprocessing.active_children()
    assert not [*out.rglob(f"*{PARTIAL_SUFFIX}")]
    assert [path.name for path in out.iterdir()] == [".platelet-em-build"]
    assert contents(build_own(own, out)) == contents(whole)


def test_an_error_is_that_of_one_process(tmp_path, capfd):
    own = write_own(tmp_path / "set", "pictures", count=12)
    path = max((tmp_path / "set" / "masks").glob("*.png"))
    path.write_bytes(path.read_bytes()[:-30])
    shown = []
    for number in ("1", "2"):
        out = tmp_path / number
        arguments = ["build", out, "--description", own.description, "--num-proc", number]
        assert main(list(map(str, arguments))) == 1
        assert not [*out.rglob(f"*{PARTIAL_SUFFIX}")]
        shown.append(capfd.readouterr().err)
    assert shown[0] == shown[1]
    assert str(path) in shown[0]
    assert shown[0].count("\n") == 1


def test_processes_that_cannot_be_started_are_one_error(tmp_path, monkeypatch, capfd):
    own = write_own(tmp_path / "set", "pictures")
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None, raising=False)
    monkeypatch.setattr(
        sys.modules["__main__"], "__file__", str(tmp_path / "<stdin>"), raising=False
    )
    with pytest.raises(platelet_em.OutputError, match="cannot be started: in a program, build"):
        build_own(own, tmp_path / "repo", num_proc=2)
    assert "FileNotFoundError" in capfd.readouterr().err, "as multiprocessing says it"


def test_a_warning_of_several_processes_is_logged_once(caplog):
    logger = logging.getLogger("some.module")
    records = [
        logger.makeRecord(logger.name, logging.WARNING, "", 0, "twice", (), None) for _ in range(2)
    ]
    futures = [Future(), Future()]
    for future, record in zip(futures, records, strict=True):
        future.set_result([record])
    workers._wait(futures, [1, 1, 1], lambda parts: None)
    assert caplog.messages == ["twice"]


@pytest.mark.parametrize("num_proc", [0, -1, 1.5, "2", None, True])
def test_a_number_of_processes_that_is_none_is_refused(num_proc, tmp_path):
    with pytest.raises(platelet_em.ArgumentError, match="num_proc: expected a whole number"):
        build(tmp_path / "repo", num_proc=num_proc)
    assert not [*tmp_path.iterdir()]


def test_the_command_refuses_such_a_number(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["build", "repo", "--num-proc", "0"])
    assert "argument --num-proc: expected a whole number" in capsys.readouterr().err
