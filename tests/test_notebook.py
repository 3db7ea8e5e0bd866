"""The notebook runs from top to bottom, and shows what is kept in it."""

import base64
import io
import json
import os
from pathlib import Path

import pytest
from PIL import Image
from support.clients import run_with_us
from support.programs import PROGRAMS

NOTEBOOK = Path(__file__).parents[1] / "examples" / "look.ipynb"


def outputs(path):
    """Text, size of the picture, and whether it is HTML, of each output of a notebook."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    shown = []
    for output in (output for cell in cells for output in cell.get("outputs", ())):
        assert output["output_type"] != "error"
        assert output.get("name") != "stderr", output["text"]
        data = output.get("data", {"text/plain": output.get("text")})
        size = None
        if "image/png" in data:
            with Image.open(io.BytesIO(base64.b64decode(data["image/png"]))) as picture:
                size = picture.size
        # A number in the text of a figure is its size, which is compared below.
        text = "" if size else "".join(data["text/plain"])
        shown.append((text, size, "text/html" in data))
    return shown


@pytest.fixture(scope="module")
def new(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notebook")
    environment = {"HF_HOME": str(folder / "home"), "JUPYTER_PLATFORM_DIRS": "1"}
    before = Path.cwd()
    os.chdir(folder)
    try:
        run_with_us(PROGRAMS / "run_notebook.py", NOTEBOOK, folder / "new.ipynb", **environment)
    finally:
        os.chdir(before)
    return folder / "new.ipynb"


def test_the_outputs_that_are_kept_are_those_of_the_code(new):
    kept, found = outputs(NOTEBOOK), outputs(new)
    assert [(text, html) for text, _, html in found] == [(text, html) for text, _, html in kept]
    for (_, size, _), (_, other, _) in zip(kept, found, strict=True):
        assert (size is None) == (other is None)
        if size:  # fonts differ a little
            assert abs(size[0] - other[0]) < 40
            assert abs(size[1] - other[1]) < 40


def test_lazy_arrays_and_figures_are_shown():
    shown = outputs(NOTEBOOK)
    assert sum(html for _, _, html in shown) >= 2
    assert sum(size is not None for _, size, _ in shown) >= 3
