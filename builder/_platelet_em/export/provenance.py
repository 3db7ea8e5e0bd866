"""`describe_origin`: where a file comes from and under which license, for files that travel."""

from _platelet_em import __version__
from _platelet_em.export.job import ExportVolume
from _platelet_em.spec import DatasetSpec

__all__ = ["describe_origin"]


def describe_origin(spec: DatasetSpec, volume: ExportVolume) -> dict[str, str]:
    """What a file of one volume says of itself, by name; what is not known is left out.

    The record of the whole export, `export.json`, says more, but stays behind when a file is
    moved.
    """
    found = {
        "dataset": spec.name,
        "title": spec.title,
        "volume": volume.name,
        "split": volume.split,
        "license": spec.license,
        "license_details": spec.license_details,
        "citation": spec.citation,
        "written_by": f"platelet-em {__version__}",
    }
    return {name: text for name, text in found.items() if text}
