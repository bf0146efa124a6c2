"""Write the support table between the markers of the Markdown files that are named."""

import sys
from pathlib import Path

from .support import built_in_table, written

for path in map(Path, sys.argv[1:]):
    path.write_text(written(path.read_text(encoding="utf-8"), built_in_table()), encoding="utf-8")
