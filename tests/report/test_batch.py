import json
from pathlib import Path

import nbformat
import pytest

from softmax_rewards.report import batch


def notebook(path: Path, *cells: str) -> Path:
    first = nbformat.v4.new_code_cell("word = 'default'", metadata={"tags": ["parameters"]})
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    made = nbformat.v4.new_notebook(
        cells=[first, *map(nbformat.v4.new_code_cell, cells)], metadata={"kernelspec": kernel}
    )
    nbformat.write(made, path)
    return path


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Make the pages of all notebooks in `tmp_path`; returns the names of those that were executed."""
    monkeypatch.setattr(batch, "PRELOADED", ())
    (tmp_path / "table.csv").write_text("x\n1\n")

    def make(**changed):
        (tmp_path / "executed").mkdir(exist_ok=True)
        for file in (tmp_path / "executed").iterdir():
            file.unlink()
        notebooks = sorted(tmp_path.glob("*.ipynb"))
        options = {"parameters": {"word": str(tmp_path)}, "code": {path.stem: "1" for path in notebooks}} | changed
        batch.make(
            notebooks,
            **options,
            tables=[tmp_path / "table.csv"],
            report=tmp_path / "report",
            work=tmp_path / "work",
            processes=2,
        )
        return sorted(file.name for file in (tmp_path / "executed").iterdir())

    return make


def executes(name: str) -> str:
    return f"from pathlib import Path\n(Path(word) / 'executed' / {name!r}).touch()"


def test_only_what_changed_is_executed_again(tmp_path, make):
    notebook(tmp_path / "one.ipynb", executes("one"))
    notebook(tmp_path / "two.ipynb", executes("two"))
    assert make() == ["one", "two"]
    first = (tmp_path / "report/one.ipynb").read_bytes()
    assert make() == []
    # Snakemake removes the pages before it starts the job.
    for file in (tmp_path / "report").iterdir():
        file.unlink()
    assert make() == []
    assert sorted(file.name for file in (tmp_path / "report").iterdir()) == [
        "one.html",
        "one.ipynb",
        "two.html",
        "two.ipynb",
    ]
    assert make(code={"one": "1", "two": "changed"}) == ["two"]
    (tmp_path / "table.csv").write_text("x\n2\n")
    assert make() == ["one", "two"]
    assert (tmp_path / "report/one.ipynb").read_bytes() == first


def test_pages_do_not_see_each_other_s_variables_and_modules(tmp_path, make):
    notebook(tmp_path / "one.ipynb", "import os\nos.environ['LEFT'] = mine = 'one'")
    notebook(tmp_path / "two.ipynb", "import os\n'mine' in globals(), os.getenv('LEFT')")
    make()
    last = json.loads((tmp_path / "report/two.ipynb").read_text())["cells"][-1]
    assert last["outputs"][0]["data"]["text/plain"] == ["(False, None)"]


def test_a_failure_and_a_killed_process_are_said_and_the_other_pages_are_kept(tmp_path, make):
    notebook(tmp_path / "bad.ipynb", "1 / 0")
    notebook(tmp_path / "dead.ipynb", "import os\nos._exit(9)")
    notebook(tmp_path / "good.ipynb", executes("good"))
    with pytest.raises(RuntimeError) as error:
        make()
    assert "\n" not in str(error.value)
    assert f"{tmp_path}/bad.ipynb: cell 2 failed with ZeroDivisionError: division by zero" in str(error.value)
    assert f"{tmp_path}/dead.ipynb: its process ended before the page was made" in str(error.value)
    assert not (tmp_path / "report").exists()
    assert (tmp_path / "work/bad.ipynb").exists()
    notebook(tmp_path / "bad.ipynb", executes("bad"))
    notebook(tmp_path / "dead.ipynb", executes("dead"))
    assert make() == ["bad", "dead"]
    assert (tmp_path / "report/good.html").exists()
