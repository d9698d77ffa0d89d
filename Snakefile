"""The whole pipeline, from data to report. README.md explains the commands, config/README.md the settings."""

from snakemake.utils import min_version

min_version("9.27")


configfile: "config/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/params.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/model.smk"
include: "workflow/rules/analysis.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/signal.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"


onstart:
    begin()


onsuccess:
    finish()


onerror:
    session.explain_full_disk(Path(RESULTS))


rule all:
    default_target: True
    input:
        reports,
