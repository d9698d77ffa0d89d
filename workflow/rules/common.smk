"""What the rules share: the checked configuration, paths, and two params that decide whether a job runs again.

The param `run` is one sorted JSON string, and `code` is the fingerprint of the code behind the job. Both only depend on
wildcards, because Snakemake ignores params that are functions of input or threads.
"""

import functools
import os
import sys
from pathlib import Path

from softmax_rewards.common import files, plugins, provenance, terminal
from softmax_rewards.config import base_settings, cost, folders, inheritance, settings
from softmax_rewards.config import experiments as configuration
from softmax_rewards.training import forced, holders, job_shell, profile, session, targets
from softmax_rewards.verdicts import archive

terminal.accept_all_text()
os.environ.update(job_shell.environment(os.environ, Path(".snakemake")))
if not workflow.deployment_settings.deployment_method:  # with conda, jobs have the Python of its environment
    shell.prefix(job_shell.prefix(sys.executable))

GPUS = workflow.global_resources["gpu"].value if "gpu" in workflow.global_resources else None
try:
    SETTINGS, EXPERIMENTS = settings.load(config, "config/config.yaml")
    session.check_gpus(EXPERIMENTS.values(), GPUS)
except configuration.ConfigError as error:
    sys.exit(str(error))

RESULTS, DATA = SETTINGS.results, SETTINGS.data
EXPERIMENTS = targets.Named(EXPERIMENTS, targets.unnamed_experiment(RESULTS, inheritance.project_folder()))
RUN = f"{RESULTS}/{{experiment}}/runs/{{ablation}}/seed-{{seed}}"
PLAN, PREDICTIONS = "docs/analysis-plan.md", "docs/predictions.json"
NOTEBOOKS = sorted(path.stem for path in Path("notebooks").glob("*.ipynb"))
# A folder → one of the runs that need it. All runs of a folder have the same settings, as far as they matter for it.
# Runs of one experiment may differ here, because it may have several base models.
RUNS = [run for experiment in EXPERIMENTS.values() for run in experiment.runs()]


def by_folder(parent, key):
    """The runs by the folder of `parent` that they need; `key` names a run's folder."""
    return targets.Named({key(run): run for run in RUNS}, targets.unneeded_folder(f"{DATA}/{parent}"))


TASKS = by_folder("tasks", folders.task_key)
MODELS = by_folder("models", folders.model_key)
BASES = by_folder("base-evaluations", folders.base_evaluation_key)

holders.mark_jobs(Path(RESULTS))
if workflow.is_main_process:
    session.explain_lock(Path(RESULTS), Path(".snakemake/locks"))


wildcard_constraints:
    experiment="(?!overview/)[^/]+",  # the overview of all experiments is none of them
    ablation="[^/]+",
    seed="[0-9]+",
    key="[^/]+",


def task_manifest(run):
    return f"{DATA}/tasks/{folders.task_key(run)}/manifest.json"


def model_manifest(run):
    return f"{DATA}/models/{folders.model_key(run)}/manifest.json"


def run_of(wildcards):
    return targets.run(EXPERIMENTS[wildcards.experiment], wildcards.ablation, wildcards.seed)


def stage_code(stage, run):
    """Fingerprint of the code that decides the numbers of a run's stage."""
    return provenance.stage_code(stage, provenance.run_plugins(run)[stage])


def code(script, *modules):
    """Fingerprint of a script and of the plug-in `modules` that it loads."""
    return provenance.fingerprint(Path("workflow/scripts") / script, modules)


def schemes():
    return [f"{plugins.SCHEMES}.{name}" for name in plugins.names(plugins.SCHEMES)]


@functools.cache  # many runs share a folder
def checksum(manifest):
    """The checksum in a manifest, None if there is no such file."""
    return files.read_manifest(manifest.parent)["sha256"] if manifest.exists() else None


def checksums(run):
    """The checksums of a run's puzzles and base model, as far as they exist here."""
    found = {"data": checksum(Path(task_manifest(run))), "base": checksum(Path(model_manifest(run)))}
    return {key: value for key, value in found.items() if value is not None}


@functools.cache  # computed once, so that all rules agree
def archived(name):
    """The names of the runs that are taken from an experiment's archive; with `archived_only`, runs of any code."""
    experiment = EXPERIMENTS[name]
    return archive.names(experiment.archive, experiment.runs(), None if SETTINGS.archived_only else checksums)


def to_train(name):
    """The runs of an experiment that are trained here."""
    runs = EXPERIMENTS[name].runs()
    return [] if SETTINGS.archived_only else [run for run in runs if run.name not in archived(name)]


def check_samplers():
    """End with one line if a sampler that a run here needs is not installed."""
    for name, experiment in EXPERIMENTS.items():
        # Which runs are archived is asked only where it matters, because it takes a while.
        if any(run.training.sampler != "native" for run in experiment.runs()):
            try:
                session.check_samplers(to_train(name))
            except configuration.ConfigError as error:
                sys.exit(f"{name}: {error}")


if not workflow.deployment_settings.deployment_method:  # with conda, jobs have the Python of its environment
    check_samplers()


def slots():
    """How many jobs may run at once: a cluster counts jobs, a machine cores."""
    return workflow.nodes or workflow.cores


def begin():
    """Before the first job: reserve the results for this workflow, and write the plans of its experiments."""
    try:
        session.begin(Path(RESULTS), [str(file) for job in workflow.dag.needrun_jobs() for file in job.input])
    except RuntimeError as error:
        sys.exit(str(error))
    for job in workflow.dag.needrun_jobs():
        if workflow.dag.reason(job).forced:
            forced.drop_kept(job.rule.name, Path(job.output[0]))
    for name, experiment in EXPERIMENTS.items():
        session.write_plan(Path(RESULTS), experiment, to_train(name), min(slots(), GPUS or slots()))


def finish():
    """After the last job: print and keep what the time was spent on."""
    # The results are complete. What a later Snakemake keeps elsewhere must not make this run a failure.
    try:
        done = [
            (job, workflow.persistence.metadata(job.output[0]))
            for job in workflow.dag.finished_jobs
            if job.output
        ]
        jobs = [
            profile.Job(
                job.rule.name, job.threads, record.starttime, record.endtime, Path(str(job.output[0]))
            )
            for job, record in done
            if record and record.starttime and record.endtime
        ]
        profile.finish(jobs, slots(), Path(RESULTS))
    except Exception as error:
        print(f"no profile of the time spent: {type(error).__name__}: {error}", file=sys.stderr)
