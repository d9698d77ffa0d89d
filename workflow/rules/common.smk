"""What the rules share: the checked configuration, paths, and the two params that every job is judged by.

`run` is one sorted JSON string and `code` the fingerprint of the script's import closure, both made from
wildcards only: Snakemake compares params as a set of values, and ignores functions of input or threads.
"""

import functools
import hashlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path

from softmax_rewards.verdicts import archive
from softmax_rewards.config import cost
from softmax_rewards.common import files, plugins, provenance
from softmax_rewards.training import holders, plan
from softmax_rewards.config import experiments as configuration

# Jobs use the Python that runs Snakemake, also when its environment is not activated.
os.environ.update(PATH=os.pathsep.join([str(Path(sys.executable).parent), os.getenv("PATH", "")]))

try:
    SETTINGS, EXPERIMENTS = configuration.settings(config, "config/config.yaml")
except configuration.ConfigError as error:
    sys.exit(str(error))

# Snakemake would clamp every job's request to that number as well: with 0 it would start them all at once.
GPUS = workflow.global_resources["gpu"].value if "gpu" in workflow.global_resources else None
for experiment in EXPERIMENTS.values():
    needed = max((run.training.gpus for run in experiment.runs() if run.training.device != "cpu"), default=0)
    if GPUS is not None and GPUS < needed:
        sys.exit(
            f"--resources gpu={GPUS}: a run of {experiment.name} may use {needed} GPU{'s' * (needed > 1)}; allowed: a "
            f"number from {needed} on, or no such option, or training.device: cpu in the experiment"
        )

RESULTS, DATA = SETTINGS.results, SETTINGS.data
RUN = f"{RESULTS}/{{experiment}}/runs/{{ablation}}/seed-{{seed}}"
NOTEBOOKS = sorted(path.stem for path in Path("notebooks").glob("*.ipynb"))

# Jobs that outlive a killed workflow are to be found by the next one.
shell.prefix(f"set -euo pipefail; {holders.prefix(Path(RESULTS))}")

# Snakemake refuses to start while its lock is there; it does not say who holds it, or that a killed one left it.
if workflow.is_main_process and any(Path(".snakemake/locks").glob("*.lock")):
    print(f"[workflow] {holders.explanation(Path(RESULTS))}", file=sys.stderr)


wildcard_constraints:
    experiment="[^/]+",
    ablation="[^/]+",
    seed="[0-9]+",
    key="[^/]+",
    notebook="[^/]+",


def key(name, *specs):
    """A folder's name for everything made from equal settings: shared by experiments, never overwritten."""
    return f"{name}-{hashlib.sha256(configuration.canonical(specs).encode()).hexdigest()[:8]}"


TASKS = {key(e.task["name"], e.task): e for e in EXPERIMENTS.values()}
MODELS = {key(e.model["source"], e.model, e.task): e for e in EXPERIMENTS.values()}


def task_manifest(experiment):
    return f"{DATA}/tasks/{key(experiment.task['name'], experiment.task)}/manifest.json"


def model_manifest(experiment):
    return f"{DATA}/models/{key(experiment.model['source'], experiment.model, experiment.task)}/manifest.json"


def run_of(wildcards):
    return EXPERIMENTS[wildcards.experiment].run(wildcards.ablation, int(wildcards.seed))


def stage_code(stage, run):
    """The code that decides the numbers of a stage; of a run only `task`, `model` and `weighting` are looked at."""
    return provenance.stage_code(stage, provenance.run_plugins(run)[stage])


def code(script, *modules):
    return provenance.fingerprint(Path("workflow/scripts") / script, modules)


def run_code(stage):
    """Params function: the code that decides the numbers of a run's stage."""
    return lambda wildcards: stage_code(stage, run_of(wildcards).to_dict())


def warm_start(wildcards):
    """Settings of the supervised start of a base model."""
    return MODELS[wildcards.key].model["warm_start"]


def gpus(wildcards):
    """GPUs that a job of the run asks for."""
    training = run_of(wildcards).training
    served = bool(training.kl) and training.kl_reference == "process"
    return 0 if training.device == "cpu" else training.gpus + served


def mem_mb(wildcards):
    return cost.request(run_of(wildcards)).mem_mb


def runtime(wildcards):
    return cost.request(run_of(wildcards)).runtime


def schemes():
    return [f"{plugins.SCHEMES}.{name}" for name in plugins.names(plugins.SCHEMES)]


def archived(experiment, run):
    """The run's folder in the experiment's archive, if that holds this very run, else None."""
    if experiment.archive is None:
        return None
    manifests = {"data": Path(task_manifest(experiment)), "base": Path(model_manifest(experiment))}
    sources = {
        name: files.read_manifest(file.parent)["sha256"] for name, file in manifests.items() if file.exists()
    }
    folder = archive_folder(experiment, run)
    return str(folder) if archive.holds(folder, run.to_dict(), sources) else None


def archive_folder(experiment, run):
    return Path(experiment.archive) / run.ablation / f"seed-{run.seed}"


def trained(experiment, run):
    """Where training puts a run's files."""
    return f"{RESULTS}/{experiment.name}/runs/{run.ablation}/seed-{run.seed}"


def run_folders(wildcards):
    """The runs to be compared; with `archived_only` all that the archive has, so that none is trained."""
    experiment = EXPERIMENTS[wildcards.experiment]
    if not SETTINGS.archived_only:
        return [archived(experiment, run) or trained(experiment, run) for run in experiment.runs()]
    folders = [archive_folder(experiment, run) for run in experiment.runs() if experiment.archive]
    kept = [
        str(path) for path, run in zip(folders, experiment.runs()) if archive.finished(path, run.to_dict())
    ]
    if not kept:
        sys.exit(
            f"archived_only: {experiment.name} has no run in archive {experiment.archive}; allowed: false"
        )
    return kept


def run_files(wildcards):
    """The small files by which aggregation notices a changed run."""
    return [
        f"{folder}/{name}" for folder in run_folders(wildcards) for name in ("run.json", "evaluation.json")
    ]


def begin():
    """What comes before the first job: keep the results for this workflow, and write its plans."""
    try:
        holders.hold(Path(RESULTS))
    except RuntimeError as error:
        sys.exit(str(error))
    # Asked to end, Snakemake waits for its jobs, which may be hours: they are asked as well.
    waits = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda *received: (holders.stop(Path(RESULTS)), waits(*received)))
    date_future_inputs()
    for experiment in EXPERIMENTS.values():
        write_plan(experiment)


def date_future_inputs():
    """Date inputs of a clock that was ahead as of now: else Snakemake discards what is made from them."""
    now = time.time()
    for file in {str(file) for job in workflow.dag.needrun_jobs() for file in job.input}:
        if os.path.exists(file) and os.path.getmtime(file) > now:
            os.utime(file)


def explain_full_disk():
    """Say what failed jobs cannot, whose logs have no room either."""
    if shutil.disk_usage(RESULTS).free < 2**20:
        text = "the disk is full; make room and start again: what is finished stays"
        print(f"[workflow] {RESULTS}: {text}", file=sys.stderr)


def write_plan(experiment):
    """What progress lines and the status page go by: the runs to train, how many run at once, their settings."""
    runs = [run for run in experiment.runs() if archived(experiment, run) is None]
    folders = {
        f"runs/{run.ablation}/seed-{run.seed}": provenance.run_fingerprint(run.to_dict()) for run in runs
    }
    slots = workflow.nodes or workflow.cores  # a cluster counts jobs, a machine cores
    folder = Path(RESULTS) / experiment.name
    plan.write(folder, folders, min(slots, GPUS or slots), experiment.to_json())


def bandit_settings(experiment, **more):
    """Params of the bandit: the experiment's rewards and groups."""
    task = plugins.load(plugins.TASKS, experiment.task["name"], "task")
    low, high = task.reward_range(configuration.options("tasks", experiment.task))
    size = experiment.training.samples
    return configuration.canonical({"reward_range": [low, high], "group_size": size, "seed": 0, **more})


def analysis_settings(experiment):
    """Params of the weight analysis: the bandit's, and a million groups for each simulated population."""
    return bandit_settings(experiment, samples=1_000_000)


def reports(wildcards):
    """What `snakemake` makes: the pages of every experiment, and an overview of several."""
    # A dry run says what the experiments cost. Snakemake knows that it is one only now, with the rules read.
    if workflow.dryrun:
        print_estimates()
    pages = [f"{RESULTS}/{name}/report/{notebook}.html" for name in EXPERIMENTS for notebook in NOTEBOOKS]
    return pages + [f"{RESULTS}/overview/report/overview.html"] * (len(EXPERIMENTS) > 1)


@functools.cache  # Snakemake asks for an input more than once
def print_estimates():
    for line in filter(None, map(cost.estimate, EXPERIMENTS.values())):
        print(f"[estimate] {line}", file=sys.stderr)
