"""Fixtures: a publication with its archives, and a world without network or shared caches."""

import os
import socket
import tempfile

# Read by datasets and huggingface_hub when they are imported, so it is set before that.
_HOME = tempfile.mkdtemp(prefix="platelet-em-tests-")
os.environ.update(HF_HOME=_HOME, HF_HUB_OFFLINE="1", HF_DATASETS_DISABLE_PROGRESS_BARS="1")
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import publisher

settings.register_profile(
    "tests", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tests")

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@pytest.fixture(autouse=True, scope="session")
def _no_network():
    """Addresses beyond this machine are refused, so no test can depend on them."""
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
def archives(publication, tmp_path_factory):
    """A folder with the two zips of the publisher."""
    folder = tmp_path_factory.mktemp("archives")
    publication.zip(folder / "images_and_labels_json.zip", "json")
    publication.zip(folder / "images_and_labels_rgba.zip", "tif")
    return folder


@pytest.fixture
def same_partition():
    """Whether two label arrays are equal up to a one-to-one change of ids, 0 staying 0."""

    def compare(a, b):
        pairs = np.unique(np.stack([np.ravel(a), np.ravel(b)]), axis=1)
        zeros = ((pairs == 0).sum(axis=0) != 1).all()
        return bool(zeros) and all(len(np.unique(side)) == pairs.shape[1] for side in pairs)

    return compare
