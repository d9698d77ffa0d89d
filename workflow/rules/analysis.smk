ANALYSIS_TABLES = expand(
    f"{RESULTS}/{{{{experiment}}}}/analysis/{{table}}.csv",
    table=["groups", "schemes", "ratios", "collapse", "universal", "difficulty", "snr", "reported"],
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
        "python workflow/scripts/weight_analysis.py --settings {params.run:q} --out {params.out:q} 2> {log:q} || (tail -n 1 {log:q}; exit 1)"
