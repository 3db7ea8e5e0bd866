"""Where an exported file is from."""

from types import SimpleNamespace

from _platelet_em import __version__
from _platelet_em.export.provenance import describe_origin
from _platelet_em.facts import PUBLISHED
from _platelet_em.spec import DatasetSpec


def test_a_file_names_dataset_license_and_citation():
    origin = describe_origin(PUBLISHED, SimpleNamespace(name="50", split="train"))
    assert (origin["dataset"], origin["volume"]) == (PUBLISHED.name, "50")
    assert origin["citation"] == PUBLISHED.citation
    assert origin["license_details"] == PUBLISHED.license_details


def test_what_is_not_known_is_left_out():
    origin = describe_origin(DatasetSpec(name="mine"), SimpleNamespace(name='a "1"', split="x"))
    written_by = f"platelet-em {__version__}"
    expected = {"dataset": "mine", "volume": 'a "1"', "split": "x", "written_by": written_by}
    assert origin == expected
