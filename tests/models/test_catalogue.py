"""The catalogue: every entry is a shape that transformers builds too, with the published number of parameters."""

import re

import pytest
import torch
import transformers

from softmax_rewards.models import catalogue
from softmax_rewards.models.shape import Shape

# Total parameters as the models' pages or their safetensors headers give them, a tied head counted once.
PARAMETERS = {
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-1.5b": 1_543_714_304,
    "qwen2.5-3b": 3_085_938_688,
    "qwen2.5-7b": 7_615_616_512,
    "qwen3-0.6b": 596_049_920,
    "qwen3-1.7b": 1_720_574_976,
    "smollm2-135m": 134_515_008,
    "smollm2-360m": 361_821_120,
    "llama-3.2-1b": 1_235_814_400,
}


def size(name: str) -> str:
    return name.removesuffix("-base").removesuffix("-instruct")


@pytest.mark.parametrize("name", catalogue.MODELS)
def test_transformers_counts_the_published_parameters(name):
    config = transformers.AutoConfig.for_model(**catalogue.MODELS[name].config)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == PARAMETERS[size(name)]
    assert [type(model).__name__] == catalogue.MODELS[name].config["architectures"]


@pytest.mark.parametrize("name", catalogue.MODELS)
def test_the_shape_counts_the_published_parameters(name):
    assert Shape.from_config(catalogue.MODELS[name].config).parameters == PARAMETERS[size(name)]


@pytest.mark.parametrize("name", catalogue.MODELS)
def test_an_entry_is_named_after_its_repository_and_pinned(name):
    entry = catalogue.MODELS[name]
    assert entry.name == name == entry.repository.split("/")[1].lower()
    assert re.fullmatch("[0-9a-f]{40}", entry.revision)
    # Qwen3 calls the base "-Base"; everyone else calls the tuned model "-Instruct".
    assert entry.instruct == (name.endswith("-instruct") or name in ("qwen3-0.6b", "qwen3-1.7b"))


def test_names_are_found_in_any_case():
    assert catalogue.find("Qwen2.5-3B-Instruct") is catalogue.MODELS["qwen2.5-3b-instruct"]
    with pytest.raises(ValueError, match=r"unknown model 'qwen2.5-3b-instrct' \(nearest: 'qwen2.5-3b-instruct'\)"):
        catalogue.find("qwen2.5-3b-instrct")


def test_revisions_are_not_shared():
    assert len({entry.revision for entry in catalogue.MODELS.values()}) == len(catalogue.MODELS)
