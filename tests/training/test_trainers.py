"""Lightning and accelerate read each window of an epoch once, without code of the user's."""

import json

from support import versions
from support.programs import PROGRAMS
from support.windows import make_windows

COUNT = 13
CASES = [(16, None), (16, True), (13, None)]
"""Windows per epoch, and dispatch_batches."""


def expect(w, epoch):
    """Position of the volume, and corner, of the windows of an epoch."""
    sampler = w.sampler()
    sampler.set_epoch(epoch)
    found = [w[index] for index in sampler]
    return [[window["volume"].position, window["corner"]] for window in found]


def test_lightning_reads_new_windows_in_each_epoch_in_one_process_and_in_two(tmp_path):
    out = tmp_path / "shares.json"
    versions.run(versions.NEWEST, PROGRAMS / "train_with_lightning.py", COUNT, out, cwd=tmp_path)
    w = make_windows(COUNT)
    for processes, ranks in enumerate(json.loads(out.read_text("utf-8")), start=1):
        assert [[len(epoch) for epoch in epochs] for epochs in ranks] == [
            [len(range(rank, COUNT, processes))] * 2 for rank in range(processes)
        ]
        for epoch in range(2):
            found = [corner for rank in ranks for corner in rank[epoch]]
            assert sorted(found) == sorted(corner for _, corner in expect(w, epoch))
        corners = {str(corner) for rank in ranks for epoch in rank for corner in epoch}
        assert len(corners) == 2 * COUNT, "no window twice"


def test_accelerate_reads_each_window_once_in_two_processes(tmp_path):
    out = tmp_path / "shares.json"
    program = PROGRAMS / "read_with_accelerate.py"
    versions.run(versions.NEWEST, program, json.dumps(CASES), out, cwd=tmp_path)
    for (count, dispatch), epochs in zip(CASES, json.loads(out.read_text("utf-8")), strict=True):
        w = make_windows(count)
        for epoch, shares in enumerate(epochs):
            assert all(shares), (count, dispatch)
            assert sorted(shares[0] + shares[1]) == sorted(expect(w, epoch)), (count, dispatch)
