"""`VolumeName`: a str that keeps its position through copies and pickles."""

import copy
import json
import pickle

import pyarrow as pa

from _platelet_em.training.volume_name import VolumeName


def test_a_name_is_a_str_that_knows_its_position():
    name = VolumeName("50", 3)
    assert name == "50"
    assert repr(name) == "'50'"
    assert hash(name) == hash("50")
    assert {"50": 1}[name] == 1
    for other in (copy.copy(name), copy.deepcopy(name), pickle.loads(pickle.dumps(name))):
        assert type(other) is VolumeName
        assert (other, other.position) == (name, 3)
    assert json.dumps([name]) == '["50"]'
    assert pa.array([name]).to_pylist() == ["50"]
