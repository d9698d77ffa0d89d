# Training has usually evaluated the final model. Then this job only publishes the results, without PyTorch.
rule evaluate:
    input:
        record=f"{RUN}/run.json",
        model=ancient(f"{RUN}/model/config.json"),
        data=lambda wildcards: task_manifest(run_of(wildcards)),
    output:
        summary=f"{RUN}/evaluation.json",
        puzzles=f"{RUN}/puzzles.csv",
    log:
        f"{RESULTS}/{{experiment}}/logs/evaluate/{{ablation}}-seed-{{seed}}.log",
    priority: 5
    conda:
        "../../environment.yml"
    threads: lambda wildcards: run_of(wildcards).training.threads
    resources:
        gpu=lambda wildcards: min(gpus(wildcards), 1),
        mem_mb=mem_mb,
        runtime=runtime,
    params:
        code=run_code("evaluate"),
    shell:
        "python workflow/scripts/evaluate.py --record {input.record:q} --data {input.data:q} 2> {log:q} || python -m softmax_rewards.common.terminal {log:q}"


rule evaluate_base:
    input:
        data=lambda wildcards: task_manifest(base_run(wildcards)),
        base=lambda wildcards: model_manifest(base_run(wildcards)),
    output:
        summary=f"{DATA}/base-evaluations/{{key}}/evaluation.json",
        puzzles=f"{DATA}/base-evaluations/{{key}}/puzzles.csv",
    log:
        f"{DATA}/logs/base-evaluations/{{key}}.log",
    priority: 5
    conda:
        "../../environment.yml"
    threads: lambda wildcards: base_run(wildcards).training.threads
    resources:
        gpu=lambda wildcards: int(base_run(wildcards).training.device != "cpu"),
        mem_mb=lambda wildcards: cost.request(base_run(wildcards)).mem_mb,
        runtime=lambda wildcards: cost.request(base_run(wildcards)).runtime,
    params:
        settings=lambda wildcards: configuration.canonical(base_settings.of(base_run(wildcards))),
        code=lambda wildcards: stage_code("base_evaluation", base_run(wildcards).to_dict()),
    shell:
        "python workflow/scripts/evaluate_base.py --settings {params.settings:q} --data {input.data:q}"
        " --base {input.base:q} --threads {threads} --summary {output.summary:q}"
        " 2> {log:q} || python -m softmax_rewards.common.terminal {log:q}"
