"""`softmax-rewards generate-docs`: write what is generated in the repository's documents.

These are the findings in README.md and docs/findings.md (`findings.py`, `map_scores.py`), marked numbers in their prose
and in docs/why.md (`prose_numbers.py`), the tables of docs/schemes.md (`scheme_tables.py`) and of docs/verdicts.md
(`verdict_tables.py`), the decision table of docs/what-should-i-use.md (`decisions.py`), and the key tables and the JSON
schema of `config/` (`config/documentation.py`).
"""

import argparse
import sys
from collections.abc import Sequence

from softmax_rewards.config import documentation
from softmax_rewards.report import archived_evidence, findings, map_scores, prose_numbers, scheme_tables, verdict_tables
from softmax_rewards.verdicts import decisions

ROOT = documentation.ROOT
README, WHY = "README.md", "docs/why.md"

EPILOG = """\
example:
  softmax-rewards generate-docs           # after a change of an option, or of the archive
  softmax-rewards generate-docs --check   # only check, for a test or a review
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line. With `--check` it writes nothing, and exits with 1 if a file is out of date."""
    parser = argparse.ArgumentParser(
        prog="softmax-rewards generate-docs",
        description="Write the generated parts of README.md, config/README.md and five documents, the JSON schema of "
        "config/, and the evidence that `advise` reads, from the code and the archive. It works in a clone of the "
        "repository.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file is out of date")
    check = parser.parse_args(arguments).check
    if not (ROOT / README).is_file():
        sys.exit(f"{ROOT / README}: no such file; allowed: a clone of the repository, installed by pip install -e .")
    outdated = {name: text for name, text in generated().items() if _read(name) != text}
    for name, text in outdated.items():
        print(f"{name}: {'out of date' if check else 'written'}")
        if not check:
            (ROOT / name).write_text(text, encoding="utf-8")
    if check and outdated:
        sys.exit("allowed: what `softmax-rewards generate-docs` writes")


def generated() -> dict[str, str]:
    """File (relative to the repository) → its text as it should be."""
    schemes, verdicts, advice = scheme_tables.PAGE, verdict_tables.PAGE, decisions.PAGE
    found = {page: findings.fill(_read(page), page) for page in findings.SECTIONS}
    configs = ROOT / "config/experiments"
    archive = prose_numbers.Archive(archived_evidence.of(configs), ROOT / "docs/report")
    numbers = archived_evidence.numbers(configs, archive.evidence)
    found |= {map_scores.PAGE: map_scores.fill(found[map_scores.PAGE], ROOT / "docs/report"), WHY: _read(WHY)}
    return {
        **{page: prose_numbers.fill(text, archive) for page, text in found.items()},
        schemes: scheme_tables.fill(_read(schemes)),
        verdicts: verdict_tables.fill(_read(verdicts), ROOT / "docs/report"),
        advice: decisions.fill(_read(advice), numbers),
        decisions.NUMBERS: decisions.to_json(numbers),
        **documentation.generated(),
    }


def _read(name: str) -> str:
    file = ROOT / name
    return file.read_text(encoding="utf-8") if file.is_file() else ""
