"""What is stated about the project outside its code: `CITATION.cff`, links, the README on PyPI."""

import re
import runpy
from pathlib import Path

import yaml

import platelet_em
from _platelet_em.facts import PUBLISHED

ROOT = Path(__file__).parents[1]
HOOKS = runpy.run_path(str(ROOT / "hatch_build.py"))
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))


def test_the_software():
    assert CITATION["version"] == platelet_em.__version__
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    fields = dict(re.findall(r'^(license|repository) = "(.*)"$', project, re.MULTILINE))
    assert CITATION["license"] == fields["license"]
    assert CITATION.get("repository-code", "") == fields["repository"]


def test_the_paper():
    paper = CITATION["preferred-citation"]
    bibtex = dict(re.findall(r"(\w+) += \{(.*?)\}", " ".join(PUBLISHED.citation.split())))
    names = [f"{a['family-names']}, {a['given-names']}" for a in paper["authors"]]
    assert paper == {
        "type": "article",
        "title": bibtex["title"],
        "authors": paper["authors"],
        "journal": bibtex["journal"],
        "volume": int(bibtex["volume"]),
        "issue": bibtex["number"],
        "year": int(bibtex["year"]),
        "doi": bibtex["doi"],
    }
    assert " and ".join(names) == bibtex["author"]


REPOSITORY = "https://example.org/team/platelet-em"


def test_links_of_the_project_are_left_out_while_its_address_is_not_known():
    assert HOOKS["project_links"]("") == {}
    assert HOOKS["LINKS"]["Paper"] == PUBLISHED.homepage
    links = HOOKS["project_links"](REPOSITORY)
    assert links["Source"] == REPOSITORY
    assert all(link.startswith(REPOSITORY) for link in links.values())


def test_links_of_the_readme_work_on_pypi():
    text = "![a slice](docs/a.png) [page](docs/b.md#c), [paper](https://doi.org/1), [top](#top)"
    assert HOOKS["absolute_links"](text, "") == text
    assert HOOKS["absolute_links"](text, REPOSITORY) == (
        f"![a slice]({REPOSITORY}/raw/HEAD/docs/a.png) "
        f"[page]({REPOSITORY}/blob/HEAD/docs/b.md#c), [paper](https://doi.org/1), [top](#top)"
    )
