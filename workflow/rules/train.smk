rule train:
    input:
        data=lambda wildcards: task_manifest(run_of(wildcards)),
        base=lambda wildcards: model_manifest(run_of(wildcards)),
    output:
        record=f"{RUN}/run.json",
        tables=[
            f"{RUN}/{table}"
            for table in [
                "metrics.csv",
                "groups.csv",
                "episodes.parquet",
                "evaluations.csv",
                "samples.jsonl",
            ]
        ],
        timing=f"{RUN}/timing.csv",
        model=f"{RUN}/model/config.json",  # stands for the weights, which may be one file or several
    log:
        f"{RESULTS}/{{experiment}}/logs/train/{{ablation}}-seed-{{seed}}.log",
    conda:
        "../../environment.yml"
    # One core per GPU, so that `--cores 8` does not keep 8 GPUs from working.
    threads: lambda wildcards: run_of(wildcards).training.threads * run_of(wildcards).training.gpus
    resources:
        gpu=gpus,
        ranks=lambda wildcards: run_of(wildcards).training.gpus,  # no param: another number of GPUs does not make a run out of date
        mem_mb=mem_mb,
        runtime=runtime,
    params:
        run=lambda wildcards: run_of(wildcards).to_json(),
        code=run_code("train"),
        plan=PLAN,  # no input: a new plan does not make a run out of date
        predictions=PREDICTIONS,
    shell:
        "python workflow/scripts/train.py --run {params.run:q} --data {input.data:q} --base {input.base:q}"
        " --plan {params.plan:q} --predictions {params.predictions:q} --gpus {resources.ranks} --record {output.record:q}"
        " 2> {log:q} || python -m softmax_rewards.common.terminal {log:q}"
