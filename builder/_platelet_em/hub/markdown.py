"""Markdown around names and texts of others, in which neither Markdown nor HTML has a meaning."""

import re
import textwrap
from collections.abc import Sequence
from urllib.parse import quote

from _platelet_em.errors import printable

__all__ = [
    "code_block",
    "code_span",
    "escape",
    "join_words",
    "link",
    "paragraphs",
    "table",
    "wrap",
]

_SPECIAL = re.compile(r"[\\`*\[\]<>|~#&!{}$]|(?<![^\W_])_|_(?![^\W_])")
"""Characters with a meaning in a line; an underscore between letters has none."""

_BLOCK = re.compile(r"([-+=]|\d{1,9}(?=[.)]))")
"""What begins a list or underlines a heading at the start of a line."""

_IN_ADDRESS = ":/?#@!$&'*+,;=%~"
"""Characters of an address that stay, apart from letters, digits and `_.-`."""


def escape(text: str) -> str:
    r"""Text inside a line or the cell of a table.

    >>> escape("<b>my_stack</b> *1* | 2")
    '\\<b\\>my_stack\\</b\\> \\*1\\* \\| 2'
    """
    return _SPECIAL.sub(lambda match: f"\\{match[0]}", printable(text))


def paragraphs(text: str) -> str:
    r"""Text of several lines; empty lines part it into paragraphs.

    >>> paragraphs("First\n- second\n3. third")
    'First\n\\- second\n3\\. third'
    """
    lines = (escape(line.strip()) for line in text.strip().splitlines())
    return "\n".join(_BLOCK.sub(_escape_block, line, count=1) for line in lines)


def _escape_block(match: re.Match[str]) -> str:
    if match.start():  # inside the line
        return match[0]
    return f"{match[0]}\\" if match[0].isdigit() else f"\\{match[0]}"


def wrap(text: str, indent: str = "") -> str:
    """Markdown of one paragraph in lines, or in one line where a line would begin a list.

    Args:
        text: The paragraph.
        indent: What all lines but the first begin with.
    """
    lines = textwrap.wrap(
        text,
        width=99,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    safe = all(line.strip()[:1].isalpha() or line.strip()[:1] in '(`"' for line in lines[1:])
    return "\n".join(lines) if safe else text


def code_span(text: str) -> str:
    """Text as code in a line.

    >>> code_span("a`<b>`.zip")
    '``a`<b>`.zip``'
    """
    text = printable(text)
    # A fence is longer than all runs of backticks inside; a space keeps it apart from them.
    fence = "`" * (1 + _longest_run(text))
    space = " " if text[:1] in ("`", " ") or text[-1:] in ("`", " ", "") else ""
    return f"{fence}{space}{text}{space}{fence}"


def code_block(language: str, text: str) -> str:
    """Lines as code."""
    fence = "`" * max(3, 1 + _longest_run(text))
    return f"{fence}{language}\n{text.strip()}\n{fence}"


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)


def link(text: str, address: str) -> str:
    """A link; `text` is Markdown already.

    >>> link("its page", "https://example.org/a_(b)")
    '[its page](https://example.org/a_%28b%29)'
    """
    return f"[{text}]({quote(address, safe=_IN_ADDRESS)})"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells, which are Markdown already."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def join_words(words: Sequence[str], last: str = "and") -> str:
    """Words as a list in a sentence.

    >>> join_words(["a", "b", "c"])
    'a, b and c'
    """
    return f" {last} ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
