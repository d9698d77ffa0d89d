"""The decoder against `transformers`, on random checkpoints of every family and variant."""

import copy
import dataclasses

import pytest
import torch
import transformers
from torch.nn.functional import cross_entropy
from transformers.models.qwen2.modeling_qwen2 import Qwen2RotaryEmbedding

from softmax_rewards.models import checkpoint, decoder
from softmax_rewards.models.decoder import Decoder
from softmax_rewards.models.kv_cache import Cache
from softmax_rewards.models.shape import Llama3Scaling, Shape
from softmax_rewards.policy.limits import Limits
from softmax_rewards.policy.sampling import sample

COMMON = {
    "vocab_size": 40,
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,  # transformers gives the embedding of a padding token no gradient
}
CLASSES = {
    "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
    "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM),
    "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
VARIANTS = {
    "qwen2": {"tie_word_embeddings": True},
    "qwen2 one key head": {"num_key_value_heads": 1, "rope_theta": 1e6},
    "qwen2 linear": {"num_key_value_heads": 4, "rope_scaling": {"rope_type": "linear", "factor": 4.0}},
    "qwen3": {"head_dim": 16},
    "qwen3 biases": {"head_dim": 8, "attention_bias": True, "tie_word_embeddings": True},
    "llama": {"tie_word_embeddings": True},
    "llama biases": {"num_key_value_heads": 4, "attention_bias": True, "mlp_bias": True},
    "llama llama3": {"head_dim": 32, "rope_theta": 50_000.0, "rope_scaling": LLAMA3},
}
LONG = 60  # tokens, beyond the original length of LLAMA3


@pytest.fixture(params=VARIANTS, scope="module")
def pair(request, tmp_path_factory):
    """A random model of `transformers` and ours, loaded from the folder it was saved to."""
    config, model = CLASSES[request.param.split()[0]]
    torch.manual_seed(0)
    theirs = model(config(**copy.deepcopy(COMMON | VARIANTS[request.param]))).eval()
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():  # norms and biases too, else they would test nothing
            parameter.normal_(1.0 if "norm" in name else 0.0, 0.2)
    folder = tmp_path_factory.mktemp("theirs")
    theirs.save_pretrained(folder)
    return theirs, checkpoint.load(folder), folder


def tokens(rows, length, seed=1):
    return torch.randint(0, COMMON["vocab_size"], (rows, length), generator=torch.Generator().manual_seed(seed))


def loss(logits, ids):
    return cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())


def gradients(model):
    """Gradients of our model under the names of `transformers`."""
    twin = Decoder.empty(model.shape)
    with torch.no_grad():
        for mine, parameter in zip(twin.parameters(), model.parameters(), strict=True):
            mine.copy_(parameter.grad)
    return dict(checkpoint.named_tensors(twin))


def test_logits_and_all_gradients_equal_those_of_transformers(pair):
    theirs, ours, _ = pair
    ids = tokens(3, LONG)
    expected, got = theirs(ids).logits, ours.lm_head(ours(ids))
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=0)
    theirs.zero_grad()
    ours.zero_grad()
    loss(expected, ids).backward()
    loss(got, ids).backward()
    wanted = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    found = gradients(ours)
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        assert gradient.abs().max() > 1e-6, f"{name}: nothing tested"
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-4, msg=lambda text, name=name: name + text)


def test_greedy_answers_equal_those_of_transformers_token_by_token(pair):
    theirs, ours, _ = pair
    prompts = [tokens(1, length, seed=length)[0].tolist() for length in (3, 20, 8, 1)]
    longest, new = max(map(len, prompts)), 24
    settings = {"group_size": 1, "max_new_tokens": new, "pad_id": 0, "limits": Limits(16, 1), "stream": None}
    free = sample(ours, prompts, eos_ids=[COMMON["vocab_size"]], **settings).tokens
    end = int(free[0, 7])  # ends the first answer early, perhaps others too
    ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts])
    mask = torch.arange(longest) >= torch.tensor([[longest - len(prompt)] for prompt in prompts])
    expected = theirs.generate(
        ids, attention_mask=mask.long(), do_sample=False, max_new_tokens=new, eos_token_id=end, pad_token_id=0
    )[:, longest:]
    got = sample(ours, prompts, eos_ids=[end], **settings)
    assert bool(got.finished[0])
    assert got.tokens[:, : expected.shape[1]].tolist() == expected.tolist()


def test_decoding_with_a_cache_equals_the_whole_pass(pair):
    _, ours, _ = pair
    ids = tokens(2, 30, seed=2)
    with torch.no_grad():
        whole = ours(ids)
        cache = Cache(ours.shape, 2, 30, ours.embed_tokens.weight)
        cache.open(20)
        parts = [ours(ids[:, :20], store=cache)]
        for column in range(20, 30):
            cache.open(1)
            parts.append(ours(ids[:, column : column + 1], torch.full((2, 1), column), store=cache))
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-5, rtol=1e-5)


def test_in_bfloat16_it_is_as_close_to_the_exact_logits_as_transformers(pair):
    theirs, _, folder = pair
    ids = tokens(4, LONG, seed=3)
    with torch.no_grad():
        exact = theirs(ids).logits
        wide = type(theirs).from_pretrained(folder, dtype=torch.bfloat16).eval()
        narrow = checkpoint.load(folder, dtype=torch.bfloat16)
        expected, got = wide(ids).logits.float(), narrow.lm_head(narrow(ids)).float()
    error = (expected - exact).square().mean().sqrt()
    assert (got - exact).square().mean().sqrt() < 1.2 * error
    assert (got - expected).square().mean().sqrt() < error


def test_one_query_in_bfloat16_keeps_large_scores_apart():
    """Qwen2's key biases make scores of hundreds, where neighbors in bfloat16 are whole numbers apart."""
    generator = torch.Generator().manual_seed(0)
    queries, keys, values = (
        torch.randn(size, generator=generator).bfloat16() for size in ((3, 4, 1, 64), (3, 2, 50, 64), (3, 2, 50, 64))
    )
    keys[..., 0] = 800  # the same for every key: it cancels in the softmax
    queries[..., 0] = 8
    mask = torch.zeros(3, 1, 1, 50).masked_fill(torch.arange(50) < 7, float("-inf"))
    wide = decoder.attend(queries.double(), keys.double(), values.double(), mask.double())
    narrow = decoder.attend(queries, keys, values, mask.bfloat16())
    torch.testing.assert_close(narrow.double(), wide, atol=0.01, rtol=0.01)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_recomputing_layers_changes_no_bit_of_the_gradients(pair, dtype):
    ours, ids = checkpoint.load(pair[2], dtype=dtype), tokens(3, 12)
    found = []
    for recompute in (False, True):
        ours.gradient_checkpointing = recompute
        ours.zero_grad()
        loss(ours.lm_head(ours(ids)).float(), ids).backward()
        found.append([parameter.grad.clone() for parameter in ours.parameters()])
    assert all(torch.equal(*both) for both in zip(*found, strict=True))


def test_recomputing_layers_keeps_less(pair):
    _, ours, _ = pair
    kept = []

    def keep(tensor):
        kept[-1] += tensor.nbytes
        return tensor

    for recompute in (False, True):
        ours.gradient_checkpointing = recompute
        kept.append(0)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            ours(tokens(3, LONG))
    ours.gradient_checkpointing = False
    assert kept[1] < kept[0] / 5


def test_the_shape_knows_the_number_of_parameters(pair):
    theirs, ours, _ = pair
    with torch.device("meta"):
        built = Decoder(ours.shape)
    assert ours.shape.parameters == theirs.num_parameters() == sum(p.numel() for p in built.parameters())


def test_initial_weights_are_those_of_hugging_face():
    shape = Shape.from_config(COMMON | {"model_type": "llama", "attention_bias": True, "hidden_size": 256})
    model = Decoder.empty(shape).initialize(torch.Generator().manual_seed(0))
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any()
        elif parameter.dim() == 1:
            assert bool((parameter == 1).all())
        else:
            assert abs(parameter.std().item() / 0.02 - 1) < 0.02


BASE = COMMON | {"model_type": "qwen2", "rms_norm_eps": 1e-6, "rope_theta": 1e4}
SCALED = {key: value for key, value in LLAMA3.items() if key != "original_max_position_embeddings"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "mamba"}, 'model_type "mamba" is not supported; allowed: qwen2, qwen3, llama'),
        ({"model_type": "qwen2_moe"}, 'model_type "qwen2_moe" is not supported'),
        ({"model_type": None}, "model_type null is not supported"),
        ({"num_experts": 8}, "num_experts 8 is not supported; allowed: 0"),
        ({"hidden_act": "gelu"}, 'hidden_act "gelu" is not supported; allowed: silu'),
        ({"use_sliding_window": True}, "use_sliding_window true is not supported; allowed: false"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, 'layer_types "sliding_attention" is not supported'),
        ({"quantization_config": {"quant_method": "awq"}}, "quantization_config .*awq.* is not supported"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor 0.5 is not supported; allowed: 1.0"),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor 0.5 is not supported"),
        (
            {"rope_scaling": {"rope_type": "yarn"}},
            'rope_type "yarn" is not supported; allowed: default, linear, llama3',
        ),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, 'rope_type "dynamic" is not supported'),
        ({"rope_parameters": {"full_attention": {"rope_theta": 1e4}}}, "rope_parameters .* one flat mapping"),
        ({"rope_scaling": {"rope_type": "linear"}}, "factor is missing"),
        ({"rope_scaling": {"rope_type": "linear", "factor": "2"}}, 'factor "2"; allowed: numbers above 0'),
        ({"rope_scaling": LLAMA3 | {"low_freq_factor": 4.0}}, "high_freq_factor 4.0; allowed: numbers above"),
        ({"rope_scaling": SCALED, "max_position_embeddings": None}, "max_position_embeddings is missing"),
        ({"rope_theta": 0}, "rope_theta 0; allowed: numbers above 0"),
        ({"rms_norm_eps": float("nan")}, "rms_norm_eps NaN; allowed: numbers above 0"),
        ({"vocab_size": None}, "vocab_size is missing"),
        ({"hidden_size": "48"}, 'hidden_size "48"; allowed: integers from 1'),
        ({"hidden_size": 50}, "hidden_size 50; without head_dim allowed: multiples of 4 heads"),
        ({"hidden_size": 4}, "head_dim 1; allowed: even numbers"),
        ({"num_hidden_layers": 0}, "num_hidden_layers 0; allowed: integers from 1"),
        ({"intermediate_size": 1.5}, "intermediate_size 1.5; allowed: integers from 1"),
        ({"num_attention_heads": True}, "num_attention_heads true; allowed: integers from 1"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers 1000000000; allowed: integers from 1 to 1000$"),
        ({"hidden_size": 10**30}, "hidden_size 10*; allowed: integers from 1 to 1000000$"),
        ({"num_attention_heads": 10**9, "hidden_size": 10**6}, "num_attention_heads 10*; allowed: integers from 1 to"),
        ({"head_dim": 10**15}, "head_dim 10*; allowed: integers from 1 to 10000$"),
        ({"rope_scaling": SCALED, "max_position_embeddings": 10**12}, "max_position_embeddings 10*; allowed: integers"),
        ({"num_key_value_heads": 3}, "num_key_value_heads 3; allowed: divisors of 4 heads"),
        ({"num_key_value_heads": None}, "num_key_value_heads is missing"),
        ({"tie_word_embeddings": 1}, "tie_word_embeddings 1; allowed: true, false"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(change, message):
    Shape.from_config(BASE)
    with pytest.raises(ValueError, match=f"^config.json: {message}") as caught:
        Shape.from_config(BASE | change)
    assert "\n" not in str(caught.value)


def test_defaults_are_those_of_transformers():
    wanted = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    for family, (config, _) in CLASSES.items():
        little = {key: COMMON[key] for key in wanted} | {"num_key_value_heads": 2}
        whole = config(**little).to_dict()
        assert Shape.from_config(little | {"model_type": family}) == Shape.from_config(whole), family


@pytest.mark.parametrize(
    ("rope", "theta", "scaling"),
    [
        ({}, 1e4, None),
        ({"rope_theta": 5e5}, 5e5, None),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}, 5e5, None),
        ({"rope_theta": 5e5, "rope_scaling": LLAMA3}, 5e5, Llama3Scaling(8.0, 1.0, 4.0, 16)),
        ({"rope_parameters": LLAMA3 | {"rope_theta": 5e5}}, 5e5, Llama3Scaling(8.0, 1.0, 4.0, 16)),
        ({"rope_scaling": SCALED}, 1e4, Llama3Scaling(8.0, 1.0, 4.0, 128)),
        ({"rope_scaling": LLAMA3, "original_max_position_embeddings": 32}, 1e4, Llama3Scaling(8.0, 1.0, 4.0, 32)),
    ],
)
def test_rotary_settings_are_found_where_transformers_4_and_5_put_them(rope, theta, scaling):
    shape = Shape.from_config({key: value for key, value in BASE.items() if key != "rope_theta"} | rope)
    assert (shape.rope_theta, shape.rope_scaling) == (theta, scaling)
    theirs = Qwen2RotaryEmbedding(transformers.Qwen2Config(**copy.deepcopy(COMMON | rope))).inv_freq
    torch.testing.assert_close(decoder.frequencies(shape, theirs.device), theirs, atol=0, rtol=1e-6)


def test_a_shape_is_hashable_and_plain():
    shape = Shape.from_config(BASE | {"rope_scaling": LLAMA3})
    assert hash(shape) == hash(dataclasses.replace(shape))
