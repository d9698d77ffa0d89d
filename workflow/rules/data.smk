rule dataset:
    output:
        manifest=f"{DATA}/tasks/{{key}}/manifest.json",
        tables=expand(f"{DATA}/tasks/{{{{key}}}}/{{split}}.parquet", split=["train", "test", "warm_start"]),
    log:
        f"{DATA}/logs/tasks/{{key}}.log",
    conda:
        "../../environment.yml"
    params:
        public=lambda wildcards: f"{DATA}/public/{TASKS[wildcards.key].task['name']}",
        task=lambda wildcards: configuration.canonical(TASKS[wildcards.key].task),
        code=lambda wildcards: stage_code("dataset", TASKS[wildcards.key].to_dict()),
    shell:
        "python workflow/scripts/dataset.py --task {params.task:q} --public {params.public:q}"
        " --manifest {output.manifest:q} 2> {log:q} || python -m softmax_rewards.common.terminal {log:q}"
