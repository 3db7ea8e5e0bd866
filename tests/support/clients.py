"""Processes whose real clients take the test Hub for the real one, with and without us."""

import os
import subprocess
import sys

import pytest

from support import plain
from support.hub import LFS_SUFFIXES, File, Hub, Repository
from support.plain import CHECK

LOAD_BUILT = """
truth = np.load(sys.argv[1])
assert datasets.get_dataset_config_names("user/platelet-em") == ["slices", "volumes", "preview"]
assert datasets.get_dataset_split_names("user/platelet-em", "slices") == ["train", "validation"]
CHECKS = {"slices": check_split, "volumes": check_volume, "preview": check_preview}
for config, check_rows in CHECKS.items():
    for streaming in (False, True):
        loaded = datasets.load_dataset("user/platelet-em", config, streaming=streaming)
        assert list(loaded) == ["train", "validation"]
        for split, volume in SPLITS:
            for format in (None, "numpy", "torch"):
                check_rows(loaded[split].with_format(format), truth, volume)
default = datasets.load_dataset("user/platelet-em", split="train")
assert default.config_name == "slices"
print("ok")
"""


@pytest.fixture
def hub():
    with Hub({"hf_user": "user", "hf_other": "other"}) as hub:
        yield hub


@pytest.fixture
def with_us(hub, tmp_path):
    """Run code that has this project, and takes the test Hub for the real one."""

    def run(code, *arguments):
        environment = {**os.environ, **hub.environment(tmp_path / "home-with-us")}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        command = [sys.executable, "-c", code, *map(str, arguments)]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, env=environment
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    return run


@pytest.fixture
def without_us(hub, plain_packages, tmp_path):
    """Run code that does not have this project, and takes the test Hub for the real one."""

    def run(code, *arguments, token="hf_user"):
        environment = hub.environment(tmp_path / "home-without-us", token)
        return plain.run(plain_packages, CHECK + code, *arguments, **environment).split()

    return run


def publish(hub, name, folder):
    """Put the files of a folder into a repository of the Hub, as if they had been uploaded."""
    repository = hub.repositories[name] = Repository(name, private=False)
    paths = [path for path in folder.rglob("*") if path.is_file()]
    files = {
        path.relative_to(folder).as_posix(): File(path.read_bytes(), path.suffix in LFS_SUFFIXES)
        for path in paths
    }
    repository.commit("main", "files", {**repository.files, **files})
    return repository
