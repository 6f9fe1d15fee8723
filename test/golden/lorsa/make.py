#!/usr/bin/env python3
"""Golden values of the published Lorsa format, by an independent implementation.

Needs Python with torch, safetensors and numpy; imports nothing of this repository.

    python make.py

For each variant: a checkpoint with random numbers, written as the reference library writes it (every parameter and every
buffer that its strict loader asks for), random input and target, and what the reference's forward pass gives on them,
written in torch from the published description and run in float64 on the float32 numbers of the file.
"""

import json
import math
import sys
from datetime import date
from pathlib import Path

import numpy
import safetensors
import torch
from safetensors.torch import save_file

HERE = Path(__file__).parent
SEED = 20261122
D, F, Q, H, N = 8, 24, 2, 6, 10  # d_model, rank-one heads, shared heads, d_qk_head, n_ctx
BATCH, POS = 2, 9
IN, OUT = "blocks.1.ln1.hook_normalized", "blocks.1.hook_attn_out"

BASE = {
    "sae_type": "lorsa", "d_model": D, "expansion_factor": F / D, "use_decoder_bias": True, "act_fn": "topk",
    "norm_activation": "dataset-wise", "sparsity_include_decoder_norm": True, "top_k": 4, "use_triton_kernel": False,
    "sparsity_threshold_for_triton_spmm_kernel": 0.996, "jumprelu_threshold_window": 2.0, "hook_point_in": IN,
    "hook_point_out": OUT, "n_qk_heads": Q, "d_qk_head": H, "positional_embedding_type": "rotary", "rotary_dim": H,
    "rotary_base": 10000, "rotary_adjacent_pairs": False, "rotary_scale": 1, "use_NTK_by_parts_rope": False,
    "NTK_by_parts_factor": 1.0, "NTK_by_parts_low_freq_factor": 1.0, "NTK_by_parts_high_freq_factor": 1.0,
    "old_context_len": 2048, "n_ctx": N, "attn_scale": None, "use_post_qk_ln": False, "normalization_type": None,
    "eps": 1e-6,
}

NTK = {"use_NTK_by_parts_rope": True, "NTK_by_parts_factor": 8.0, "NTK_by_parts_low_freq_factor": 1.0,
       "NTK_by_parts_high_freq_factor": 4.0, "old_context_len": 32, "rotary_base": 500}

VARIANTS = {
    "topk": {},
    "adjacent-partial": {"rotary_adjacent_pairs": True, "rotary_dim": 4, "attn_scale": 3.0},
    "ntk": NTK,
    "qk-norm": {"use_post_qk_ln": True, "normalization_type": "RMS", "eps": 1e-5},
    "no-positions": {"positional_embedding_type": "none", "use_decoder_bias": False},
    "relu": {"act_fn": "relu"},
    "jumprelu": {"act_fn": "jumprelu"},
    "jumprelu-plain": {"act_fn": "jumprelu", "sparsity_include_decoder_norm": False},
    "batchtopk": {"act_fn": "batchtopk"},
    "no-decoder-norm": {"sparsity_include_decoder_norm": False},
    "token-wise": {"norm_activation": "token-wise"},
    "batch-wise": {"norm_activation": "batch-wise"},
    "inference": {"norm_activation": "inference"},
    "bf16": {"norm_activation": "inference", "dtype": torch.bfloat16},
}


def rotary_tables(cfg):
    n = cfg["rotary_dim"]
    if cfg["use_NTK_by_parts_rope"]:
        inv = 1.0 / (cfg["rotary_base"] ** (torch.arange(0, n, 2).float() / n))
        low, high = cfg["NTK_by_parts_low_freq_factor"], cfg["NTK_by_parts_high_freq_factor"]
        wave = 2 * math.pi / inv
        old = cfg["old_context_len"]
        smooth = (old / wave - low) / (high - low)
        between = (1 - smooth) * inv / cfg["NTK_by_parts_factor"] + smooth * inv
        scaled = torch.where(wave > old / low, inv / cfg["NTK_by_parts_factor"], between)
        freq = 1 / torch.where(wave < old / high, inv, scaled)
    else:
        freq = cfg["rotary_base"] ** (torch.arange(n // 2).float() / (n / 2))
    freq = freq.repeat_interleave(2) if cfg["rotary_adjacent_pairs"] else freq.repeat(2)
    angles = torch.arange(cfg["n_ctx"]).float()[:, None] / freq[None, :]
    return angles.sin(), angles.cos()


def checkpoint(cfg, dtype, g):
    def draw(*shape, scale=1.0):
        return (torch.randn(*shape, generator=g) * scale).to(dtype)

    w = {
        "W_Q": draw(Q, D, H, scale=0.5), "W_K": draw(Q, D, H, scale=0.5), "b_Q": draw(Q, H), "b_K": draw(Q, H),
        "W_V": draw(F, D), "b_V": draw(F, scale=0.5), "W_O": draw(F, D),
        "mask": torch.tril(torch.ones(N, N)).bool(), "IGNORE": torch.tensor(-torch.inf),
        f"dataset_average_activation_norm.{IN}": torch.tensor(1.75).to(dtype),
        f"dataset_average_activation_norm.{OUT}": torch.tensor(0.375).to(dtype),
    }
    if cfg["use_decoder_bias"]:
        w["b_D"] = draw(D)
    if cfg["use_post_qk_ln"]:
        w["ln_q.w"], w["ln_k.w"] = 1 + draw(Q, H, scale=0.3), 1 + draw(Q, H, scale=0.3)
    if cfg["act_fn"] == "jumprelu":
        w["activation_function.log_jumprelu_threshold"] = draw(F, scale=0.5)
    if cfg["positional_embedding_type"] == "rotary":
        sin, cos = rotary_tables(cfg)
        w["rotary_sin"], w["rotary_cos"] = sin.to(dtype), cos.to(dtype)
    return w


def factor(cfg, w, x, hook):
    root = math.sqrt(D)
    mode = cfg["norm_activation"]
    if mode == "token-wise":
        return root / x.norm(dim=-1, keepdim=True)
    if mode == "batch-wise":
        return root / x.norm(dim=-1, keepdim=True).mean(dim=-2, keepdim=True)
    if mode == "dataset-wise":
        return root / w[f"dataset_average_activation_norm.{hook}"]
    return torch.ones(())


def rotated(cfg, sin, cos, t):
    n = cfg["rotary_dim"]
    turn, rest = t[..., :n], t[..., n:]
    flip = torch.empty_like(turn)
    if cfg["rotary_adjacent_pairs"]:
        flip[..., ::2], flip[..., 1::2] = -turn[..., 1::2], turn[..., ::2]
    else:
        flip[..., : n // 2], flip[..., n // 2 :] = -turn[..., n // 2 :], turn[..., : n // 2]
    pos = t.shape[1]
    return torch.cat([turn * cos[None, :pos, None] + flip * sin[None, :pos, None], rest], dim=-1)


def activate(cfg, w, p):
    positive = p * (p > 0)
    if cfg["act_fn"] == "relu":
        return positive
    if cfg["act_fn"] == "jumprelu":
        return p * (p > w["activation_function.log_jumprelu_threshold"].exp())
    if cfg["act_fn"] == "topk":
        values, indices = positive.topk(cfg["top_k"], dim=-1)
        return torch.zeros_like(p).scatter(-1, indices, values)
    flat = positive.flatten()
    values, indices = flat.topk(cfg["top_k"] * p.shape[0] * p.shape[1])
    return torch.zeros_like(flat).scatter(0, indices, values).view_as(p)


def forward(cfg, stored, x, y):
    w = {name: t if t.dtype == torch.bool else t.double() for name, t in stored.items()}
    if cfg["positional_embedding_type"] == "rotary":
        # What the angles are, not how float32 rounded them.
        sin, cos = (t.double() for t in rotary_tables(cfg))
    x, y = x.double(), y.double()
    xs = x * factor(cfg, w, x, IN)
    q = torch.einsum("bsd,Qdq->bsQq", xs, w["W_Q"]) + w["b_Q"]
    k = torch.einsum("bsd,Qdq->bsQq", xs, w["W_K"]) + w["b_K"]
    v = torch.einsum("bsd,Vd->bsV", xs, w["W_V"]) + w["b_V"]
    if cfg["use_post_qk_ln"]:
        rms = lambda t: (t.pow(2).mean(-1, keepdim=True) + cfg["eps"]).sqrt()
        q, k = q / rms(q) * w["ln_q.w"], k / rms(k) * w["ln_k.w"]
    if cfg["positional_embedding_type"] == "rotary":
        q, k = rotated(cfg, sin, cos, q), rotated(cfg, sin, cos, k)
    scale = cfg["attn_scale"] if cfg["attn_scale"] is not None else math.sqrt(H)
    scores = torch.einsum("bsQq,btQq->bQst", q, k) / scale
    pattern = torch.where(w["mask"][:POS, :POS], scores, w["IGNORE"]).softmax(-1)
    pre = torch.einsum("bQst,btQg->bsQg", pattern, v.view(BATCH, POS, Q, F // Q)).flatten(2)
    norm = w["W_O"].norm(dim=1) if cfg["sparsity_include_decoder_norm"] else torch.ones(F).double()
    acts = activate(cfg, w, pre * norm) / norm
    out = acts @ w["W_O"] + w.get("b_D", torch.zeros(D).double())
    return {"pattern": pattern, "feature_acts": acts, "reconstruction": out / factor(cfg, w, y, OUT)}


def main():
    header = {
        "producer": "make.py", "torch": torch.__version__, "safetensors": safetensors.__version__,
        "numpy": numpy.__version__, "seed": str(SEED), "dtype": "float64", "date": str(date.today()),
        "formula": "Lorsa forward of the published format", "command": "python make.py",
    }
    for index, (name, changes) in enumerate(VARIANTS.items()):
        changes = dict(changes)
        dtype = changes.pop("dtype", torch.float32)
        cfg = {**BASE, **changes}
        g = torch.Generator().manual_seed(SEED + index)
        folder = HERE / name
        folder.mkdir(exist_ok=True)
        weights = checkpoint(cfg, dtype, g)
        x, y = torch.randn(BATCH, POS, D, generator=g), torch.randn(BATCH, POS, D, generator=g)
        (folder / "config.json").write_text(json.dumps(cfg, indent=4))
        save_file(weights, folder / "sae_weights.safetensors", metadata={"version": "2.0.0"})
        values = {"x": x, "y": y, **forward(cfg, weights, x, y)}
        save_file({k: v.contiguous() for k, v in values.items()}, folder / "values.safetensors", metadata=header)
        print(name, int((values["feature_acts"] > 0).sum()), "active")


if __name__ == "__main__":
    sys.exit(main())
