"""Execute a notebook of the report and make its page.

This file must not be called `notebook.py`, because nbconvert imports a package of that name and would find this file.
"""

import argparse
import json
from pathlib import Path

from softmax_rewards.report import pages

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--notebook", type=Path, required=True, help="the notebook")
parser.add_argument("--parameters", type=json.loads, required=True, help="its parameters, as JSON")
parser.add_argument("--output", type=Path, required=True, help="the executed notebook")
parser.add_argument("--html", type=Path, required=True, help="its page")
parser.add_argument("--partial", type=Path, required=True, help="where the notebook is kept if one of its cells fails")
arguments = parser.parse_args()

print(f"[report] {arguments.notebook.stem}", flush=True)
pages.execute(arguments.notebook, arguments.output, arguments.html, arguments.parameters, arguments.partial)
