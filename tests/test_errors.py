import pickle

import pytest

from _platelet_em import errors
from _platelet_em.errors import PlateletEMError, quote

BUILTINS = {
    "ArchiveError": OSError,
    "ChecksumError": OSError,
    "ArgumentError": ValueError,
    "ConversionError": ValueError,
    "CoverageError": ValueError,
    "DownloadError": ConnectionError,
    "HubError": ConnectionError,
    "ImageFormatError": ValueError,
    "LabelFormatError": ValueError,
    "LabelRangeError": OverflowError,
    "MissingExtraError": ImportError,
    "MissingMemberError": FileNotFoundError,
    "OutputError": OSError,
    "SchemaVersionError": ValueError,
    "TooLargeError": MemoryError,
}


def test_every_error_of_the_module_is_listed_here():
    defined = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, BaseException)
    }
    assert defined == {*BUILTINS, "PlateletEMError"}
    assert set(errors.__all__) == {*defined, "quote"}


@pytest.mark.parametrize(("name", "builtin"), BUILTINS.items())
def test_an_error_is_caught_as_ours_and_as_the_builtin(name, builtin):
    error = getattr(errors, name)
    for caught in (PlateletEMError, builtin):
        with pytest.raises(caught, match=r"^file: expected this, got that$"):
            raise error("file: expected this, got that")


@pytest.mark.parametrize("name", BUILTINS)
def test_errors_come_back_from_other_processes(name):
    error = pickle.loads(pickle.dumps(getattr(errors, name)("what happened")))
    assert type(error) is getattr(errors, name)
    assert str(error) == "what happened"


def test_the_base_is_no_builtin_that_is_caught_by_accident():
    assert PlateletEMError.__bases__ == (Exception,)


def test_a_checksum_is_an_archives_trouble():
    with pytest.raises(errors.ArchiveError, match=r"^sum$"):
        raise errors.ChecksumError("sum")
    with pytest.raises(errors.ArchiveError, match=r"^member$"):
        raise errors.MissingMemberError("member")


@pytest.mark.parametrize(
    "value", ["short", b"short", "", 7, None, [1, 2], "'\n", "x" * 78, b"x" * 77, list(range(20))]
)
def test_short_values_are_quoted_whole(value):
    assert quote(value) == repr(value)


@pytest.mark.parametrize(
    "value",
    [
        "x" * 79, "x" * 1_000, "\n" * 41, "\0" * 81, b"\0" * 21, b"x" * 1_000,
        list(range(1_000)), {"a": "x" * 100}, 10**90,
    ],
)  # fmt: skip
def test_long_values_are_cut(value):
    assert quote(value) == repr(value)[:80] + "..."


@pytest.mark.parametrize("value", [10**5_000, [10**5_000], {1: 10**5_000}], ids=type)
def test_a_number_that_python_does_not_write_out_is_named_by_its_kind(value):
    assert quote(value) == f"<{type(value).__name__} that cannot be shown>"


def test_only_the_begin_of_a_list_is_looked_at():
    class Unshown:
        def __repr__(self):
            raise AssertionError

    assert quote([1] * 80 + [Unshown()]).startswith("[1, 1, ")


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_long_memory_is_quoted_as_its_bytes(kind):
    assert quote(kind(b"x" * 1_000)) == "b'" + "x" * 78 + "..."


def test_the_limit_may_be_another():
    assert quote("abcdef", 4) == "'abc..."
    assert quote("ab", 4) == "'ab'"
