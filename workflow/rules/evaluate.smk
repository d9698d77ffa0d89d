rule evaluate:
    input:
        record=f"{RUN}/run.json",
        model=ancient(f"{RUN}/model/config.json"),
        data=lambda wildcards: task_manifest(EXPERIMENTS[wildcards.experiment]),
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
