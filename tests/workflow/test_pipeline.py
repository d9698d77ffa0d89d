"""The whole pipeline on the smoke experiment, through the real Snakefile, in a copy of the repository."""

import importlib.util
import json
import re
import resource
import shutil
from collections import Counter
from collections.abc import Callable

import links
import pytest
from repository import NOTEBOOKS, Repository, contents

from softmax_rewards.training import plan
from softmax_rewards.verdicts import archive, archive_files


def children_seconds() -> float:
    """Processor time of finished child processes: unlike the clock, the same beside other tests."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def runs(*which: tuple[str, int]) -> Counter:
    return Counter({(rule, ablation, str(seed)): 1 for ablation, seed in which for rule in ("train", "evaluate")})


def append(text: str) -> Callable[[str], str]:
    return lambda before: before + text


REPORTS = Counter({("pages", "", ""): 1})
AGGREGATE = Counter({("aggregate", "", ""): 1})
ANALYSIS = Counter({("weight_analysis", "", ""): 1, ("bandit", "", ""): 1})
SIGNAL = Counter({("measure_signal", "", ""): 1})
BASE = Counter({("base_model", "", ""): 1, ("evaluate_base", "", ""): 1})
ALL = runs(*[(ablation, seed) for ablation in ("baseline", "softmax-0.5") for seed in (0, 1)])
ABLATION = "  centered: {weighting: {scheme: softmax_centered, tau: 0.5}}\n"


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Repository, str]:
    repository = Repository(tmp_path_factory.mktemp("repository"))
    done = repository.snakemake()
    assert done.returncode == 0, done.stdout + done.stderr
    return repository, done.stdout


def test_the_pipeline(finished):
    """One test, so that the pipeline runs once however tests are spread over processes."""
    repository, output = finished
    folder = repository.folder / "results/smoke"

    pages = sorted((folder / "report").glob("*.html"))
    assert len(pages) == NOTEBOOKS
    assert not links.dead(pages)
    assert not [page.name for page in pages if re.search(r'(src|href)="https?://[^"]*\.(js|css)', page.read_text())]
    profile = json.loads((repository.folder / "results/profile.json").read_text())
    assert {"base model", "pages", "training: rollout", "training: start", "final evaluation"} <= set(profile["core_s"])
    assert f"{profile['jobs']} jobs took" in output
    run = json.loads((folder / "runs/softmax-0.5/seed-1/run.json").read_text())
    assert run["fingerprint"] == json.loads((folder / "plan.json").read_text())["runs"]["runs/softmax-0.5/seed-1"]
    seen = plan.states(folder)
    assert [(one.state, one.step, one.steps, one.note) for one in seen] == [("finished", 4, 4, "")] * 4
    lines = re.findall(r"\[train\] run (\d) of 4 .* step (\d)/4  success \d+\.\d %", output)
    assert Counter(step for _, step in lines) == {"0": 4, "2": 4, "4": 4}
    assert max(lines)[0] in "34"
    for stage in (
        "dataset",
        "base model",
        "base evaluation",
        "weight analysis",
        "bandit",
        "evaluate",
        "aggregate",
        "report",
    ):
        assert f"[{stage}]" in output
    assert output.count("[report]") == NOTEBOOKS

    before = children_seconds()
    again = repository.snakemake()
    assert "Nothing to be done" in again.stdout + again.stderr
    assert children_seconds() - before < 8

    # Snakemake's own report holds the verdicts and every page, with their captions, and needs no network.
    done = repository.snakemake("--report", "report.html")
    assert done.returncode == 0, done.stdout + done.stderr
    added = re.findall(r"Adding (\S+) \(", done.stdout + done.stderr)
    assert sorted(added) == sorted([page.name for page in pages] + ["verdicts.csv"])
    report = (repository.folder / "report.html").read_text()
    assert not re.search(r'(src|href)="https?://[^"]*\.(js|css)', report)
    assert all(f"notebooks/{page.stem}.ipynb" in report for page in pages) and "docs/analysis-plan.md" in report

    # Only the page of a notebook that changed is executed again, and all of them stand in the report.
    training = repository.folder / "notebooks/training.ipynb"
    training.write_text(training.read_text() + "\n")
    done = repository.snakemake()
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"\[report\] (\w+)", done.stdout) == ["training"]
    assert sorted((folder / "report").glob("*.html")) == pages

    softmax = runs(("softmax-0.5", 0), ("softmax-0.5", 1))
    new_seed = lambda text: text.replace("seeds: [0, 1]", "seeds: [0, 1, 2]")  # noqa: E731
    config = "tests/smoke/smoke.yaml"
    library = "softmax_rewards"
    for file, change, expected in [
        (f"{library}/training/trainer.py", append("\n# A comment.\n"), Counter()),
        (f"{library}/weighting/schemes/softmax.py", lambda text: text.replace('"""', '"""More. ', 1), Counter()),
        (f"{library}/report/plots/__init__.py", append("\nEXTRA = 1\n"), REPORTS),
        ("notebooks/training.ipynb", append("\n"), REPORTS),
        (
            f"{library}/weighting/schemes/softmax.py",
            append("\nEXTRA = 1\n"),
            softmax + ANALYSIS + AGGREGATE + REPORTS,
        ),
        (f"{library}/policy/objective.py", append("\nEXTRA = 1\n"), BASE + ALL + AGGREGATE + REPORTS),
        (config, append(ABLATION), runs(("centered", 0), ("centered", 1)) + AGGREGATE + REPORTS),
        (config, new_seed, runs(("baseline", 2), ("softmax-0.5", 2)) + AGGREGATE + REPORTS),
        # The base model is measured, and no run depends on it.
        (
            config,
            lambda text: text.replace("evaluation:\n", "evaluation:\n  signal_batches: 10\n"),
            SIGNAL + AGGREGATE + REPORTS,
        ),
        (config, lambda text: text.replace("tau: 0.5", "tau: 0.4"), softmax + AGGREGATE + REPORTS),
    ]:
        assert repository.edited(file, change) == expected, (file, expected)

    # A forced run is trained from its first step. It is the same to the bit, times aside; so nothing follows from it.
    own = folder / "runs/softmax-0.5/seed-1"
    first = contents(own)
    target = "results/smoke/runs/softmax-0.5/seed-1/evaluation.json"
    done = repository.snakemake("--forcerun", "train", "evaluate", "--", target)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"seed-1  step (\d)/4", done.stdout) == ["0", "2", "4"]
    second = contents(own)
    assert first.keys() == second.keys()
    times = {"timing.csv", "timing.json", "finished/timing.csv", "finished/manifest.json"}
    assert {name for name in first if first[name] != second[name]} <= {*times, ".lock", "state.json"}
    assert repository.planned() == Counter()

    # Archived runs are taken instead of trained.
    kept = repository.folder / "results/archive/smoke"
    assert archive.keep(folder, kept) == [
        f"{arm}/seed-{seed}" for arm in ("baseline", "softmax-0.5") for seed in (0, 1)
    ]
    before = {file.name: file.read_bytes() for file in (folder / "summary").iterdir()}
    shutil.rmtree(folder)
    assert repository.planned() == ANALYSIS + ALL + AGGREGATE + REPORTS

    # Several experiments have a page of all their verdicts.
    taken = append("archive: results/archive/smoke\n")
    text = (repository.folder / config).read_text()
    for name in ("one", "two"):
        (repository.folder / f"{name}.yaml").write_text(taken(text))
    both = ("--config", "experiments=[one.yaml, two.yaml]")
    done = repository.snakemake("results/overview/report/overview.html", *both)
    assert done.returncode == 0, done.stdout + done.stderr
    assert Counter(re.findall(r"^\[(\w+)\]", done.stdout, re.MULTILINE)) == {"aggregate": 2, "report": 1}
    overview = links.page(repository.folder / "results/overview/report/overview.html")
    assert {"../../one/report/index.html", "../../two/report/index.html"} <= overview.targets
    table = (repository.folder / "results/overview/summary/verdicts.csv").read_text()
    assert ",one," in table and ",two," in table
    after = {file.name: file.read_bytes() for file in (repository.folder / "results/one/summary").iterdir()}
    named = {"verdicts.csv", "provenance.json"}  # they name the experiment
    assert after.keys() == before.keys() and {name for name in after if after[name] != before[name]} == named
    for name in ("one", "two", "overview"):
        shutil.rmtree(repository.folder / "results" / name)

    assert repository.edited(config, taken) == ANALYSIS + AGGREGATE + REPORTS
    whole = {table: archive_files.by_run(archive_files.read(kept, table)) for table in archive_files.TABLES}
    less = {
        table: archive_files.together({name: rows for name, rows in parts.items() if name != ("softmax-0.5", 1)})
        for table, parts in whole.items()
    }
    archive_files.write(kept, less)
    missing = runs(("softmax-0.5", 1))
    assert repository.edited(config, taken) == ANALYSIS + missing + AGGREGATE + REPORTS
    only = "experiments: [tests/smoke/smoke.yaml]\narchived_only: true\n"
    (repository.folder / "config/config.yaml").write_text(only)
    assert repository.edited(config, taken) == ANALYSIS + AGGREGATE + REPORTS
    (kept / "groups.parquet").write_bytes(b"")
    (repository.folder / config).write_text(taken(text))
    done = repository.snakemake_forked("-n")
    assert done.returncode == 1
    assert "groups.parquet is damaged (sha256 differs); restore the archive: git checkout -- results" in done.stderr
    assert "archived_only: smoke has no run in archive results/archive/smoke; allowed: false" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config", "experiments=[countdown-mini]", "--resources", "gpu=0"], "--resources gpu=0: "),
        (["--config", "experiments=[count]"], "config/config.yaml: experiments: unknown experiment 'count'"),
        (
            ["--config", "results=config/config.yaml"],
            "config/config.yaml: results: config/config.yaml cannot",
        ),
        (
            ["--config", "results=res{x}"],
            'config/config.yaml: results: "res{x}" is not allowed; allowed: a folder without { and } in its path',
        ),
        (["--config", "result=x"], "config/config.yaml: result: unknown key 'result' (nearest: 'results')"),
    ],
)
def test_wrong_input_is_refused_before_anything_runs(tmp_path, arguments, message):
    done = Repository(tmp_path).snakemake_forked("--quiet", "all", *arguments)
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if "profile" not in line]
    assert len(said) == 1 and said[0].startswith(message), done.stderr
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("results/countdown-mini/report/index.html", "results/countdown-mini: config/config.yaml does not name this"),
        ("results/count/analysis/snr.csv", "results/count: unknown experiment 'count'"),
        ("results/smoke/runs/base/seed-0/run.json", "smoke: unknown ablation 'base' (nearest: 'baseline')"),
        ("results/smoke/runs/baseline/seed-7/evaluation.json", "smoke: baseline: seed-7 is not among its seeds"),
        ("data/models/mini/manifest.json", "data/models/mini: no experiment of config/config.yaml needs this folder"),
    ],
)
def test_a_target_that_stands_for_nothing_is_refused_in_one_line(tmp_path, target, message):
    done = Repository(tmp_path).snakemake_forked("--dry-run", target)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(message) and "Traceback" not in done.stderr


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed")
def test_a_sampler_that_is_not_installed_is_refused_before_anything_runs(tmp_path):
    file = tmp_path / "sampled.yaml"
    file.write_text("extends: countdown-mini\ntraining: {sampler: vllm}\narchive: null\n")
    done = Repository(tmp_path).snakemake_forked("--quiet", "all", "-n", "--config", f"experiments=[{file}]")
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if "profile" not in line]
    assert len(said) == 1 and said[0].startswith("sampled: training.sampler: vllm: the package"), done.stderr
