"""The exceptions: their builtin bases, pickling, and values quoted in messages."""

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
    "DescriptionError": ValueError,
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


def test_every_exception_is_in_this_table_and_in_all():
    defined = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, BaseException)
    }
    assert defined == {*BUILTINS, "PlateletEMError"}
    assert set(errors.__all__) == {*defined, "printable", "quote"}


@pytest.mark.parametrize(("name", "builtin"), BUILTINS.items())
def test_an_exception_is_a_platelet_em_error_and_a_builtin(name, builtin):
    error = getattr(errors, name)
    for caught in (PlateletEMError, builtin):
        with pytest.raises(caught, match=r"^file: expected this, got that$"):
            raise error("file: expected this, got that")


@pytest.mark.parametrize("name", BUILTINS)
def test_exceptions_can_be_pickled(name):
    error = pickle.loads(pickle.dumps(getattr(errors, name)("what happened")))
    assert type(error) is getattr(errors, name)
    assert str(error) == "what happened"


@pytest.mark.parametrize("name", BUILTINS)
def test_dask_sends_exceptions_from_its_workers(name):
    tblib = pytest.importorskip("tblib.pickling_support")
    sent = getattr(errors, name)("what happened")
    rebuild, arguments, *_ = tblib.pickle_exception(sent)
    error = rebuild(*pickle.loads(pickle.dumps(arguments)))
    assert type(error) is type(sent)
    assert str(error) == "what happened"


def test_the_base_class_is_no_subclass_of_a_builtin_error():
    assert PlateletEMError.__bases__ == (Exception,)


def test_a_wrong_checksum_and_a_missing_member_are_archive_errors():
    with pytest.raises(errors.ArchiveError, match=r"^sum$"):
        raise errors.ChecksumError("sum")
    with pytest.raises(errors.ArchiveError, match=r"^member$"):
        raise errors.MissingMemberError("member")


@pytest.mark.parametrize(
    "value", ["short", b"short", "", 7, None, [1, 2], "'\n", "x" * 78, b"x" * 77, list(range(20))]
)
def test_short_values_are_quoted_in_full(value):
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
def test_a_value_without_a_repr_is_described_by_its_type(value):
    assert quote(value) == f"<{type(value).__name__} without a repr>"


def test_only_the_first_items_of_a_list_are_formatted():
    class NeverFormatted:
        def __repr__(self):
            raise AssertionError

    assert quote([1] * 80 + [NeverFormatted()]).startswith("[1, 1, ")


@pytest.mark.parametrize("buffer", [bytes, bytearray, memoryview])
def test_long_buffers_are_quoted_as_bytes(buffer):
    assert quote(buffer(b"x" * 1_000)) == "b'" + "x" * 78 + "..."


def test_the_limit_can_be_set():
    assert quote("abcdef", 4) == "'abc..."
    assert quote("ab", 4) == "'ab'"
