"""The longer texts in the help of the command `platelet-em`."""

__all__ = ["COMPLETION", "INFO_DETAILS", "VERIFY_DETAILS"]

COMPLETION = """\
platelet-em COMMAND --help shows options and examples.

To complete commands, options, choices and files by Tab in bash or zsh, install argcomplete (pip
install argcomplete), and add this line to ~/.bashrc, or to ~/.zshrc after compinit:
  eval "$(register-python-argcomplete platelet-em)\""""

INFO_DETAILS = """\
--json: {"format": 1, "content": "dataset", "archives", "repository" or "own volumes", ...}; of the
dataset "name", "description", "homepage", "license_details", "classes": [name], "volumes":
[{"name", "split", "shape"}], "configs": [{"name", "description"}], "archives": [{"label_source",
"size", "md5", "urls", "cached": path or null}]; of archives "path", "archives": [{"path",
"label_source", "is_zip", "md5", "published_md5", "volumes": [{"name", "shape",
"published_shape"}]}]; of a repository "path", "dataset", "commit" (on the Hub, else null),
"warning", "record": what the build has recorded, "files": [{"config", "split", "rows", "files",
"bytes"}], "viewer": [what the viewer of the Hub cannot show]; of a description "name", "title",
"description", "license", "citation", "voxel_size_nm", "classes": [name], "instances": [{"column",
"kind", "part_of"}], "volumes": [{"name", "split", "shape", "labels"}]. Shapes are (z, y, x). Keys
do not change; others may be added."""

VERIFY_DETAILS = """\
The report begins with a summary of at most ten lines. Errors and remarks follow, with --verbose
all figures, too. It ends with what the files answer to the open questions about the published
archives: these lines can be pasted into a report.

Checking continues after an error. Of each check, the first five findings per file are listed, and
the others are counted. The exit code is 1 if there are errors, each with its file, position,
expected and found value, and remedy; it is 0 if there are only remarks: facts worth knowing.

--json: {"format": 1, "errors": N, "remarks": N, "questions": {question: [answer]}, "sections":
[{"title", "figures": {name: value}, "findings": [{"level": "error" or "remark", "check", "file",
"count", "first": [{"place": {"z", "y", "x", "id", "row", "column", ...}, "expected", "found",
"remedy"}]}]}]}. z, y, x and row count from 0. Names of checks and figures do not change; keys may
be added."""
