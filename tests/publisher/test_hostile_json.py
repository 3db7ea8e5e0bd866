"""Odd and hostile JSON label files, read with little memory, against the publisher's decoder."""

import json
import re

import numpy as np
import pytest
from support import limits, publisher
from support.label_files import JSON, dense, read

from _platelet_em.limits import MAX_JSON, MAX_LABELS, MAX_RUNS

SHAPE = [2, 3, 4]
INFO = '".info": {"shape": [2, 3, 4], "dtype": "int64"}'


def written(*pairs):
    return "{" + ", ".join([INFO, *(f'"{key}": "{string}"' for key, string in pairs)]) + "}"


# Odd but valid files

ODD = {
    "unsorted runs": written((1, "9 2 3 1 20 4 1 1")),
    "adjacent runs": written((1, "1 2 3 4 7 1")),
    "overlapping runs": written((1, "1 9 3 2 5 9")),
    "a run twice": written((1, "5 3 5 3")),
    "labels that overlap": written((5, "1 9"), (3, "4 9"), (4, "6 2 1 1")),
    "blanks of all kinds": written((1, "  1 2   9 1 ")),
    "escaped blanks": written((1, r"1 2\n9\t1\r\n"), (2, r"\f20 1")),
    "escaped digits": written((r"\u0031\u0032", r"\u0031 2 9 \u0031"), (2, r"\u00320 1")),
    "the shape at the end": '{"4": "1 2", "2": "2 1", ' + INFO + "}",
    "a mark of byte order": "\ufeff" + written((1, "1 2")),
    "blanks around everything": "\n\t " + written((1, "1 2")).replace(":", " \n: ") + "\r\n",
    "no labels": written(),
    "a label without voxels": written((3, ""), (4, "1 1")),
    "the whole volume": written((2147483647, "1 24")),
    "a dtype that would be evaluated": written((1, "1 1")).replace("int64", "exit()"),
}


@pytest.mark.parametrize("case", ODD)
def test_an_odd_but_valid_file_gives_the_same_voxels_as_the_publishers_decoder(case):
    content = ODD[case].encode()
    expected = publisher.decode(json.loads(content.decode("utf-8-sig")))
    np.testing.assert_array_equal(dense(read(content, name=JSON).labels), expected)


# Hostile files


def shaped(shape):
    return f'{{".info": {{"shape": {shape}}}, "1": "1 1"}}'


ENDLESS = 1 << 27
LARGE = "a file that is too large"


def endless(head, piece, tail):
    """A file of 128 MiB that repeats a piece; in 300 MB it can be parsed without more copies."""
    return head.encode(), piece.encode(), tail.encode()


HOSTILE = {
    "no info": ('{"1": "1 1"}', r"the key '\.info' with the shape of the volume is missing"),
    "two infos": (
        "{" + INFO + ", " + INFO + "}",
        r"key '\.info' appears more than once, and which",
    ),
    "a key twice": (written((1, "1 1"), (1, "2 1")), "key '1' appears more than once"),
    "a key twice, escaped": (written((1, "1 1"), (r"\u0031", "2 1")), "key '1' appears more"),
    "an odd count": (written((1, "1 1 2")), "id 1: expected pairs of start and length, got 3"),
    "a length of zero": (written((1, "1 0")), "id 1: run 1 is 1 0; expected a start from 1"),
    "a negative length": (written((1, "1 -2")), "id 1: .*got '-' at character 3"),
    "a start of zero": (written((1, "0 1")), "id 1: run 1 is 0 1; expected a start from 1"),
    "a run beyond the end": (written((1, "24 2")), "id 1: run 1 is 24 2; .* within the 24"),
    "a start beyond the end": (written((7, "1 1 25 1")), "id 7: run 2 is 25 1; expected"),
    "the id 0": (written((0, "1 1")), "key '0': expected a label from 1 to 2147483647"),
    "a negative id": (written((-1, "1 1")), "key '-1': expected a label from 1 to 2147483647"),
    "a huge id": (written((2**31, "1 1")), "key '2147483648': expected a label from 1 to"),
    "a key that is no number": (written(("seven", "1 1")), "key 'seven': expected a label"),
    "an id that is no integer": (written(("1.5", "1 1")), r"key '1\.5': expected a label"),
    "an empty id": (written(("", "1 1")), "key '': expected a label"),
    "an id of 5,000 digits": (
        written(("9" * 5000, "1 1")),
        r"key '9{70,}\.\.\.: expected a label from 1",
    ),
    "a number of 5,000 digits": (
        written((1, "9" * 5000 + " 1")),
        "id 1: a number of more than 18",
    ),
    "a length of 5,000 digits": (
        written((1, "1 " + "9" * 5000)),
        "more than 18 digits at char",
    ),
    "a shape of a million digits": (
        shaped("[1" + "0" * 10**6 + "]"),
        r"\.info: shape: expected .* got \[inf\]",
    ),
    "numbers that are no integers": (
        written((1, "1.0 2")),
        r"id 1: .*got '\.' at character 2",
    ),
    "another script's digits": (
        written((1, "\u0661 1")),
        "id 1: expected a string of decimal numbers, got",
    ),
    "a list for a string": ("{" + INFO + ', "1": [1, 1]}', "key '1': expected a string, the RLE"),
    "a number for a string": ("{" + INFO + ', "1": 11}', "key '1': expected a string, the RLE"),
    "NaN for a string": ("{" + INFO + ', "1": NaN}', "key '1': expected a string, .* got nan"),
    "a shape that contradicts the runs": (
        shaped("[1, 1, 0]"),
        "id 1: run 1 is 1 1; .* the 0 voxels",
    ),
    "a shape of strings": (
        shaped('["2", "3", "4"]'),
        r"\.info: shape: expected .* got \['2', '3', '4'\]",
    ),
    "a shape of floats": (shaped("[2.0, 3, 4]"), r"\.info: shape: expected .* got \[2\.0, 3, 4\]"),
    "a shape of NaN": (shaped("[NaN, 3, 4]"), r"\.info: shape: expected .* got \[nan, 3, 4\]"),
    "a shape of truth": (shaped("[true, 3, 4]"), r"\.info: shape: expected .* got \[True, 3, 4\]"),
    "a shape in a shape": (
        shaped("[[2, 3, 4]]"),
        r"\.info: shape: expected .* got \[\[2, 3, 4\]\]",
    ),
    "a negative shape": (shaped("[-2, 3, 4]"), r"\.info: shape: expected .* got \[-2, 3, 4\]"),
    "a shape of two axes": (
        shaped("[6, 4]"),
        r"expected a volume \(z, y, x\), got shape \(6, 4\)",
    ),
    "more slices than any volume has": (
        shaped([2**40, 1, 1]).replace("1 1", "1 1099511627776"),
        r"expected at most 16384 slices, .* got shape \(1099511627776, 1, 1\): the file is d",
    ),
    "more voxels than any volume has": (
        shaped([2**14, 2**13, 2**13]),
        r"expected at most .* and 1073741824 voxels, got shape \(16384, 8192, 8192\)",
    ),
    "runs that all cover all slices": (
        shaped([2**14, 1, 1]).replace("1 1", " ".join(["1 16384"] * 10_000)),
        [[2**14, 1, 1], [1], 1],
    ),
    "a run in the last slice of the largest volume": (
        shaped([2**10, 2**10, 2**10]).replace("1 1", f"7 2 {2**30} 1"),
        [[2**10, 2**10, 2**10], [1], 2],
    ),
    "a shape beyond 64 bits": (shaped([2**32, 2**32, 4]), r"\.info: shape: expected a list"),
    "bytes that are not UTF-8 in a string": (
        written((1, "1 ?")).encode().replace(b"?", b"\xff"),
        "at byte 58: expected UTF-8, got b'",
    ),
    "bytes that are not UTF-8 in a key": (
        written(("?", "1 1")).encode().replace(b'"?"', b'"\xff"'),
        "at byte 51: expected UTF-8, got b'",
    ),
    "half a character in a key": (
        written((r"\ud800", "1 1")),
        r"key '\\ud800': expected a label",
    ),
    "half a character in a string": (
        written((1, r"1 \ud800")),
        "id 1: expected a string of decimal numbers, got",
    ),
    "UTF-16": (
        written((1, "1 1")).encode("utf-16"),
        r"at byte 0: expected UTF-8, got b'\\xff\\xfe",
    ),
    "two documents": (written() * 2, r"at character 49: expected JSON, got '{.*\(Extra data\)"),
    "a character after the end": (written() + "x", "at character 49: expected JSON, got 'x'"),
    "no object": ("[]", r"expected a JSON object of labels, got \[\]"),
    "nothing": ("", r"at character 0: expected JSON, got the end of the file"),
    "deeply nested lists": (
        '{".info": ' + "[" * 60_000,
        "expected a JSON object of strings, got more than 256 lists and objects",
    ),
    "many nested lists": (
        '{".info": {"shape": [2, 3, 4], "x": ['
        + ",".join(["[" * 900 + "]" * 900] * 9_000)
        + "]}}",
        "expected a JSON object of strings, got more than 256 lists and objects",
    ),
    "many objects": (
        '{".info": [' + ",".join(['{"": {}}'] * MAX_LABELS) + "]}",
        "expected a JSON object of strings, got more than 256 lists and objects",
    ),
    "many numbers": (
        '{".info": {"x": [' + ",".join(["1e9"] * MAX_LABELS) + "]}}",
        r"\.info: shape: expected .* got None",
    ),
    "more numbers than labels": (
        '{".info": [' + ",".join(["1"] * (2 * MAX_LABELS)) + "]}",
        "expected at most 294912 labels, got more",
    ),
    "as many labels as a file may have": (
        "{" + INFO + "".join(f', "{i}": ""' for i in range(1, MAX_LABELS + 1)) + "}",
        [SHAPE, list(range(1, 10)), 0],
    ),
    "more labels than a file may have": (
        "{" + INFO + "".join(f', "{i}": ""' for i in range(1, 2 * MAX_LABELS)) + "}",
        r"expected at most 4\d{5} labels, got more: the file is damaged",
    ),
    "a string of more runs than a file may have": (
        endless("{" + INFO + ', "1": "', "1 24 " * 999, '"}'),
        f"expected at most {MAX_RUNS} runs, got more: the file is damaged, or holds noise",
    ),
    "such a string with escaped blanks": (
        endless("{" + INFO + ', "1": "', r"1\n1\n" * 999, '"}'),
        f"expected at most {MAX_RUNS} runs, got more: the file is damaged, or holds noise",
    ),
    "a number of 16 million digits": (
        written((1, "1 " + "1" * 2**24)),
        "id 1: a number of more than 18 digits at character 3",
    ),
    "a key of 128 MiB": (
        endless('{"', "1" * 4096, '": ""}'),
        r"the key '\.info' with the shape of the volume is missing",
    ),
    "blanks of 128 MiB": (
        endless("{", " \n\t\r" * 999, ""),
        "at character .*: expected JSON, got the end of the file",
    ),
    "an info of 128 MiB": (
        endless('{".info": {"x": "', "x" * 4096, '"}}'),
        r"\.info: shape: expected .* got None",
    ),
}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder, cases = tmp_path_factory.mktemp("labels"), {}
    with (folder / "large.json").open("wb") as file:
        file.truncate(MAX_JSON + 1)
    cases[LARGE] = ("read_labels", folder / "large.json")
    for i, (name, (content, _)) in enumerate(HOSTILE.items()):
        path = folder / f"{i}.json"
        if isinstance(content, tuple):
            head, piece, tail = content
            block = piece * (2**22 // len(piece))
            with path.open("wb") as file:
                file.write(head)
                for _ in range(ENDLESS // len(block)):
                    file.write(block)
                file.write(tail)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        cases[name] = ("read_labels", path)
    return limits.outcomes(cases)


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_one_error_that_names_the_file_or_takes_little_memory(case, found):
    outcome, (_, expected) = found[case], HOSTILE[case]
    if isinstance(expected, list):
        assert outcome == {"value": expected}
        return
    assert outcome.get("error") == "LabelFormatError", outcome
    assert re.search(rf"^50-labels\.json: .*{expected}", outcome["message"]), outcome["message"]
    assert len(outcome["message"]) < 350


def test_a_file_that_is_too_large_is_refused_before_it_is_read(found):
    assert found[LARGE]["error"] == "LabelFormatError"
    expected = f"50-labels.json: expected at most {MAX_JSON} bytes, got {MAX_JSON + 1}: "
    assert found[LARGE]["message"].startswith(expected)
