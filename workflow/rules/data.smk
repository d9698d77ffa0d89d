rule dataset:
    output:
        manifest=f"{DATA}/tasks/{{key}}/manifest.json",
        tables=expand(f"{DATA}/tasks/{{{{key}}}}/{{split}}.parquet", split=["train", "test", "warm_start"]),
    log:
        f"{DATA}/logs/tasks/{{key}}.log",
    conda:
        "../../environment.yml"
    params:
        task=lambda wildcards: configuration.canonical(TASKS[wildcards.key].task),
        code=lambda wildcards: code("dataset.py", f"tasks.{TASKS[wildcards.key].task['name']}"),
    shell:
        "python workflow/scripts/dataset.py --task {params.task:q} --manifest {output.manifest} 2> {log} || (tail -n 1 {log}; exit 1)"
