"""Fetch an archive; arguments: its file name, URL and MD5, and the folder.

Prints the error, if there is one, and the names of the files in the folder.
"""

import sys
from pathlib import Path

from _platelet_em.errors import PlateletEMError
from _platelet_em.facts import PUBLISHED
from _platelet_em.publisher.cache import fetch
from _platelet_em.spec import Archive

name, url, md5, folder = sys.argv[1:]
archive = Archive(name="json", file_name=name, url=url, size="small", md5=md5)
try:
    fetch(PUBLISHED, archive, Path(folder))
except PlateletEMError as error:
    print(type(error).__name__, error)
print(sorted(path.name for path in Path(folder).iterdir()))
