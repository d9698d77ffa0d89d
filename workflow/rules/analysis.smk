ANALYSIS_TABLES = expand(
    f"{RESULTS}/{{{{experiment}}}}/analysis/{{table}}.csv",
    table=[
        "groups",
        "schemes",
        "ratios",
        "collapse",
        "universal",
        "difficulty",
        "snr",
        "reported",
        "search_predictions",
        "search_updates",
        "map",
    ],
)
BANDIT_TABLES = expand(
    f"{RESULTS}/{{{{experiment}}}}/analysis/bandit_{{table}}.csv",
    table=["signal", "curves", "means", "temperature", "optimum", "rule", "choice"],
)


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
