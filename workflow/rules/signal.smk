rule measure_signal:
    input:
        data=lambda wildcards: task_manifest(EXPERIMENTS[wildcards.experiment]),
        base=lambda wildcards: model_manifest(EXPERIMENTS[wildcards.experiment]),
    output:
        table=f"{RESULTS}/{{experiment}}/signal/schemes.csv",
        facts=f"{RESULTS}/{{experiment}}/signal/base.json",
    log:
        f"{RESULTS}/{{experiment}}/logs/measure_signal.log",
    priority: 5
    conda:
        "../../environment.yml"
    threads: lambda wildcards: baseline_run(wildcards).training.threads
    resources:
        gpu=lambda wildcards: int(baseline_run(wildcards).training.device != "cpu"),
        mem_mb=lambda wildcards: cost.request(baseline_run(wildcards)).mem_mb,
        runtime=lambda wildcards: cost.request(baseline_run(wildcards)).runtime,
    params:
        run=lambda wildcards: baseline_run(wildcards).to_json(),
        batches=lambda wildcards: EXPERIMENTS[wildcards.experiment].evaluation.signal_batches,
        code=lambda wildcards: code(
            "measure_signal.py",
            *schemes(),
            f"{plugins.TASKS}.{EXPERIMENTS[wildcards.experiment].task['name']}",
        ),
    shell:
        "python workflow/scripts/measure_signal.py --run {params.run:q} --batches {params.batches} --data {input.data:q}"
        " --base {input.base:q} --table {output.table:q} 2> {log:q} || python -m softmax_rewards.common.terminal {log:q}"
