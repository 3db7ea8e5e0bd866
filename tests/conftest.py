"""Fixtures: small archives and their repositories, without network or shared caches."""

import functools
import os
import shutil
import socket
import tempfile

# Read by datasets and huggingface_hub when they are imported, so it is set before that.
_HOME = tempfile.mkdtemp(prefix="platelet-em-tests-")
os.environ.update(HF_HOME=_HOME, HF_HUB_OFFLINE="1", HF_DATASETS_DISABLE_PROGRESS_BARS="1")
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

import datasets
import numpy as np
import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings
from support import plain, publisher, verified, versions
from support.clients import hub, with_us, without_us  # noqa: F401  # fixtures for all modules
from support.faulty_http import no_settings, server, waits  # noqa: F401  # fixtures for all modules
from support.programs.check_rows import KINDS

import platelet_em
from _platelet_em.hub import integrity
from _platelet_em.hub.build import build

settings.register_profile(
    "tests", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tests")

# Newer Arrow does not need the 5 s that datasets waits after each pass of a shuffled stream.
datasets.config.SLEEP_TIME_ON_THREADS_SHUTDOWN = 0

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@pytest.fixture(autouse=True, scope="session")
def _remove_home():
    yield
    shutil.rmtree(_HOME, ignore_errors=True)


@pytest.fixture(autouse=True, scope="session")
def _no_network():
    """Refuse addresses outside this machine, so that no test can depend on them."""
    connect = socket.socket.connect

    def refuse(self, address):
        if isinstance(address, tuple) and address[0] not in _LOOPBACK:
            raise ConnectionRefusedError(f"tests have no network: {address}")
        return connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        yield


@pytest.fixture(scope="session")
def publication():
    """Both volumes as dense arrays: the truth."""
    return publisher.publication()


@pytest.fixture(scope="session")
def truth(publication, tmp_path_factory):
    """The voxels in a file, for processes that check rows."""
    volumes = publication.volumes.items()
    arrays = {f"{name}_{kind}": getattr(v, kind) for name, v in volumes for kind in KINDS}
    path = tmp_path_factory.mktemp("truth") / "truth.npz"
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="session")
def archives(publication, tmp_path_factory):
    """A folder with the two zips of the publisher."""
    folder = tmp_path_factory.mktemp("archives")
    publication.zip(folder / "images_and_labels_json.zip", "json")
    publication.zip(folder / "images_and_labels_rgba.zip", "tif")
    return folder


@pytest.fixture
def impatient_torch(monkeypatch):
    """Torch ends workers that have failed at once: it would wait 5 s for them."""
    monkeypatch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.1)


@pytest.fixture
def same_partition():
    """Whether two label arrays are equal up to a one-to-one change of ids, 0 staying 0."""

    def compare(a, b):
        pairs = np.unique(np.stack([np.ravel(a), np.ravel(b)]), axis=1)
        zeros = ((pairs == 0).sum(axis=0) != 1).all()
        return bool(zeros) and all(len(np.unique(side)) == pairs.shape[1] for side in pairs)

    return compare


@pytest.fixture(scope="session")
def plain_packages(tmp_path_factory):
    """Everything that is installed except this project, see plain.py."""
    return plain.site_packages_without_us(tmp_path_factory.mktemp("site-packages"))


@pytest.fixture(scope="session")
def oldest():
    """The interpreter with the oldest supported version of `datasets`, see versions.py."""
    return versions.oldest()


@pytest.fixture(params=["newest", "oldest"])
def newest_or_oldest(request):
    """The interpreters with the newest and the oldest supported version of `datasets`."""
    return versions.NEWEST if request.param == "newest" else request.getfixturevalue("oldest")


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """A cache folder that tests share."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def repository(archives, tmp_path_factory):
    """A repository built from the JSON archive."""
    return build(tmp_path_factory.mktemp("built") / "repo", data_dir=archives)


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    """A folder with the small sample of the documentation, as `archives` and as `repo`."""

    def write(out):
        platelet_em.write_sample(out / "archives", depth=6, size=256)
        build(out / "repo", data_dir=out / "archives")

    return _make_once(tmp_path_factory, "sample", write)


@pytest.fixture(scope="session")
def tidy_archives(tmp_path_factory):
    """A folder with archives without any fault, see verified.py."""
    folder = tmp_path_factory.mktemp("clean") / "archives"
    return verified.write_archives(folder, verified.tidy(), verified.tidy())


@pytest.fixture(scope="session")
def tidy_repository(tidy_archives):
    """The repository of them."""
    return build(tidy_archives.parent / "repo", data_dir=tidy_archives)


@pytest.fixture
def inspected_once(monkeypatch):
    """`read_build` and `verify` share one inspection of a folder that does not change."""
    inspect = functools.cache(integrity.inspect_repository)

    def inspect_once(folder, spec, *, pictures=True):
        return inspect(folder, spec, pictures=pictures)

    monkeypatch.setattr("_platelet_em.hub.integrity.inspect_repository", inspect_once)
    monkeypatch.setattr("_platelet_em.verify.files.inspect_repository", inspect_once)


@pytest.fixture(scope="session")
def full_archives(tmp_path_factory):
    """Archives of a sample of the published size, written once for all test processes."""

    def write(out):
        platelet_em.write_sample(out, depth=50, size=800)

    return _make_once(tmp_path_factory, "full-archives", write)


@pytest.fixture(scope="session")
def full_size(full_archives, tmp_path_factory):
    """The repository built from it."""

    def write(out):
        build(out, data_dir=full_archives)

    return _make_once(tmp_path_factory, "full-size", write)


def _make_once(tmp_path_factory, name, write):
    """A folder that the first test process to need it writes."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent  # shared by all workers
    with FileLock(root / f"{name}.lock"):
        if not (root / f"{name}.complete").exists():
            write(root / name)
            (root / f"{name}.complete").touch()
    return root / name


@pytest.fixture(scope="session")
def loaded(repository, cache):
    """The repository's `slices`, loaded by plain `datasets`: a DatasetDict without format."""
    return datasets.load_dataset(str(repository), "slices", cache_dir=str(cache))


@pytest.fixture(scope="session")
def check_row(publication):
    """Compare a row of `slices` in the format `"platelet_em"` with the truth."""

    def check(row):
        truth, z = publication.volumes[row["volume"]], row["z"]
        assert np.array_equal(row["image"], truth.images[z])
        assert np.array_equal(row["semantic"], truth.semantic[z])
        assert isinstance(row["cells"], platelet_em.LazyLabels)
        assert np.array_equal(np.asarray(row["cells"]), truth.cell[z])
        assert np.array_equal(np.asarray(row["organelles"]), truth.organelle[z])

    return check
