"""What `pip install .` puts into an environment: both packages and the command, nothing else."""

import importlib.metadata
from pathlib import Path

import pytest

try:
    DISTRIBUTION = importlib.metadata.distribution("platelet-em")
except importlib.metadata.PackageNotFoundError:
    pytest.skip("this project is not installed", allow_module_level=True)

ROOT = Path(__file__).parents[1]
FILES = {str(path) for path in DISTRIBUTION.files}


def test_only_the_two_packages_and_the_command():
    tops = {Path(path).parts[0] for path in FILES if not path.startswith("..")}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "platelet_em",
        "_platelet_em",
    }
    assert {Path(path).name for path in FILES if path.startswith("..")} == {"platelet-em"}


def test_type_markers_and_all_modules_are_installed():
    assert {"platelet_em/__init__.py", "platelet_em/py.typed", "_platelet_em/py.typed"} <= FILES
    assert "_platelet_em/dataset_card.md" in FILES
    data = {"published.toml", "description.schema.json"}
    assert {f"_platelet_em/description/{name}" for name in data} <= FILES
    modules = {
        path.relative_to(ROOT / "builder").as_posix() for path in (ROOT / "builder").rglob("*.py")
    }
    assert any(name.count("/") > 1 for name in modules)
    assert modules <= FILES


def test_the_installed_package_is_what_is_tested():
    import platelet_em

    face = DISTRIBUTION.locate_file("platelet_em/__init__.py")
    assert Path(platelet_em.__file__).samefile(face)
    assert Path(platelet_em.__file__).read_bytes() == (ROOT / "platelet_em.py").read_bytes()


def test_version():
    import _platelet_em

    assert DISTRIBUTION.version == _platelet_em.__version__


def test_only_the_intended_packages_are_dependencies():
    names = {
        requirement.split(">")[0].strip()
        for requirement in DISTRIBUTION.requires
        if "extra ==" not in requirement
    }
    assert names == {
        "datasets", "filelock", "huggingface-hub", "numpy", "pillow", "pyarrow", "pyyaml",
        "requests", "tifffile", "tomli", "urllib3",
    }  # fmt: skip
