rule base_model:
    input:
        data=lambda wildcards: task_manifest(MODELS[wildcards.key]),
    output:
        manifest=f"{DATA}/models/{{key}}/manifest.json",
    log:
        f"{DATA}/logs/models/{{key}}.log",
    conda:
        "../../environment.yml"
    # The number of threads is the model's own setting, so that the bits do not depend on `--cores`.
    threads: lambda wildcards: MODELS[wildcards.key].model.get("threads", 1)
    params:
        model=lambda wildcards: configuration.canonical(MODELS[wildcards.key].model),
        task=lambda wildcards: configuration.canonical(MODELS[wildcards.key].task),
        code=lambda wildcards: code("base_model.py", *model_plugins(MODELS[wildcards.key])),
    shell:
        "python workflow/scripts/base_model.py --model {params.model:q} --task {params.task:q}"
        " --data {input.data:q} --manifest {output.manifest:q} 2> {log:q} || (tail -n 1 {log:q}; exit 1)"
