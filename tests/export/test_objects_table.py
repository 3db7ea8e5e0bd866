"""`objects.csv`: every object of every exported volume, by pandas and by counting voxels."""

import numpy as np
import pandas as pd
import pytest
from support.own import write_own

import platelet_em


def test_it_lists_all_objects_with_their_properties(three_volumes, publication, tmp_path):
    out = platelet_em.export(three_volumes, tmp_path / "out", to="tiff")
    table = pd.read_csv(out / "objects.csv", dtype={"volume": str})
    assert table.columns.tolist() == [
        "volume", "column", "id", "voxels", "class_name", "class_id", "purity", "cell",
    ]  # fmt: skip
    assert set(table["volume"]) == {"50", "24"}
    for name, volume in publication.volumes.items():
        for column, dense in (("cells", volume.cell), ("organelles", volume.organelle)):
            found = table[(table["volume"] == name) & (table["column"] == column)]
            ids, counts = np.unique(dense[dense > 0], return_counts=True)
            assert found["id"].tolist() == ids.tolist()
            assert found["voxels"].tolist() == counts.tolist()


def test_properties_equal_those_of_the_rows(archives, tmp_path):
    out = platelet_em.export(archives, tmp_path / "out", to="tiff", split="train")
    table = pd.read_csv(out / "objects.csv").query("column == 'organelles'")
    rows = platelet_em.load_dataset(
        "instances", data_dir=archives, cache_dir=str(tmp_path), split="train"
    )
    expected = rows.with_format(None).to_pandas().query("kind == 'organelle'")
    for column in ("id", "class_id", "cell", "class_name", "voxels"):
        assert table[column].tolist() == expected[column].tolist()
    purity = table["purity"].to_numpy(np.float32)
    np.testing.assert_array_equal(purity, expected["purity"].to_numpy(np.float32))


def test_what_a_dataset_does_not_have_is_no_column(tmp_path):
    own = write_own(tmp_path / "own", "pictures")
    out = platelet_em.export(own.description, tmp_path / "out", to="tiff")
    table = pd.read_csv(out / "objects.csv")
    assert table.columns.tolist() == ["volume", "column", "id", "voxels"]
    assert len(table) == sum(
        len(np.unique(volume.labels["particles"])) - 1 for volume in own.volumes.values()
    )


def test_a_parent_with_the_name_of_a_column_is_refused(tmp_path):
    own = write_own(tmp_path / "own", "multipage")
    text = own.description.read_text().replace('parent = "cell"', 'parent = "column"')
    own.description.write_text(text)
    message = r"^objects\.csv: expected a parent of another name than its columns, got 'column'"
    with pytest.raises(platelet_em.ConversionError, match=message):
        platelet_em.export(own.description, tmp_path / "out", to="tiff", imagej=False)
