"""Rows without instances, whose list of boxes is empty: in every format and version."""

import pytest
from support import publisher, versions
from support.programs import PROGRAMS
from support.programs.check_empty_rows import FORMATS, check_all

from _platelet_em.hub.build import build


@pytest.fixture(scope="module")
def half_empty(tmp_path_factory):
    """A repository whose volume 24 has no instance."""
    folder = tmp_path_factory.mktemp("half-empty")
    truth = publisher.publication(depth=3)
    empty = truth.volumes["24"]
    empty.semantic[:], empty.cell[:], empty.organelle[:] = 0, 0, 0
    truth.zip(folder / "images_and_labels_json.zip", "json")
    return build(folder / "repo", data_dir=folder)


@pytest.mark.parametrize("format_name", FORMATS)
def test_rows_without_instances(format_name, repository, half_empty):
    check_all(format_name, repository, half_empty)


def test_rows_without_instances_with_the_oldest_datasets(
    oldest, repository, half_empty, plain_packages, tmp_path
):
    program = PROGRAMS / "check_empty_rows.py"
    versions.run(oldest, program, repository, half_empty, plain_packages, cwd=tmp_path)
