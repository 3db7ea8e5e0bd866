"""Optional packages: messages that say what to install."""

import sys
import types

import numpy as np
import pytest

from _platelet_em.errors import MissingExtraError
from _platelet_em.export.extras import import_extra


def test_an_installed_package_is_imported():
    major = int(np.__version__.partition(".")[0])
    assert import_extra("numpy", extra="x", major=major) is np


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(MissingExtraError, match=r"^ome-zarr: needs zarr 3 .*em\[ome-zarr\]$"):
        import_extra("zarr", extra="ome-zarr", major=3)


def test_an_old_package_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "zarr", types.SimpleNamespace(__version__="2.18.3"))
    with pytest.raises(MissingExtraError, match=r"zarr 3 or later, found zarr 2\.18\.3: pip inst"):
        import_extra("zarr", extra="ome-zarr", major=3)


def test_a_package_for_newer_pythons_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 10, 4, "final", 0))
    with pytest.raises(
        MissingExtraError, match=r"needs Python 3\.11 or later, found Python 3\.10"
    ):
        import_extra("zarr", extra="ome-zarr", major=3, python=(3, 11))
