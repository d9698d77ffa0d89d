ANALYSIS_TABLES = expand(
    f"{RESULTS}/{{{{experiment}}}}/analysis/{{table}}.csv",
    table=["groups", "schemes", "ratios", "collapse", "universal", "difficulty", "snr", "reported"],
)
BANDIT_TABLES = expand(
    f"{RESULTS}/{{{{experiment}}}}/analysis/bandit_{{table}}.csv",
    table=["signal", "curves", "means", "temperature", "optimum", "rule", "choice"],
)


def bandit_settings(experiment, **more):
    """Params of the bandit: the experiment's rewards and groups."""
    task = plugins.load(plugins.TASKS, experiment.task["name"], "task")
    low, high = task.reward_range(configuration.options("tasks", experiment.task))
    size = experiment.training.samples
    return configuration.canonical({"reward_range": [low, high], "group_size": size, "seed": 0, **more})


def analysis_settings(experiment):
    """Params of the weight analysis: the bandit's, and a million groups for each simulated population."""
    return bandit_settings(experiment, samples=1_000_000)


rule weight_analysis:
    output:
        ANALYSIS_TABLES,
    log:
        f"{RESULTS}/{{experiment}}/logs/weight_analysis.log",
    priority: 10
    conda:
        "../../environment.yml"
    params:
        run=lambda wildcards: analysis_settings(EXPERIMENTS[wildcards.experiment]),
        code=code("weight_analysis.py", *schemes()),
        out=f"{RESULTS}/{{experiment}}/analysis",
    shell:
        "python workflow/scripts/weight_analysis.py --settings {params.run:q} --out {params.out:q} 2> {log:q} || python -m softmax_rewards.common.terminal {log:q}"


rule bandit:
    output:
        BANDIT_TABLES,
    log:
        f"{RESULTS}/{{experiment}}/logs/bandit.log",
    priority: 10
    conda:
        "../../environment.yml"
    params:
        run=lambda wildcards: bandit_settings(EXPERIMENTS[wildcards.experiment]),
        code=code("bandit.py", *schemes()),
        out=f"{RESULTS}/{{experiment}}/analysis",
    shell:
        "python workflow/scripts/bandit.py --settings {params.run:q} --out {params.out:q} 2> {log:q} || python -m softmax_rewards.common.terminal {log:q}"
