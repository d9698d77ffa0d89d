SUMMARY_TABLES = expand(
    f"{RESULTS}/{{{{experiment}}}}/summary/{{table}}",
    table=[
        "trajectories.csv",
        "metrics.csv",
        "curves.csv",
        "final.csv",
        "comparisons.csv",
        "robust.csv",
        "mixed.csv",
        "puzzles.csv",
        "temperature.csv",
        "temperature_fit.json",
        "tau_choice.csv",
        "negative_controls.csv",
        "ablations.csv",
        "contrasts.csv",
        "signal_noise.csv",
        "signal_measured.csv",
        "signal_base.json",
        "gain_law.csv",
        "gain_law_score.csv",
        "bases.csv",
        "bases.json",
        "base_checks.csv",
        "base_attempts.csv",
        "search_predictions.csv",
        "search_updates.csv",
        "search_found.csv",
        "search_ranks.csv",
        "passes.csv",
        "reasoning.csv",
        "behaviors.csv",
        "failures.csv",
        "reported_training.csv",
        "logged_weights.csv",
        "logged_map.csv",
        "samples.jsonl",
        "provenance.json",
    ],
)

VERDICTS = f"{RESULTS}/{{experiment}}/summary/verdicts.csv"


rule aggregate:
    input:
        files=run_files,
        bases=base_evaluations,
        signal=signal_tables,
        plan=PLAN,
    output:
        SUMMARY_TABLES,
        verdicts=report(
            VERDICTS, caption="../report/verdicts.rst", category="{experiment}", labels={"page": "verdicts"}
        ),
    log:
        f"{RESULTS}/{{experiment}}/logs/aggregate.log",
    priority: 5
    conda:
        "../../environment.yml"
    params:
        run=lambda wildcards: EXPERIMENTS[wildcards.experiment].to_json(),
        runs=run_folders,
        archived=lambda wildcards: configuration.canonical(archived(wildcards.experiment)),
        code=lambda wildcards: code(
            "aggregate.py", *schemes(), f"{plugins.TASKS}.{EXPERIMENTS[wildcards.experiment].task['name']}"
        ),
        out=f"{RESULTS}/{{experiment}}/summary",
    shell:
        "python workflow/scripts/aggregate.py --experiment {params.run:q} --plan {input.plan:q}"
        " --out {params.out:q} --archived {params.archived:q} --bases {input.bases:q} --signal {input.signal:q} -- {params.runs:q} 2> {log:q} || python -m softmax_rewards.common.terminal {log:q}"


rule pages:
    input:
        ANALYSIS_TABLES,
        BANDIT_TABLES,
        SUMMARY_TABLES,
        VERDICTS,
        plan=PLAN,
        notebooks=expand("notebooks/{notebook}.ipynb", notebook=NOTEBOOKS),
    output:
        expand(f"{RESULTS}/{{{{experiment}}}}/report/{{notebook}}.ipynb", notebook=NOTEBOOKS),
        [
            report(
                f"{RESULTS}/{{experiment}}/report/{notebook}.html",
                caption="../report/page.rst",
                category="{experiment}",
                labels={"page": notebook},
            )
            for notebook in NOTEBOOKS
        ],
    log:
        f"{RESULTS}/{{experiment}}/logs/report.log",
    conda:
        "../../environment.yml"
    threads: 2  # all pages are one job, which imports the libraries once and makes two pages at a time
    params:
        run=lambda wildcards: configuration.canonical(
            {
                "experiment": wildcards.experiment,
                "results": RESULTS,
                "baseline": EXPERIMENTS[wildcards.experiment].baseline,
            }
        ),
        code=lambda wildcards: configuration.canonical(page_code()),
        folder=lambda wildcards: f"{RESULTS}/{wildcards.experiment}",
    shell:
        "python workflow/scripts/report_pages.py --notebooks {input.notebooks:q} --parameters {params.run:q}"
        " --code {params.code:q} --tables {params.folder:q}/summary {params.folder:q}/analysis {input.plan:q}"
        " --report {params.folder:q}/report --work {params.folder:q}/logs/report --processes {threads}"
        " 2> {log:q} || python -m softmax_rewards.common.terminal {log:q}"


rule overview:
    input:
        verdicts=expand(f"{RESULTS}/{{experiment}}/summary/verdicts.csv", experiment=EXPERIMENTS),
        notebook="notebooks/overview/overview.ipynb",
    output:
        verdicts=f"{RESULTS}/overview/summary/verdicts.csv",
        notebook=f"{RESULTS}/overview/report/overview.ipynb",
        html=f"{RESULTS}/overview/report/overview.html",
    log:
        errors=f"{RESULTS}/overview/logs/overview.log",
        partial=f"{RESULTS}/overview/logs/overview.ipynb",
    conda:
        "../../environment.yml"
    params:
        run=configuration.canonical({"results": RESULTS}),
        code=[
            code("overview.py"),
            code("execute_notebook.py"),
            provenance.fingerprint(Path("notebooks/overview/overview.ipynb")),
        ],
    shell:
        "(python workflow/scripts/overview.py --out {output.verdicts:q} {input.verdicts:q}"
        " && python workflow/scripts/execute_notebook.py --notebook {input.notebook:q} --parameters {params.run:q}"
        " --output {output.notebook:q} --html {output.html:q} --partial {log.partial:q}) 2> {log.errors:q}"
        " || python -m softmax_rewards.common.terminal {log.errors:q}"
