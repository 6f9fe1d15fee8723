#!/usr/bin/env python3
"""Gradients of two scalars by hook points, by PyTorch's autograd on transformers' models in float64.

Needs what make.py needs, and the models that it wrote; imports nothing of this repository but make.py.

    python make_gradients.py          remakes gradients.safetensors (a few seconds)

One model of each family. Values are transformers' own tensors on the way of the computation (`retain_grad`); queries, keys
and values, which no module returns by themselves, are cut out and put back by forward hooks.
"""

import numpy as np
import torch
from transformers import AutoModelForCausalLM

import make

MODELS = ["gpt2", "neox-parallel", "llama3", "qwen2", "qwen3"]
TOKENS = make.PROMPTS[0]
# In the grammar of `heddle run --gradient`, and as PyTorch says them.
TARGETS = {
    "logit[-1, id:5] - logit[-1, id:9]": lambda x: x[-1, 5] - x[-1, 9],
    "0.5 * logit[1, id:3] - 2 * logprob[-2, id:7]": lambda x: 0.5 * x[1, 3] - 2 * x[-2].log_softmax(-1)[7],
}


class GradientRecorder(make.Recorder):
    """Keeps the tensors themselves, and their gradients. What is computed beside the model's own way never gets one."""

    def put(self, name, value):
        value.retain_grad()
        self.values[name] = value


def through_heads(rec, model, L, p):
    """q, k and v as tensors of their own, [batch, pos, head, d_head]."""
    config = model.config
    d_head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads

    def keep(part, x):
        x = x.clone()
        rec.put(f"blocks.{L}.attn.hook_{part}", x)
        return x

    if config.model_type == "gpt2":
        def fused(_m, _a, out):
            parts = [x.reshape(*x.shape[:-1], -1, d_head) for x in out.split(config.n_embd, -1)]
            return torch.cat([keep(part, x).flatten(-2) for part, x in zip("qkv", parts)], -1)
        p["fused"].register_forward_hook(fused)
    elif config.model_type == "gpt_neox":
        def fused(_m, _a, out):
            parts = out.view(*out.shape[:-1], -1, 3 * d_head).split(d_head, -1)
            return torch.cat([keep(part, x) for part, x in zip("qkv", parts)], -1).flatten(-2)
        p["fused"].register_forward_hook(fused)
    else:
        for part in "qkv":
            def one(_m, _a, out, part=part):
                return keep(part, out.reshape(*out.shape[:-1], -1, d_head)).flatten(-2)
            p[part].register_forward_hook(one)


def gradients(model, scalar):
    rec = GradientRecorder()
    parts = make.parts_of(model)
    for module in model.modules():
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
        getattr(module, "_forward_hooks_with_kwargs", {}).clear()
        getattr(module, "_forward_pre_hooks_with_kwargs", {}).clear()
    rec.on(parts["embed"], lambda _a, out: rec.put("hook_embed", out))
    for L, p in enumerate(parts["blocks"]):
        make.record_block(rec, model, L, p)
        through_heads(rec, model, L, p)
    make.record_norm(rec, parts["ln_final"], "ln_final")
    undo = make.watch_attention(rec, parts["file"])
    try:
        scalar(model(torch.tensor([TOKENS]), use_cache=False).logits[0]).backward()
    finally:
        undo()
    wanted = lambda name: name.startswith(("blocks.0.", "hook_embed", "ln_final."))
    return {
        name: value.grad[0].contiguous().numpy()
        for name, value in rec.values.items()
        if value.grad is not None and wanted(name)
    }


def main():
    make.lift()
    values = {"tokens": np.array(TOKENS, dtype=np.int64)}
    for name in MODELS:
        model = AutoModelForCausalLM.from_pretrained(
            make.HERE / name, dtype=torch.float64, attn_implementation="eager",
        ).eval()
        for i, scalar in enumerate(TARGETS.values()):
            found = gradients(model, scalar)
            assert len(found) >= 12 and all(np.abs(v).max() > 0 for v in found.values()), (name, sorted(found))
            values.update({f"{name}/{i}/{hook}": value for hook, value in found.items()})
        print(f"{name}: {sorted(found)}")
    header = make.provenance(targets=list(TARGETS), dtype="float64", formula="torch.autograd through transformers' eager attention")
    header["remake"] = "python test/golden/models/make_gradients.py"
    make.save(values, make.HERE / "gradients.safetensors", header)


if __name__ == "__main__":
    main()
