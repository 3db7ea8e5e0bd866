"""Pictures of repositories are compared with new ones, if the same version has drawn them."""

import json

import pytest
from PIL import Image

from _platelet_em.facts import PUBLISHED
from _platelet_em.hub import build as build_module
from _platelet_em.hub.build import build
from _platelet_em.hub.integrity import inspect_repository
from _platelet_em.rows.picture import DRAWING
from _platelet_em.verify.run import verify


@pytest.mark.parametrize("drawing", ["1", DRAWING])
def test_only_pictures_of_the_same_version_are_compared(drawing, archives, tmp_path, monkeypatch):
    monkeypatch.setattr(build_module, "DRAWING", drawing)
    folder = build(tmp_path / "repo", data_dir=archives)
    path = folder / "pictures" / "volume-50.png"
    with Image.open(path) as picture:
        Image.new("RGB", picture.size).save(path)
    found = [problem.check for problem in inspect_repository(folder, PUBLISHED).problems]
    assert found == ([] if drawing == "1" else ["picture"])
    findings = json.loads(verify([folder]).to_json())["sections"][0]["findings"]
    levels = [finding["level"] for finding in findings if finding["check"] == "picture"]
    assert levels == ["remark" if drawing == "1" else "error"]
