"""A repository that another program has written by docs/format.md is read and verified as ours."""

import json
import subprocess
import sys

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
from support.programs import PROGRAMS

import platelet_em  # noqa: F401  # registers the format
from _platelet_em.errors import DescriptionError
from _platelet_em.verify.run import verify

ALL = ("slices", "volumes", "instances", "preview")


def write(folder, configs):
    program = [sys.executable, PROGRAMS / "write_by_page.py", folder, *configs]
    subprocess.run(program, check=True)
    return folder


@pytest.fixture(scope="module", params=[ALL, ("slices",)], ids=["all", "slices"])
def written(request, tmp_path_factory):
    return write(tmp_path_factory.mktemp("others") / "repo", request.param)


def test_the_program_uses_nothing_of_ours():
    assert "_platelet_em" not in (PROGRAMS / "write_by_page.py").read_text()
    assert "import platelet_em" not in (PROGRAMS / "write_by_page.py").read_text()


def test_verify_finds_no_fault(written):
    report = verify([written])
    assert report.errors == 0, "\n".join(report.lines())


def test_it_is_read_as_what_was_written(written, tmp_path):
    with np.load(written.parent / "truth.npz") as file:
        truth = dict(file)
    loaded = datasets.load_dataset(str(written), "slices", cache_dir=str(tmp_path))
    assert [*loaded] == ["train", "test"]
    for split in loaded.values():
        for row in split.with_format("platelet_em"):
            for column in ("image", "semantic", "cells", "parts"):
                expected = truth.get(f"{row['volume']}|{column}")
                if expected is None:
                    assert row[column] is None
                else:
                    assert np.array_equal(np.asarray(row[column]), expected[row["z"]])


def damage(folder, change):
    """Change the first row of the first file of slices."""
    path = folder / "slices" / "train-00000-of-00001.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(table.from_pylist(rows, schema=table.schema), path, use_dictionary=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[0]["cells"]["area"].__setitem__(0, 1), "cells.area"),
        (lambda rows: rows[0]["parts"]["purity"].__setitem__(0, 0.1), "parts.purity"),
        (lambda rows: rows[0]["parts"]["cell"].__setitem__(0, 300), "parts.cell"),
        (lambda rows: rows[0]["cells"]["rle"].__setitem__(0, "3 2 5 1"), "cells"),
        (lambda rows: rows[0]["cells"]["rle"].__setitem__(0, "043 2"), "cells"),
        (lambda rows: rows[0]["parts"]["rle"].__setitem__(1, rows[0]["parts"]["rle"][0]), "parts"),
        (lambda rows: rows[0]["cells"]["bbox"][0].reverse(), "cells.bbox"),
        (lambda rows: rows[0].update(n_cells=9), "n_cells"),
        (lambda rows: rows.pop(), "rows"),
        (lambda rows: rows.reverse(), "z"),
        (lambda rows: rows[0].update(semantic=rows[0]["image"]), "semantic"),
    ],
)
def test_what_the_page_forbids_is_found(change, message, tmp_path):
    folder = write(tmp_path / "repo", ("slices",))
    damage(folder, change)
    report = verify([folder])
    assert report.errors
    assert message in "\n".join(report.lines())


def test_a_description_without_shapes_is_refused(tmp_path):
    folder = write(tmp_path / "repo", ("slices",))
    document = json.loads((folder / "description.json").read_text())
    del document["volumes"][0]["shape"]
    (folder / "description.json").write_text(json.dumps(document))
    with pytest.raises(DescriptionError, match="volume 'a b': expected its shape, found none"):
        verify([folder])


def test_a_card_that_names_other_files_is_found(tmp_path):
    folder = write(tmp_path / "repo", ("slices",))
    card = folder / "README.md"
    card.write_text(card.read_text().replace("slices/test-", "slices/train-"))
    assert "configs[slices].data_files[test].path" in "\n".join(verify([folder]).lines())
