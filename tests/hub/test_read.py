"""Volumes of a repository whose rows are not those of all slices, in z order."""

import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import platelet_em
from _platelet_em.facts import PUBLISHED
from _platelet_em.hub.read import open_volume


@pytest.mark.parametrize("z", [0, 2**31 - 1, -1, None])
def test_rows_that_are_not_in_z_order_are_refused(z, repository, tmp_path):
    folder = shutil.copytree(repository, tmp_path / "repo")
    path = sorted((folder / "slices").glob("train-*"))[1]
    table = pq.read_table(path)
    *zs, row = table["z"].to_pylist()
    index, field = table.schema.get_field_index("z"), table.schema.field("z")
    pq.write_table(table.set_column(index, field, pa.array([*zs, z], pa.int32())), path)
    with pytest.raises(platelet_em.MissingMemberError, match=f"found z = {z} instead of {row} in row {row} of"):
        open_volume(folder, PUBLISHED.volumes[0], PUBLISHED)


def test_missing_rows_are_named(repository, tmp_path):
    folder = shutil.copytree(repository, tmp_path / "repo")
    first, second, *others = sorted((folder / "slices").glob("train-*"))
    second.unlink()
    kept = pq.read_metadata(first).num_rows
    with pytest.raises(platelet_em.MissingMemberError, match=f"in row {kept} of"):
        open_volume(folder, PUBLISHED.volumes[0], PUBLISHED)
    for path in (first, *others):
        path.unlink()
    with pytest.raises(platelet_em.MissingMemberError, match="of its slices, found none"):
        open_volume(folder, PUBLISHED.volumes[0], PUBLISHED)
