"""Write the table of methods between the markers of the Markdown files that are named."""

import sys
from pathlib import Path

from .table import method_table, written

for path in map(Path, sys.argv[1:]):
    path.write_text(written(path.read_text(encoding="utf-8"), method_table()), encoding="utf-8")
