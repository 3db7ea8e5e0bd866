"""Print, as JSON, the folders in which this interpreter has its packages."""

import json
import os
import site
import sysconfig

paths = {*map(sysconfig.get_path, ("purelib", "platlib")), *site.getsitepackages()}
print(json.dumps(sorted(filter(os.path.isdir, paths))))
