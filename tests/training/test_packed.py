"""`PackedLabels`: batches of runs, compared with stacked dense arrays."""

import math
import multiprocessing
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support.runs import HUGE, HUGE_SIZE, IDS

from platelet_em import LabelFormatError, LazyLabels, PackedLabels

torch = pytest.importorskip("torch")


def pack(arrays):
    return PackedLabels.pack([LazyLabels.from_array(array) for array in arrays])


batches = hnp.arrays(
    np.int32,
    hnp.array_shapes(min_dims=2, max_dims=4, min_side=0, max_side=5).filter(lambda s: s[0]),
    elements=st.sampled_from(IDS),
)


@given(batch=batches)
def test_painted_labels_are_the_stacked_arrays(batch):
    packed = pack(batch)
    assert (packed.shape, len(packed), packed.dtype) == (batch.shape, len(batch), torch.int32)
    dense, moved, painted = packed.dense(), packed.to("cpu"), packed._paint_on("cpu")
    assert (dense.dtype, moved.dtype, painted.dtype) == (np.int32, torch.int32, torch.int32)
    for found in (dense, moved.numpy(), painted.numpy()):
        assert found.shape == batch.shape
        np.testing.assert_array_equal(found, batch)


@given(batch=batches)
def test_runs_are_those_of_each_window(batch):
    packed = pack(batch)
    columns = (packed.windows, packed.starts, packed.lengths, packed.ids)
    rebuilt = np.zeros((len(batch), math.prod(batch.shape[1:])), np.int64)
    for window, start, length, label in zip(*(c.tolist() for c in columns), strict=True):
        assert not rebuilt[window, start : start + length].any()
        rebuilt[window, start : start + length] = label
    np.testing.assert_array_equal(rebuilt.reshape(batch.shape), batch)


def test_crops_are_packed_without_decoding():
    labels = LazyLabels(HUGE, [4, 6], ["1 3", f"{HUGE_SIZE - 9} 2"])
    packed = PackedLabels.pack([labels.crop(np.s_[:2]), labels.crop(np.s_[-2:])])
    assert packed.shape == (2, 2, *HUGE[1:])
    assert packed.starts.dtype == torch.int64  # 20 billion voxels do not fit int32
    assert packed.starts.tolist() == [0, 2 * HUGE[1] * HUGE[2] - 10]
    assert packed.windows.tolist() == [0, 1]
    assert packed.nbytes == 2 * 3 * 8


def test_small_windows_travel_as_int32():
    packed = pack(np.ones((3, 4, 5), np.int32))
    assert {c.dtype for c in (packed.starts, packed.lengths, packed.ids)} == {torch.int32}
    assert packed.nbytes == 3 * 3 * 4


@pytest.mark.parametrize("other", [np.zeros((4, 5), np.int32), None, "1 2"])
def test_only_lazy_labels_are_packed(other):
    with pytest.raises(LabelFormatError, match="packed labels: expected LazyLabels, got"):
        PackedLabels.pack([LazyLabels((4, 5), [7], ["1 2"]), other])


def test_runs_that_were_changed_are_not_painted_elsewhere():
    packed = pack(np.ones((3, 4, 5), np.int32))
    packed.starts.add_(10**9)
    with pytest.raises(LabelFormatError, match=r"run 0 is 1000000000 to .*: expected runs in ord"):
        packed.dense()


def test_no_labels_or_labels_of_two_shapes_are_errors():
    with pytest.raises(LabelFormatError, match="packed labels: expected at least one"):
        PackedLabels.pack([])
    with pytest.raises(LabelFormatError, match=r"all of one shape, got \[\(2,\), \(3,\)\]"):
        pack([np.zeros(2, np.int32), np.zeros(3, np.int32)])


def test_pickles_keep_everything():
    batch = np.int32([[[0, 3], [3, 0]], [[7, 7], [0, 0]]])
    packed = pickle.loads(pickle.dumps(pack(batch)))
    np.testing.assert_array_equal(packed.dense(), batch)


def send(queue, batch):
    queue.put(pack(batch))
    queue.get()


def test_another_process_gets_the_runs_in_shared_memory():
    batch = np.int32([[[0, 3], [3, 0]], [[7, 7], [0, 0]]])
    context = multiprocessing.get_context("fork")
    queue = torch.multiprocessing.get_context("fork").Queue()
    process = context.Process(target=send, args=(queue, batch))
    process.start()
    packed = queue.get()
    assert packed._runs.is_shared()
    np.testing.assert_array_equal(packed.dense(), batch)
    queue.put(None)
    process.join()


def test_a_loader_that_pins_memory_pins_the_runs(monkeypatch):
    """Without a GPU nothing can be pinned: that the loader asks for it is what is tested."""
    pinned = []
    monkeypatch.setattr(PackedLabels, "pin_memory", lambda self: pinned.append(self) or self)
    packed = pack(np.ones((1, 2, 2), np.int32))
    assert torch.utils.data._utils.pin_memory.pin_memory({"cells": packed})["cells"] is packed
    assert pinned == [packed]


def test_its_text_has_shape_and_runs():
    assert repr(pack(np.ones((2, 3, 4), np.int32))) == "PackedLabels(shape=(2, 3, 4), 2 runs)"
