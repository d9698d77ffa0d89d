"""Params, resources and inputs of single rules, computed from a job's wildcards."""


def warm_start(wildcards):
    """Settings of a base model's warm start."""
    return MODELS[wildcards.key].model["warm_start"]


def base_run(wildcards):
    """A run whose base model an evaluation is of."""
    return BASES[wildcards.key]


def base_evaluations(wildcards):
    """The evaluations of the base models of the runs that are trained here."""
    keys = sorted({folders.base_evaluation_key(run) for run in to_train(wildcards.experiment)})
    return [f"{DATA}/base-evaluations/{key}/evaluation.json" for key in keys]


def baseline_run(wildcards):
    """A run of the baseline, whose settings the signal study has."""
    experiment = EXPERIMENTS[wildcards.experiment]
    return experiment.run(experiment.baseline, experiment.ablations[experiment.baseline].seeds[0])


def signal_tables(wildcards):
    """The table of the signal study, if the experiment asks for it and its base model is made here."""
    asked = EXPERIMENTS[wildcards.experiment].evaluation.signal_batches and not SETTINGS.archived_only
    return [f"{RESULTS}/{wildcards.experiment}/signal/schemes.csv"] if asked else []


def gpus(wildcards):
    """The number of GPUs that a job of the run needs."""
    training = run_of(wildcards).training
    return 0 if training.device == "cpu" else training.gpus


def mem_mb(wildcards):
    return cost.request(run_of(wildcards)).mem_mb


def runtime(wildcards):
    return cost.request(run_of(wildcards)).runtime


def run_code(stage):
    """A function of wildcards: the fingerprint of the code that decides the numbers of a run's stage."""
    return lambda wildcards: stage_code(stage, run_of(wildcards).to_dict())


def bandit_settings(experiment, **more):
    """Settings of the bandit: the experiment's range of rewards and size of groups."""
    task = plugins.load(plugins.TASKS, experiment.task["name"], "task")
    low, high = task.reward_range(configuration.options("tasks", experiment.task))
    size = experiment.training.group_size
    return configuration.canonical({"reward_range": [low, high], "group_size": size, "seed": 0, **more})


def analysis_settings(experiment):
    """Settings of the weight analysis: those of the bandit, and a million groups for each simulated population."""
    return bandit_settings(experiment, samples=1_000_000)


def run_folders(wildcards):
    """The folders of the runs that are trained here."""
    name = wildcards.experiment
    return [f"{RESULTS}/{name}/runs/{run.name}" for run in to_train(name)]


def run_files(wildcards):
    """Small files that change when a run or the archive changes, so that aggregation runs again."""
    listed = [
        f"{folder}/{file}" for folder in run_folders(wildcards) for file in ("run.json", "evaluation.json")
    ]
    folder = EXPERIMENTS[wildcards.experiment].archive
    if archived(wildcards.experiment):
        listed.append(f"{folder}/SHA256SUMS")
    if not listed:
        sys.exit(f"archived_only: {wildcards.experiment} has no run in archive {folder}; allowed: false")
    return listed


def page_code():
    """Page → fingerprint of its notebook, of the modules that it imports, and of the code that makes pages."""
    script = code("report_pages.py")
    return {name: script + provenance.fingerprint(Path(f"notebooks/{name}.ipynb")) for name in NOTEBOOKS}


@functools.cache  # Snakemake asks for the inputs of a rule more than once
def print_estimates():
    session.print_estimates(EXPERIMENTS.values(), slots(), Path(DATA) / "trials")


def reports(wildcards):
    """What `snakemake` makes: the pages of every experiment, and an overview of several."""
    # Only a dry run prints what the experiments cost, and Snakemake knows that it is one after it has read the rules.
    if workflow.dryrun:
        print_estimates()
    pages = [f"{RESULTS}/{name}/report/{notebook}.html" for name in EXPERIMENTS for notebook in NOTEBOOKS]
    return pages + [f"{RESULTS}/overview/report/overview.html"] * (len(EXPERIMENTS) > 1)
