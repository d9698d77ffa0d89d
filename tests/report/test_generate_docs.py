"""The command that writes what is generated in the documents."""

import pytest

from softmax_rewards.config import documentation as config_documentation
from softmax_rewards.report import archived_evidence, documentation, findings, map_scores, scheme_tables, verdict_tables
from softmax_rewards.verdicts import decisions


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A folder whose documents have all markers, and nothing between them."""
    for module in (documentation, config_documentation):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(findings, "section", lambda page: f"| a finding of {page} |\n")
    monkeypatch.setattr(scheme_tables, "figures", lambda table: "| a figure |\n")
    monkeypatch.setattr(scheme_tables.scheme_map, "table", lambda: None)
    monkeypatch.setattr(verdict_tables, "_read", lambda reports: None)
    monkeypatch.setattr(archived_evidence, "numbers", lambda configs, evidence: decisions.known())
    monkeypatch.setattr(verdict_tables, "table", lambda verdicts: "| a verdict |\n")
    (tmp_path / "config").mkdir()
    (tmp_path / "docs").mkdir()
    begins = [scheme_tables.BEGIN.format(name) for name in ("formulas", "hyperparameters", "map")]
    page = "\n".join(f"{begin}\n{scheme_tables.END}" for begin in begins)
    (tmp_path / scheme_tables.PAGE).write_text(page, encoding="utf-8")
    for page in findings.SECTIONS:
        text = f"# Title\n{findings.BEGIN}\n{findings.END}\n{map_scores.BEGIN}\n{map_scores.END}\n"
        (tmp_path / page).write_text(text, encoding="utf-8")
    page = f"# Claims\n{verdict_tables.BEGIN}\n{verdict_tables.END}\n"
    (tmp_path / verdict_tables.PAGE).write_text(page, encoding="utf-8")
    (tmp_path / decisions.PAGE).write_text(f"{decisions.BEGIN}\n{decisions.END}\n", encoding="utf-8")
    (tmp_path / decisions.NUMBERS).parent.mkdir(parents=True)
    names = config_documentation.tables()
    markers = [config_documentation.BEGIN.format(name) + config_documentation.END for name in names]
    (tmp_path / "config/README.md").write_text("\n".join(markers), encoding="utf-8")
    return tmp_path


def test_check_writes_nothing_and_names_what_is_out_of_date(clone, capsys):
    before = (clone / "README.md").read_text(encoding="utf-8")
    with pytest.raises(SystemExit):
        documentation.main(["--check"])
    assert capsys.readouterr().out.splitlines() == [
        f"{name}: out of date" for name in (
            "README.md", "docs/findings.md", "docs/schemes.md", "docs/verdicts.md", "docs/what-should-i-use.md",
            "softmax_rewards/verdicts/evidence.json", "config/README.md", "config/schema.json",
        )
    ]  # fmt: skip
    assert [path.name for path in (clone / "config").iterdir()] == ["README.md"]
    assert (clone / "README.md").read_text(encoding="utf-8") == before
    documentation.main([])
    assert (clone / "README.md").read_text(encoding="utf-8").count("| a finding of README.md |") == 1
    documentation.main(["--check"])


def test_outside_a_clone_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(documentation, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match=r"README.md: no such file; allowed: a clone"):
        documentation.main([])
