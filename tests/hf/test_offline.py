"""Without a network: each way of loading says so at once, in one sentence with the ways out."""

import pytest
from support.clients import run_with_us
from support.programs import PROGRAMS

import platelet_em


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("label_source", ["json", "tif"])
def test_offline_is_said_with_the_ways_out(label_source, streaming, tmp_path):
    # Tests are offline.
    with pytest.raises(platelet_em.DownloadError, match="HF_HUB_OFFLINE") as caught:
        platelet_em.load_dataset(
            label_source=label_source, streaming=streaming, cache_dir=tmp_path
        )
    assert "data_dir" in str(caught.value)
    assert "platelet-em sample" in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("door", ["load", "builder", "name"])
@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", ""])
def test_there_is_one_traceback_with_the_public_name(door, variable, tmp_path):
    environment = {"HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path)}
    if variable:
        environment[variable] = "1"
    out = run_with_us(PROGRAMS / "load_without_network.py", door, **environment)
    *_, waits, last = out.splitlines()
    assert out.count("Traceback") == 1
    assert last.startswith("platelet_em.DownloadError: ")
    assert ("OFFLINE is set" if variable else "no address: check the connection") in last
    assert waits == "waited 0 times"
