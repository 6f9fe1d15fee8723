#!/usr/bin/env python3
"""Golden values of every hook point, by an independent implementation.

Needs Python with torch, transformers, tokenizers, safetensors and numpy; imports nothing of this repository.

    python make.py            remakes everything beside this file (about a minute)
    python make.py gpt2       one model (or `tokenizers`, `fields`, `real`)
    HEDDLE_REAL_MODEL=DIR python make.py real     values of a real checkpoint at a few points

For each model: random weights from a seed, rounded to the dtype of the file, written as a HuggingFace directory, read
back *by transformers* into float64 with eager attention. Values are taken by forward hooks on transformers' own modules;
what no module returns (scales of norms, scores before softmax, head results) is recomputed beside them and checked.

Transformers computes three things in float32 whatever the model's dtype: RMSNorm, the rotary angles, and the softmax of
eager attention. Here they are lifted to float64 (`Lifted`), else no implementation could agree to 1e-10.
"""

import dataclasses
import hashlib
import json
import math
import os
import sys
from datetime import date
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
import safetensors.torch
import tokenizers
import torch
import transformers
from transformers import AutoModelForCausalLM, modeling_rope_utils
from transformers.models.gpt2 import modeling_gpt2
from transformers.models.gpt_neox import modeling_gpt_neox
from transformers.models.llama import modeling_llama
from transformers.models.qwen2 import modeling_qwen2
from transformers.models.qwen3 import modeling_qwen3

HERE = Path(__file__).resolve().parent
SEED = 20260731
PROMPTS = [[3, 17, 42, 8], [1, 44, 9, 9, 30, 2, 21]]
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}

SMALL = dict(vocab_size=50, bos_token_id=1, eos_token_id=2)
GPT2 = dict(model_type="gpt2", architectures=["GPT2LMHeadModel"], n_positions=32, n_embd=24, n_layer=2, n_head=3, **SMALL)
NEOX = dict(
    model_type="gpt_neox", architectures=["GPTNeoXForCausalLM"], max_position_embeddings=32, hidden_size=24,
    num_hidden_layers=2, num_attention_heads=3, intermediate_size=48, **SMALL,
)
LLAMA = dict(
    model_type="llama", architectures=["LlamaForCausalLM"], max_position_embeddings=32, hidden_size=24,
    num_hidden_layers=2, num_attention_heads=3, intermediate_size=40, rms_norm_eps=1e-5, **SMALL,
)
QWEN = dict(
    max_position_embeddings=32, hidden_size=24, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    intermediate_size=40, rms_norm_eps=1e-6, **SMALL,
)
LLAMA3_ROPE = dict(
    rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64,
)

# name -> (config.json, dtype of the file, number of shards). Old and new spellings of rope fields both occur.
MODELS = {
    "gpt2": (dict(GPT2), "float32", 1),
    "gpt2-scaled": (
        dict(GPT2, scale_attn_by_inverse_layer_idx=True, reorder_and_upcast_attn=False, n_inner=40,
             activation_function="relu", layer_norm_epsilon=1e-3, tie_word_embeddings=False), "float16", 1),
    "gpt2-unscaled": (dict(GPT2, scale_attn_weights=False, activation_function="gelu"), "float32", 2),
    "neox-parallel": (dict(NEOX, rotary_pct=0.25, rotary_emb_base=10000), "float16", 1),
    "neox-serial": (
        dict(NEOX, use_parallel_residual=False, hidden_act="gelu_new", layer_norm_eps=1e-4, tie_word_embeddings=True,
             rope_parameters=dict(rope_type="default", rope_theta=500.0, partial_rotary_factor=0.5)), "float32", 1),
    "neox-nobias": (dict(NEOX, attention_bias=False, rotary_pct=1.0), "bfloat16", 1),
    "llama2": (dict(LLAMA, tie_word_embeddings=False, rope_theta=10000.0, pretraining_tp=1), "float32", 1),
    "llama3": (
        dict(LLAMA, max_position_embeddings=128, num_attention_heads=6, num_key_value_heads=2, head_dim=8, tie_word_embeddings=True,
             rope_theta=500000.0, rope_scaling=dict(LLAMA3_ROPE)), "bfloat16", 1),
    "llama-headdim": (
        dict(LLAMA, max_position_embeddings=128, num_attention_heads=4, num_key_value_heads=1, head_dim=10, hidden_act="gelu_pytorch_tanh",
             rope_parameters=dict(LLAMA3_ROPE, rope_theta=10000.0)), "float32", 1),
    "llama-bias": (
        dict(LLAMA, attention_bias=True, mlp_bias=True, rope_theta=1000.0,
             rope_scaling=dict(type="linear", factor=2.5)), "float32", 1),
    "llama-yarn": (
        dict(LLAMA, num_attention_heads=4, num_key_value_heads=4, head_dim=6,
             rope_parameters=dict(rope_type="yarn", rope_theta=10000.0, factor=4.0,
                                  original_max_position_embeddings=16)), "float16", 1),
    "qwen2": (
        dict(QWEN, model_type="qwen2", architectures=["Qwen2ForCausalLM"], tie_word_embeddings=True,
             rope_theta=1000000.0, use_sliding_window=False, sliding_window=16, max_window_layers=2), "bfloat16", 1),
    "qwen3": (
        dict(QWEN, model_type="qwen3", architectures=["Qwen3ForCausalLM"], head_dim=8, tie_word_embeddings=False,
             rope_theta=1000000.0, rope_scaling=None, sliding_window=None), "float32", 1),
}


class Lifted:
    """The torch module, as seen by transformers' modelling files, with its float32 islands at float64."""

    float = torch.float64
    float32 = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


def lift():
    for module in (modeling_gpt_neox, modeling_llama, modeling_qwen2, modeling_qwen3, modeling_rope_utils):
        module.torch = Lifted()


class Recorder:
    """Collects values by name while a model runs."""

    def __init__(self):
        self.values = {}
        self.layer = None

    def put(self, name, value):
        assert name not in self.values, name
        self.values[name] = value.detach().double().clone()

    def on(self, module, take):
        """take(arguments, output) after each call of the module."""
        module.register_forward_hook(lambda _m, args, kwargs, out: take(args or tuple(kwargs.values()), out), with_kwargs=True)


def first(value):
    return value[0] if isinstance(value, tuple) else value


def record_norm(rec, module, name):
    eps = getattr(module, "eps", None)
    layer_norm = eps is not None

    def take(args, out):
        x = args[0]
        if layer_norm:
            scale = (x.var(-1, unbiased=False, keepdim=True) + eps).sqrt()
            again = (x - x.mean(-1, keepdim=True)) / scale * module.weight + module.bias
        else:
            scale = (x.pow(2).mean(-1, keepdim=True) + module.variance_epsilon).sqrt()
            again = x / scale * module.weight
        assert torch.allclose(again, out, rtol=1e-12, atol=1e-12)
        rec.put(f"{name}.hook_scale", scale)
        rec.put(f"{name}.hook_normalized", out)

    rec.on(module, take)


def watch_attention(rec, module):
    """Wraps the functions that attention calls in its modelling file: rotary and eager attention."""
    eager = module.eager_attention_forward
    rotary = getattr(module, "apply_rotary_pos_emb", None)

    def eager_watched(attention, query, key, value, attention_mask, scaling=None, **kwargs):
        out, pattern = eager(attention, query, key, value, attention_mask, scaling=scaling, **kwargs)
        prefix = f"blocks.{rec.layer}.attn"
        group = query.shape[1] // key.shape[1]
        scores = query @ key.repeat_interleave(group, 1).transpose(-1, -2) * scaling
        above = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        scores = scores.masked_fill(above, -math.inf)
        assert torch.allclose(scores.softmax(-1), pattern, rtol=1e-12, atol=1e-14)
        rec.put(f"{prefix}.hook_attn_scores", scores)
        rec.put(f"{prefix}.hook_pattern", pattern)
        rec.put(f"{prefix}.hook_z", out)  # [batch, pos, head, d_head]
        return out, pattern

    def rotary_watched(q, k, cos, sin, **kwargs):
        assert cos.dtype == torch.float64
        q, k = rotary(q, k, cos, sin, **kwargs)
        rec.put(f"blocks.{rec.layer}.attn.hook_rot_q", q.transpose(1, 2))
        rec.put(f"blocks.{rec.layer}.attn.hook_rot_k", k.transpose(1, 2))
        return q, k

    module.eager_attention_forward = eager_watched
    if rotary is not None:
        module.apply_rotary_pos_emb = rotary_watched

    def undo():
        module.eager_attention_forward = eager
        if rotary is not None:
            module.apply_rotary_pos_emb = rotary

    return undo


def parts_of(model):
    """The modules of one family under common names; the only place that knows the families apart."""
    kind = model.config.model_type
    if kind == "gpt2":
        core = model.transformer
        blocks = [
            dict(ln1=b.ln_1, ln2=b.ln_2, attn=b.attn, mlp=b.mlp, block=b, pre=b.mlp.c_fc, post=b.mlp.c_proj, fused=b.attn.c_attn,
                 W_O=b.attn.c_proj.weight, b_O=b.attn.c_proj.bias)
            for b in core.h
        ]
        return dict(embed=core.wte, pos=core.wpe, blocks=blocks, ln_final=core.ln_f, file=modeling_gpt2)
    if kind == "gpt_neox":
        core = model.gpt_neox
        blocks = [
            dict(ln1=b.input_layernorm, ln2=b.post_attention_layernorm, attn=b.attention, mlp=b.mlp, block=b,
                 pre=b.mlp.dense_h_to_4h, post=b.mlp.dense_4h_to_h, fused=b.attention.query_key_value,
                 W_O=b.attention.dense.weight.T, b_O=b.attention.dense.bias)
            for b in core.layers
        ]
        return dict(embed=core.embed_in, blocks=blocks, ln_final=core.final_layer_norm, file=modeling_gpt_neox)
    core = model.model
    file = {"llama": modeling_llama, "qwen2": modeling_qwen2, "qwen3": modeling_qwen3}[kind]
    blocks = [
        dict(ln1=b.input_layernorm, ln2=b.post_attention_layernorm, attn=b.self_attn, mlp=b.mlp, block=b,
             pre=b.mlp.gate_proj, pre_linear=b.mlp.up_proj, post=b.mlp.down_proj,
             q=b.self_attn.q_proj, k=b.self_attn.k_proj, v=b.self_attn.v_proj,
             W_O=b.self_attn.o_proj.weight.T, b_O=b.self_attn.o_proj.bias)
        for b in core.layers
    ]
    return dict(embed=core.embed_tokens, blocks=blocks, ln_final=core.norm, file=file)


def record_block(rec, model, L, p):
    """Forward hooks of one block."""
    name = f"blocks.{L}"
    config = model.config
    n_heads = config.num_attention_heads
    d_head = getattr(config, "head_dim", None) or config.hidden_size // n_heads
    serial = getattr(config, "use_parallel_residual", False) is False

    def enter(_module, args, kwargs):
        rec.layer = L
        rec.put(f"{name}.hook_resid_pre", args[0] if args else kwargs["hidden_states"])

    p["block"].register_forward_pre_hook(enter, with_kwargs=True)
    rec.on(p["block"], lambda _a, out: rec.put(f"{name}.hook_resid_post", first(out)))
    record_norm(rec, p["ln1"], f"{name}.ln1")
    record_norm(rec, p["ln2"], f"{name}.ln2")
    if serial:
        rec.on(p["ln2"], lambda args, _o: rec.put(f"{name}.hook_resid_mid", args[0]))
    heads = lambda x: x.reshape(*x.shape[:-1], -1, d_head)
    if config.model_type == "gpt2":
        def fused(_a, out):
            for part, x in zip("qkv", out.split(config.n_embd, -1)):
                rec.put(f"{name}.attn.hook_{part}", heads(x))
        rec.on(p["fused"], fused)
    elif config.model_type == "gpt_neox":
        def fused(_a, out):
            for part, x in zip("qkv", out.view(*out.shape[:-1], n_heads, 3 * d_head).split(d_head, -1)):
                rec.put(f"{name}.attn.hook_{part}", x)
        rec.on(p["fused"], fused)
    else:
        for part in "qkv":
            rec.on(p[part], lambda _a, out, part=part: rec.put(f"{name}.attn.hook_{part}", heads(out)))
    if config.model_type == "qwen3":
        rec.on(p["attn"].q_norm, lambda _a, out: rec.put(f"{name}.attn.q_norm.hook_normalized", out))
        rec.on(p["attn"].k_norm, lambda _a, out: rec.put(f"{name}.attn.k_norm.hook_normalized", out))

    def attended(_a, out):
        W_O = p["W_O"].reshape(n_heads, d_head, -1)
        result = torch.einsum("bphd,hdm->bphm", rec.values[f"{name}.attn.hook_z"], W_O)
        b_O = 0 if p["b_O"] is None else p["b_O"]
        assert torch.allclose(result.sum(2) + b_O, first(out), rtol=1e-11, atol=1e-11)
        rec.put(f"{name}.attn.hook_result", result)
        rec.put(f"{name}.hook_attn_out", first(out))

    rec.on(p["attn"], attended)
    rec.on(p["pre"], lambda _a, out: rec.put(f"{name}.mlp.hook_pre", out))
    if "pre_linear" in p:
        rec.on(p["pre_linear"], lambda _a, out: rec.put(f"{name}.mlp.hook_pre_linear", out))
    rec.on(p["post"], lambda args, _o: rec.put(f"{name}.mlp.hook_post", args[0]))
    rec.on(p["mlp"], lambda _a, out: rec.put(f"{name}.hook_mlp_out", first(out)))


def run_with_hooks(model, tokens):
    """Values of every hook point for one prompt, without the batch axis."""
    rec = Recorder()
    parts = parts_of(model)
    for module in model.modules():
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
        getattr(module, "_forward_hooks_with_kwargs", {}).clear()
        getattr(module, "_forward_pre_hooks_with_kwargs", {}).clear()
    rec.on(parts["embed"], lambda _a, out: rec.put("hook_embed", out))
    if "pos" in parts:
        rec.on(parts["pos"], lambda _a, out: rec.put("hook_pos_embed", out.reshape(1, len(tokens), -1)))
    for L, p in enumerate(parts["blocks"]):
        record_block(rec, model, L, p)
    record_norm(rec, parts["ln_final"], "ln_final")
    undo = watch_attention(rec, parts["file"])
    try:
        with torch.no_grad():
            rec.put("logits", model(torch.tensor([tokens]), use_cache=False).logits)
    finally:
        undo()
    return {name: value[0].contiguous().numpy() for name, value in rec.values.items()}


def random_state(model, generator):
    """Weights of a size at which attention is peaked and every bias and gain matters."""
    state = {}
    for name, p in model.state_dict().items():
        noise = torch.randn(p.shape, generator=generator)
        if p.ndim == 1:
            norm = "ln" in name or "norm" in name
            state[name] = 1 + 0.3 * noise if norm and name.endswith("weight") else 0.3 * noise
        elif "wte" in name or "embed" in name or "wpe" in name:
            state[name] = 0.8 * noise
        else:
            fan_in = p.shape[0] if "c_" in name else p.shape[1]
            peaked = any(part in name for part in ("c_attn", "query_key_value", "q_proj", "k_proj"))
            state[name] = noise * (2.0 if peaked else 1.0) / math.sqrt(fan_in)
    return state


def write_checkpoint(directory, config, dtype, shards):
    directory.mkdir(exist_ok=True)
    for old in directory.iterdir():
        old.unlink()
    (directory / "config.json").write_text(json.dumps(dict(config, torch_dtype=dtype), indent=2) + "\n")
    seed = SEED + int(hashlib.sha256(directory.name.encode()).hexdigest()[:8], 16)
    generator = torch.Generator().manual_seed(seed)
    blank = AutoModelForCausalLM.from_config(transformers.AutoConfig.from_pretrained(directory))
    state = {k: v.to(DTYPES[dtype]).contiguous() for k, v in random_state(blank, generator).items()}
    if blank.config.tie_word_embeddings:
        state = {k: v for k, v in state.items() if k not in ("lm_head.weight", "embed_out.weight")}
    if "neox" in directory.name and "lm_head.weight" in state:
        state["embed_out.weight"] = state.pop("lm_head.weight")  # the name in every published Pythia file
    if directory.name == "gpt2":  # the layout of the published GPT-2: no prefix, causal-mask buffers
        state = {k.removeprefix("transformer."): v for k, v in state.items()}
        n = config["n_positions"]
        for L in range(config["n_layer"]):
            state[f"h.{L}.attn.bias"] = torch.ones(n, n).tril().reshape(1, 1, n, n)
    if shards == 1:
        safetensors.torch.save_file(state, directory / "model.safetensors", metadata={"format": "pt"})
        return seed
    names, where = sorted(state), {}
    for i in range(shards):
        file = f"model-{i + 1:05d}-of-{shards:05d}.safetensors"
        part = {k: state[k] for k in names[i::shards]}
        safetensors.torch.save_file(part, directory / file, metadata={"format": "pt"})
        where.update({k: file for k in part})
    size = sum(v.numel() * v.element_size() for v in state.values())
    index = {"metadata": {"total_size": size}, "weight_map": where}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")
    return seed


def save(values, path, header):
    assert all(v.flags["C_CONTIGUOUS"] for v in values.values())  # safetensors writes strided arrays wrongly
    safetensors.numpy.save_file(values, path, metadata={"golden": json.dumps(header)})


def provenance(**more):
    versions = dict(
        python=sys.version.split()[0], torch=torch.__version__, transformers=transformers.__version__,
        tokenizers=tokenizers.__version__, safetensors=safetensors.__version__, numpy=np.__version__,
    )
    return dict(
        format="heddle.golden.v1", producer="transformers", versions=versions, date=str(date.today()),
        remake="python test/golden/models/make.py", **more,
    )


def make_model(name):
    config, dtype, shards = MODELS[name]
    directory = HERE / name
    seed = write_checkpoint(directory, config, dtype, shards)
    model, info = AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float64, attn_implementation="eager", output_loading_info=True,
    )
    assert not info["missing_keys"] and not info["mismatched_keys"], info
    model.eval()
    values, uniform = {}, []
    for i, tokens in enumerate(PROMPTS):
        values[f"p{i}/tokens"] = np.array(tokens, dtype=np.int64)
        for hook, value in run_with_hooks(model, tokens).items():
            values[f"p{i}/{hook}"] = value
            assert not np.isnan(value).any(), hook
            if hook.endswith("pattern"):
                uniform.append(value[:, -1].max(-1).mean() * len(tokens))
    assert np.mean(uniform) > 1.3, f"{name}: attention is nearly uniform"
    header = provenance(
        model=name, seed=seed, dtype="float64", file_dtype=dtype,
        formula="transformers eager attention in float64, its float32 islands lifted",
        peakedness=round(float(np.mean(uniform)), 2),
    )
    save(values, directory / "values.safetensors", header)
    total = sum(f.stat().st_size for f in directory.iterdir())
    print(f"{name}: {len(values)} values, {total // 1024} KiB, peakedness {header['peakedness']}")


def make_fields():
    """Every field of each config class with its default: what the tables in libs/models must cover."""
    table = {}
    for kind in ("gpt2", "gpt_neox", "llama", "qwen2", "qwen3"):
        cls = transformers.models.auto.configuration_auto.CONFIG_MAPPING[kind]
        fields = {f.name: None if f.default is dataclasses.MISSING else f.default for f in dataclasses.fields(cls)}
        table[kind] = dict(class_=cls.__name__, fields=fields, attribute_map=dict(cls.attribute_map))
    text = json.dumps(dict(provenance=provenance(), families=table), indent=1, default=str)
    (HERE / "fields.json").write_text(text + "\n")
    print("fields:", {k: len(v["fields"]) for k, v in table.items()})


def real_prompts(tokenizer):
    texts = ["When Mary and John went to the store, John gave a drink to", "1, 2, 3, 4, 5, 6, 7,"]
    return [(t, tokenizer.encode(t, add_special_tokens=False).ids) for t in texts]


def make_real():
    """A few points of a real checkpoint, small enough to commit: residuals at the last token, logits, greedy tokens."""
    directory = os.environ.get("HEDDLE_REAL_MODEL")
    if not directory:
        print("real: skipped, HEDDLE_REAL_MODEL is not set")
        return
    directory = Path(directory)
    digest = hashlib.sha256((directory / "model.safetensors").read_bytes()).hexdigest()
    tokenizer = tokenizers.Tokenizer.from_file(str(directory / "tokenizer.json"))
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float64, attn_implementation="eager").eval()
    n = model.config.num_hidden_layers
    values, greedy = {}, []
    for i, (text, tokens) in enumerate(real_prompts(tokenizer)):
        got = run_with_hooks(model, tokens)
        values[f"p{i}/tokens"] = np.array(tokens, dtype=np.int64)
        for L in (0, n // 2, n - 1):
            values[f"p{i}/blocks.{L}.hook_resid_post"] = got[f"blocks.{L}.hook_resid_post"][-1]
            values[f"p{i}/blocks.{L}.attn.hook_pattern"] = got[f"blocks.{L}.attn.hook_pattern"][:, -1].copy()
        values[f"p{i}/logits_every_64th"] = got["logits"][-1][::64].copy()
        values[f"p{i}/logits_top"] = np.sort(got["logits"][-1])[::-1][:32].copy()
        ids, more = list(tokens), []
        for step in range(8):
            with torch.no_grad():
                logits = got["logits"][-1] if step == 0 else unhooked(model, ids)
            more.append(int(np.argmax(logits)))
            ids.append(more[-1])
        values[f"p{i}/greedy"] = np.array(more, dtype=np.int64)
        greedy.append(tokenizer.decode(more))
    header = provenance(model="real", sha256=digest, dtype="float64", last_position_only=True)
    save(values, HERE / "real.safetensors", header)
    print("real:", digest[:12], greedy)


def unhooked(model, ids):
    for module in model.modules():
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
    return model(torch.tensor([ids]), use_cache=False).logits[0, -1].numpy()


def main():
    lift()
    wanted = sys.argv[1:] or [*MODELS, "fields", "tokenizers", "real"]
    for name in wanted:
        if name == "fields":
            make_fields()
        elif name == "tokenizers":
            import make_tokenizers

            make_tokenizers.main(HERE / "tokenizers", provenance)
        elif name == "real":
            make_real()
        else:
            make_model(name)


if __name__ == "__main__":
    main()
