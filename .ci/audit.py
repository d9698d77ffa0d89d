"""Known vulnerabilities of the pinned packages: `audit.py PIP_AUDIT CONSTRAINTS`.

Ends with 1 if there is one, with 2 if the audit itself fails, and with 0 else. pip-audit counts a package that its
service does not answer for as free of them; here that is said, and where no answer comes at all, that nothing was
audited.
"""

import json
import subprocess
import sys

UNREACHABLE = "advisories cannot be reached: nothing audited"
NETWORK = ("could not connect", "connectionerror", "connection", "proxyerror", "timed out", "name resolution")

command, constraints = sys.argv[1:]
options = ["--requirement", constraints, "--no-deps", "--disable-pip", "--format=json", "--progress-spinner=off"]
done = subprocess.run([command, *options], capture_output=True, text=True)
try:
    packages = json.loads(done.stdout)["dependencies"]
except (ValueError, LookupError):
    if any(word in done.stderr.lower() for word in NETWORK):
        print(UNREACHABLE)
        sys.exit()
    print(done.stderr, file=sys.stderr)
    sys.exit(2)
skipped = [package["name"] for package in packages if "skip_reason" in package]
found = [(package, entry) for package in packages for entry in package.get("vulns", ())]
for package, entry in found:
    mended = ", ".join(entry["fix_versions"]) or "none yet"
    print(f"{package['name']} {package['version']}: {entry['id']}; mended in: {mended}")
if len(skipped) == len(packages):
    print(UNREACHABLE)
else:
    print(f"{len(packages) - len(skipped)} packages audited, {len(found)} vulnerabilities")
    if skipped:
        print(f"not audited, no answer about them: {', '.join(skipped)}")
sys.exit(1 if found else 0)
