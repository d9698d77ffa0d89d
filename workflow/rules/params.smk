"""What single rules ask of a job's wildcards: params, resources and inputs. `common.smk` has what they share."""


def warm_start(wildcards):
    """Settings of the supervised start of a base model."""
    return MODELS[wildcards.key].model["warm_start"]


def gpus(wildcards):
    """GPUs that a job of the run asks for."""
    training = run_of(wildcards).training
    return 0 if training.device == "cpu" else training.gpus


def mem_mb(wildcards):
    return cost.request(run_of(wildcards)).mem_mb


def runtime(wildcards):
    return cost.request(run_of(wildcards)).runtime


def run_code(stage):
    """Params function: the code that decides the numbers of a run's stage."""
    return lambda wildcards: stage_code(stage, run_of(wildcards).to_dict())


def bandit_settings(experiment, **more):
    """Params of the bandit: the experiment's rewards and groups."""
    task = plugins.load(plugins.TASKS, experiment.task["name"], "task")
    low, high = task.reward_range(configuration.options("tasks", experiment.task))
    size = experiment.training.group_size
    return configuration.canonical({"reward_range": [low, high], "group_size": size, "seed": 0, **more})


def analysis_settings(experiment):
    """Params of the weight analysis: the bandit's, and a million groups for each simulated population."""
    return bandit_settings(experiment, samples=1_000_000)


def run_folders(wildcards):
    """The runs that are trained here, to be compared with each other and with the archived ones."""
    name = wildcards.experiment
    return [f"{RESULTS}/{name}/runs/{run.name}" for run in to_train(name)]


def run_files(wildcards):
    """The small files by which aggregation notices a changed run."""
    listed = [
        f"{folder}/{file}" for folder in run_folders(wildcards) for file in ("run.json", "evaluation.json")
    ]
    place = EXPERIMENTS[wildcards.experiment].archive
    if archived(wildcards.experiment):
        listed.append(f"{place}/SHA256SUMS")
    if not listed:
        sys.exit(f"archived_only: {wildcards.experiment} has no run in archive {place}; allowed: false")
    return listed


@functools.cache  # Snakemake asks for the inputs of a rule more than once
def print_estimates():
    session.print_estimates(EXPERIMENTS.values(), slots(), Path(DATA) / "trials")


def reports(wildcards):
    """What `snakemake` makes: the pages of every experiment, and an overview of several."""
    # A dry run says what the experiments cost. Snakemake knows that it is one only now, with the rules read.
    if workflow.dryrun:
        print_estimates()
    pages = [f"{RESULTS}/{name}/report/{notebook}.html" for name in EXPERIMENTS for notebook in NOTEBOOKS]
    return pages + [f"{RESULTS}/overview/report/overview.html"] * (len(EXPERIMENTS) > 1)
