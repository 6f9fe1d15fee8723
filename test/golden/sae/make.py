#!/usr/bin/env python3
"""Golden values of a TopK sparse autoencoder's training, by PyTorch's autograd and optimiser.

Needs Python with torch, safetensors and numpy; imports nothing of this repository.

    python make.py

Random weights and targets; the forward pass, the gradients and three steps of clipping and Adam, all in float64. Ranking
includes the decoder's norm; negative pre-activations never win; masked tokens count in no loss.
"""

from datetime import date
from pathlib import Path

import safetensors
import torch
from safetensors.torch import save_file

HERE = Path(__file__).parent
SEED, D, F, K, TOKENS, STEPS = 20261122, 8, 20, 5, 12, 3
RATE, CLIP = 3e-3, 0.5

torch.manual_seed(SEED)
torch.set_default_dtype(torch.float64)
start = {
    "W_enc": torch.randn(D, F) * 0.5, "b_enc": torch.randn(F) * 0.3, "W_dec": torch.randn(F, D) * 0.5,
    "b_dec": torch.randn(D) * 0.2,
}
y = torch.randn(STEPS, TOKENS, D)
valid = (torch.rand(STEPS, TOKENS) > 0.25).double()


def forward(p, rows):
    pre = (rows - p["b_dec"]) @ p["W_enc"] + p["b_enc"]
    rank = torch.relu(pre * p["W_dec"].norm(dim=1)).detach()
    chosen = torch.zeros_like(pre).scatter_(1, rank.topk(K, dim=1).indices, 1.0) * (rank > 0)
    acts = pre * chosen
    return acts, acts @ p["W_dec"] + p["b_dec"]


values = {f"start.{name}": t for name, t in start.items()} | {"y": y, "valid": valid}
p = {name: t.clone().requires_grad_() for name, t in start.items()}
optimiser = torch.optim.Adam(p.values(), lr=RATE)
for step in range(STEPS):
    acts, out = forward(p, y[step])
    loss = (((out - y[step]) ** 2).sum(1) * valid[step]).sum() / valid[step].sum()
    optimiser.zero_grad()
    loss.backward()
    values[f"{step}.loss"] = loss.detach()
    if step == 0:
        values["feature_acts"], values["reconstruction"] = acts.detach(), out.detach()
        values |= {f"gradient.{name}": t.grad.clone() for name, t in p.items()}
    values[f"{step}.norm"] = torch.nn.utils.clip_grad_norm_(list(p.values()), CLIP)
    optimiser.step()
values |= {f"end.{name}": t.detach() for name, t in p.items()}
header = {
    "producer": "test/golden/sae/make.py", "torch": torch.__version__, "safetensors": safetensors.__version__,
    "seed": str(SEED), "dtype": "float64", "date": str(date.today()), "command": "python make.py",
    "k": str(K), "learning_rate": str(RATE), "clip_norm": str(CLIP),
}
save_file({name: t.contiguous() for name, t in values.items()}, HERE / "values.safetensors", metadata=header)
