"""Execute a notebook of the report and make its page.

Not `notebook.py`: nbconvert imports a package of that name, and would find and run this file instead.
"""

import argparse
import json
from pathlib import Path

from softmax_rewards.report import pages

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--notebook", type=Path, required=True)
parser.add_argument("--parameters", type=json.loads, required=True, help="as JSON")
parser.add_argument("--output", type=Path, required=True)
parser.add_argument("--html", type=Path, required=True)
parser.add_argument("--partial", type=Path, required=True, help="what ran so far, kept if a cell fails")
arguments = parser.parse_args()

print(f"[report] {arguments.notebook.stem}", flush=True)
pages.execute(arguments.notebook, arguments.output, arguments.html, arguments.parameters, arguments.partial)
