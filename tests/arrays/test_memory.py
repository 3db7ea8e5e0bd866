import errno
import json
import re

import pyarrow as pa
import pytest
from support import limits

from _platelet_em.arrays import memory
from _platelet_em.arrays.memory import check_room, keep_freed_memory, temporary_arrow_memory
from _platelet_em.errors import TooLargeError


def test_an_array_beyond_the_memory_of_the_machine_is_refused(monkeypatch):
    monkeypatch.setattr(memory, "_physical_memory", lambda: 2**30)
    check_room((2**10, 2**18), 4)
    message = (
        r"^shape \(1024, 262145\): as an array it takes 1\.0 GiB, and this machine does not have "
        r"that much memory: read it window by window, x\[\.\.\.\]$"
    )
    with pytest.raises(TooLargeError, match=message):
        check_room((2**10, 2**18 + 1), 4)


def test_small_arrays_are_not_checked(monkeypatch):
    monkeypatch.setattr(memory, "_physical_memory", lambda: 0)
    check_room((2**28,), 1)
    with pytest.raises(TooLargeError, match=r"shape \(268435457,\)"):
        check_room((2**28 + 1,), 1)


def test_a_size_beyond_the_address_space_is_refused():
    with pytest.raises(TooLargeError, match="GiB"):
        check_room((2**40, 2**40), 8)


def test_memory_that_cannot_be_had_is_refused(monkeypatch):
    def refuse(file, size, **options):
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(memory.mmap, "mmap", refuse)
    with pytest.raises(TooLargeError, match=r"shape \(536870912,\)"):
        check_room((2**29,), 1)


@pytest.mark.parametrize("named", [(7, 8), ()])
def test_a_message_names_the_shape_that_the_caller_knows(monkeypatch, named):
    monkeypatch.setattr(memory, "_physical_memory", lambda: 0)
    with pytest.raises(TooLargeError, match="^" + re.escape(f"shape {named}: as an array")):
        check_room((2**30,), 1, named)


def test_a_system_that_does_not_say_how_much_memory_it_has_is_asked_for_it(monkeypatch):
    monkeypatch.delattr(memory.os, "sysconf")
    memory._physical_memory.cache_clear()
    try:
        check_room((2**29,), 1)
    finally:
        memory._physical_memory.cache_clear()


def test_freed_memory_is_kept_once_per_process(monkeypatch):
    allocated = []
    monkeypatch.setattr(memory.np, "empty", lambda *arguments: allocated.append(arguments))
    keep_freed_memory.cache_clear()
    keep_freed_memory()
    keep_freed_memory()
    assert len(allocated) == 1


def test_memory_that_cannot_be_kept_is_no_error(monkeypatch):
    def refuse(*_):
        raise MemoryError

    monkeypatch.setattr(memory.np, "empty", refuse)
    keep_freed_memory.cache_clear()
    keep_freed_memory()


def test_arrow_allocates_from_the_system_within_the_block_and_as_before_after_it():
    before = pa.default_memory_pool().backend_name
    system = pa.system_memory_pool()
    with temporary_arrow_memory():
        taken = system.bytes_allocated()
        array = pa.array(range(10_000))
        assert system.bytes_allocated() - taken >= array.nbytes
    assert pa.default_memory_pool().backend_name == before


def test_arrow_allocates_as_before_after_a_block_that_failed():
    before = pa.default_memory_pool().backend_name
    with pytest.raises(KeyError, match="stop"), temporary_arrow_memory():
        raise KeyError("stop")
    assert pa.default_memory_pool().backend_name == before


# --- labels too large for the machine, in a process of its own --------------------------------

TOO_LARGE = {
    "all of it": "x",
    "a slice": "x[0]",
    "every other voxel": "x[:, ::2]",
    "a mask": "x.mask(1)",
    "another dtype": "np.asarray(x, dtype=np.uint8)",
    "several at once": "type(x).stack([x])",
    "its slices": "x.slices()",
}
FITS = {
    "a window": ("x[7, 5:7, 9:12]", [0] * 6),
    "a window at the end": ("x[-1, -1, -3:]", [0, 0, 1]),
    "areas": ("x.areas", [2]),
    "ids of one slice": ("x.slice(-1).ids", [1]),
    "area in one slice": ("x.slice(0).areas", [1]),
    "boxes": ("x.bboxes", [0, 0, 0, 2**19, 2**19, 2**19]),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    folder, cases = tmp_path_factory.mktemp("large"), {}
    fields = {"shape": [2**19] * 3, "id": [1], "rle": [f"1 1 {2**57} 1"]}
    takes = {**TOO_LARGE, **{name: take for name, (take, _) in FITS.items()}}
    for i, (name, take) in enumerate(takes.items()):
        (folder / f"{i}.json").write_text(json.dumps({"struct": fields, "take": take}))
        cases[name] = ("read_dense", folder / f"{i}.json")
    return limits.outcomes(cases)


@pytest.mark.parametrize("case", TOO_LARGE)
def test_labels_too_large_for_any_machine_are_refused(case, outcomes):
    outcome = outcomes[case]
    assert outcome.get("error") == "TooLargeError", outcome
    assert re.search(
        r"^shape \(.*524288.*\): as an array it takes .* GiB, and this machine does not have that "
        r"much memory: read it window by window, x\[\.\.\.\]$",
        outcome["message"],
    )


@pytest.mark.parametrize("case", FITS)
def test_small_parts_of_such_labels_are_read(case, outcomes):
    assert outcomes[case] == {"value": FITS[case][1]}
