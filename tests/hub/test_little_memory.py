"""Commands where memory or threads run out: they end, with a result or with one sentence."""

import re

import datasets
import pyarrow as pa
import pytest
from support import limits

from _platelet_em.commands.cli import main
from _platelet_em.errors import ArchiveError
from _platelet_em.hub.parquet import explain_damage

SHORTAGE = (
    r"platelet-em: .+: cannot be read \(.*\): this process may not have as much memory .*|"
    r"platelet-em: this process may not have more memory( \(.*\))?: end other programs, or raise "
    r"the limit \(ulimit -v, or that of the job or container\)"
)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Archives of a small sample."""
    folder = tmp_path_factory.mktemp("small")
    assert main(["sample", str(folder), "--depth", "4", "--size", "128"]) == 0
    return folder


def lines(done):
    """The lines of a command's errors, without progress bars."""
    found = re.split(r"[\r\n]+", done.stderr)
    return [line for line in found if line and not re.search(r"\d+%\|", line)]


@pytest.mark.parametrize(
    "room", [0, 24, 64, 200, *(pytest.param(mb, marks=pytest.mark.long) for mb in (4, 12, 40, 56))]
)
def test_build_ends_with_success_or_one_sentence(room, small, tmp_path):
    done = limits.run_command(room, "build", tmp_path / "out", "--data-dir", small)
    assert done.returncode in (0, 1), done.stderr
    assert done.returncode == 0 or room < 200, done.stderr
    if done.returncode == 0:
        assert "is complete. Load it" in done.stdout
    else:
        assert re.fullmatch(SHORTAGE, "\n".join(lines(done)))


def test_build_needs_no_threads_of_arrow(small, tmp_path):
    out = tmp_path / "out"
    # Less room than the stack of one thread takes: none can be started.
    done = limits.run_command(400, "build", out, "--data-dir", small, stack=1000)
    assert (done.returncode, lines(done)) == (0, [])
    rows = datasets.load_dataset(str(out), "slices", cache_dir=tmp_path / "cache")
    assert rows.num_rows == {"train": 4, "validation": 1}


def test_verify_needs_no_threads_of_arrow(small, tmp_path):
    assert main(["build", str(tmp_path / "out"), "--data-dir", str(small)]) == 0
    done = limits.run_command(400, "verify", tmp_path / "out", stack=1000)
    assert (done.returncode, done.stdout.split(",")[0]) == (0, "0 errors"), done.stdout


def test_debug_shows_where_memory_is_missing(small, tmp_path):
    done = limits.run_command(0, "build", tmp_path / "out", "--data-dir", small, "--debug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("error", [MemoryError, pa.ArrowMemoryError])
def test_a_shortage_of_memory_is_not_blamed_on_a_file_alone(error, tmp_path):
    reason = (
        r"cannot be read \(planted\): this process may not have as much memory as it takes; if"
    )
    with pytest.raises(ArchiveError, match=reason), explain_damage(tmp_path):
        raise error("planted")
    with pytest.raises(ArchiveError, match="expected Parquet"), explain_damage(tmp_path):
        raise OSError("planted")
