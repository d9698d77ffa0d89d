"""What `make audit` says of pip-audit's answers, from a stand-in for it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

AUDIT = Path(__file__).parents[2] / ".ci/audit.py"
SOUND = {"name": "a", "version": "1.0", "vulns": []}
SKIPPED = {"name": "b", "skip_reason": "Dependency not found"}
WEAK = {"name": "c", "version": "2.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1"]}]}


@pytest.mark.parametrize(
    ("packages", "code", "said"),
    [
        ([SOUND], 0, "1 packages audited, 0 vulnerabilities"),
        ([SOUND, SKIPPED], 0, "not audited, no answer about them: b"),
        ([SOUND, SKIPPED, WEAK], 1, "c 2.0: PYSEC-1; mended in: 2.1"),
        ([SKIPPED, SKIPPED], 0, "advisories cannot be reached: nothing audited"),
        ("ConnectionError: Could not connect to the vulnerability feed", 0, "advisories cannot be reached: nothing"),
        ("usage: wrong option", 2, ""),
    ],
)
def test_the_audit_says_what_was_audited(tmp_path, packages, code, said):
    answer = packages if isinstance(packages, str) else json.dumps({"dependencies": packages})
    stream = "stderr" if isinstance(packages, str) else "stdout"
    standin = tmp_path / "pip-audit"
    standin.write_text(f"#!{sys.executable}\nimport sys\nprint({answer!r}, file=sys.{stream})\nsys.exit({code})\n")
    standin.chmod(0o755)
    done = subprocess.run([sys.executable, AUDIT, standin, "constraints.txt"], capture_output=True, text=True)
    assert done.returncode == code
    assert said in done.stdout
