rule base_model:
    input:
        data=lambda wildcards: task_manifest(MODELS[wildcards.key]),
    output:
        manifest=f"{DATA}/models/{{key}}/manifest.json",
    log:
        f"{DATA}/logs/models/{{key}}.log",
    conda:
        "../../environment.yml"
    threads: lambda wildcards: warm_start(wildcards)["threads"]
    resources:
        gpu=lambda wildcards: int(
            warm_start(wildcards)["steps"] > 0 and warm_start(wildcards)["device"] != "cpu"
        ),
    params:
        model=lambda wildcards: configuration.canonical(MODELS[wildcards.key].model),
        task=lambda wildcards: configuration.canonical(MODELS[wildcards.key].task),
        code=lambda wildcards: stage_code("base", MODELS[wildcards.key].to_dict()),
    shell:
        "python workflow/scripts/base_model.py --model {params.model:q} --task {params.task:q}"
        " --data {input.data:q} --manifest {output.manifest:q} 2> {log:q} || python -m softmax_rewards.common.terminal {log:q}"
