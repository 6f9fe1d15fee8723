"""Expected values for libs/interp, from the formulas alone: numpy with dense matrices; imports nothing of Heddle.

    python test/golden/interp/make.py        # needs Python with numpy and safetensors

Makes two random four-layer hosts (`gpt2`: LayerNorm, learned positions, biases everywhere; `llama`: RMSNorm, rotary half-split,
grouped keys and values, no biases), runs them, and writes weights, activations and what the methods must give: ACC++ graphs,
SAD slices and upstream contributions, attribution terms, contrastive covariance. Here every matrix is formed that the library avoids: Omega,
the maps M_d and M_s, the offsets c_d and c_s.
"""

import json
import pathlib
import platform

import numpy as np
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
SEED = 20261123
L, H, D, DH, DM, V, N = 4, 4, 20, 4, 40, 13, 9
EPS = 1e-5
TAU_SHARE, IG_STEPS = 2.5, 64


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def rope(position, theta=100.0):
    """R with (R x)_i = x_i cos - x_{i+n/2} sin: acts on column vectors."""
    half = DH // 2
    R = np.zeros((DH, DH))
    for i in range(half):
        a = position * theta ** (-2 * i / DH)
        R[i, i] = R[i + half, i + half] = np.cos(a)
        R[i, i + half], R[i + half, i] = -np.sin(a), np.sin(a)
    return R


def make_host(kind, rng):
    ln = kind == "gpt2"
    kv = H if ln else H // 2
    w = {"W_E": rng.normal(size=(V, D)), "W_U": rng.normal(size=(D, V)) * 0.7}
    if ln:
        w["W_pos"] = rng.normal(size=(N, D)) * 0.5
    gain = lambda: 1 + 0.2 * rng.normal(size=D)
    for l in range(L):
        p = f"{l}."
        for name, heads in (("Q", H), ("K", kv), ("V", kv)):
            w[p + f"W_{name}"] = rng.normal(size=(heads, D, DH)) * 0.6
            if ln:
                w[p + f"b_{name}"] = rng.normal(size=(heads, DH)) * 0.3
        w[p + "W_O"] = rng.normal(size=(H, DH, D)) * 0.7
        w[p + "ln1.w"], w[p + "ln2.w"] = gain(), gain()
        if ln:
            w[p + "b_O"] = rng.normal(size=D) * 0.3
            w[p + "ln1.b"], w[p + "ln2.b"] = rng.normal(size=D) * 0.3, rng.normal(size=D) * 0.3
        w[p + "W_in"], w[p + "W_out"] = rng.normal(size=(D, DM)) * 0.3, rng.normal(size=(DM, D)) * 0.15
    w["ln_final.w"] = gain()
    if ln:
        w["ln_final.b"] = rng.normal(size=D) * 0.1
    return w


def norm(x, w, name, ln):
    c = x - x.mean(-1, keepdims=True) if ln else x
    y = c / np.sqrt((c**2).mean(-1, keepdims=True) + EPS) * w[name + ".w"]
    return y + w[name + ".b"] if ln else y


def forward(w, tokens, ln):
    kv = w["0.W_K"].shape[0]
    a = {"embed": w["W_E"][tokens]}
    r = a["embed"].copy()
    if ln:
        a["pos_embed"] = w["W_pos"][: len(tokens)]
        r = r + a["pos_embed"]
    n = len(tokens)
    for l in range(L):
        p = f"{l}."
        a[p + "resid_pre"] = r
        x = norm(r, w, p + "ln1", ln)
        z = {}
        for name in "QKV":
            z[name] = np.einsum("td,hde->the", x, w[p + f"W_{name}"])
            if ln:
                z[name] = z[name] + w[p + f"b_{name}"]
        if not ln:
            for t in range(n):
                z["Q"][t] = z["Q"][t] @ rope(t).T
                z["K"][t] = z["K"][t] @ rope(t).T
        rep = lambda y: np.repeat(y, H // kv, axis=1)
        scores = np.einsum("the,she->hts", z["Q"], rep(z["K"])) / np.sqrt(DH)
        scores = np.where(np.tril(np.ones((n, n), bool)), scores, -np.inf)
        A = softmax(scores)
        out = np.einsum("hts,she,hed->td", A, rep(z["V"]), w[p + "W_O"]) + (w[p + "b_O"] if ln else 0)
        a[p + "v"], a[p + "attn_scores"], a[p + "pattern"] = z["V"], scores, A
        mid = r + out
        a[p + "mlp_out"] = np.tanh(norm(mid, w, p + "ln2", ln) @ w[p + "W_in"]) @ w[p + "W_out"]
        r = mid + a[p + "mlp_out"]
    a["resid_final"] = r
    a["logits"] = norm(r, w, "ln_final", ln) @ w["W_U"]
    return a


def process(w, ln):
    """0.4 of the method's description, in its order."""
    kv = w["0.W_K"].shape[0]
    P = {}
    for l in range(L):
        p = f"{l}."
        for name in "QKV":
            W = w[p + f"W_{name}"]
            b = w[p + f"b_{name}"] if ln else np.zeros(W.shape[::2])
            if ln:
                b = b + np.einsum("d,hde->he", w[p + "ln1.b"], W)
            W = W * w[p + "ln1.w"][None, :, None]
            if ln:
                W = W - W.mean(1, keepdims=True)
            reps = H // W.shape[0]
            P[p + f"W_{name}"], P[p + f"b_{name}"] = np.repeat(W, reps, 0), np.repeat(b, reps, 0)
        b_O = (w[p + "b_O"] if ln else np.zeros(D)) + np.einsum("he,hed->d", P[p + "b_V"], w[p + "W_O"])
        W_O = w[p + "W_O"]
        if ln:
            W_O, b_O = W_O - W_O.mean(-1, keepdims=True), b_O - b_O.mean()
        P[p + "W_O"], P[p + "b_O"] = W_O, b_O
    W_U = w["W_U"] * w["ln_final.w"][:, None]
    b_U = w["ln_final.b"] @ w["W_U"] if ln else np.zeros(V)
    if ln:
        W_U = W_U - W_U.mean(0, keepdims=True)
    P["raw_W_U"], P["raw_b_U"] = W_U, b_U
    P["W_U"], P["b_U"] = W_U - W_U.mean(1, keepdims=True), b_U - b_U.mean()
    return P


class Prompt:
    def __init__(self, w, a, P, ln):
        self.w, self.a, self.P, self.ln = w, a, P, ln
        self.n = a["embed"].shape[0]

    def c(self, x):
        return x - x.mean(-1, keepdims=True) if self.ln else x

    def resid(self, l):
        return self.c(self.a["resid_final"] if l == L else self.a[f"{l}.resid_pre"])

    def scale(self, l):
        return np.sqrt((self.resid(l) ** 2).mean(-1) + EPS)

    def parts(self, l):
        """Everything that writes before layer l: (kind, layer, head, token) -> [position, d_model]."""
        out = {}
        e = self.a["embed"] + (self.a["pos_embed"] if self.ln else 0)
        out["embedding", 0, None, None] = self.c(e)
        for u in range(l):
            p = f"{u}."
            v = np.repeat(self.a[p + "v"], H // self.a[p + "v"].shape[1], 1) - self.P[p + "b_V"][None]
            for h in range(H):
                wr = v[:, h] @ self.P[p + "W_O"][h]
                for j in range(self.n):
                    out["head", u, h, j] = self.a[p + "pattern"][h][:, j : j + 1] * wr[j][None]
            out["mlp", u, None, None] = self.c(self.a[p + "mlp_out"])
            out["attn_bias", u, None, None] = np.repeat(self.P[p + "b_O"][None], self.n, 0)
        assert np.allclose(sum(out.values()), self.resid(l), atol=1e-11)
        return out


def accpp_side(pr, l, h, d, s, side, tau):
    P, p = pr.P, f"{l}."
    W_Q, W_K, b_Q, b_K = (P[p + k][h] for k in ("W_Q", "W_K", "b_Q", "b_K"))
    Qp, Kp = np.linalg.pinv(W_Q), np.linalg.pinv(W_K)
    U, S, Vt = np.linalg.svd(W_Q @ W_K.T)
    U, S, Vt = U[:, :DH], S[:DH], Vt[:DH]
    R = [np.eye(DH) if pr.ln else rope(t) for t in range(d + 1)]
    M_d = W_Q @ R[d].T @ Qp
    M_s = [Kp.T @ R[t] @ W_K.T for t in range(d + 1)]
    c_d, c_s = b_Q @ Qp, b_K @ Kp
    x = pr.resid(l) / pr.scale(l)[:, None]
    whole_q = ((x[d] + c_d) @ M_d) @ U * S
    whole_k = np.array([Vt @ (M_s[t] @ (x[t] + c_s)) for t in range(d + 1)])
    names, rows = [], []
    parts = {k: y / pr.scale(l)[:, None] for k, y in pr.parts(l).items()}
    parts["bias_offset", 0, None, None] = np.repeat((c_d if side == "dest" else c_s)[None], pr.n, 0)
    for (kind, u, hh, j), y in parts.items():
        at = d if side == "dest" else s
        token = at if j is None else j
        if j is not None and j > d:
            continue
        if side == "dest":
            if token > d:
                continue
            X = ((y[d] @ M_d) @ U * S)[:, None] * whole_k.T
        else:
            X = whole_q[:, None] * np.array([Vt @ (M_s[t] @ y[t]) for t in range(d + 1)]).T
        for k in range(DH):
            names.append((kind, u, hh, token, k))
            rows.append(X[k] / np.sqrt(DH))
    X = np.array(rows)
    T = X.sum(0)
    assert np.allclose(T, pr.a[p + "attn_scores"][h, d, : d + 1], atol=1e-9), (l, h, d, s)
    alphas = np.linspace(0, 1, IG_STEPS + 1)
    paths = softmax(alphas[:, None] * T[None])
    f = (X[:, [s]] - X @ paths.T) * paths[:, s][None]
    ig = np.trapezoid(f, alphas, axis=1)
    order = np.argsort(-ig, kind="stable")
    alive, prev = X.copy(), softmax(T)[s]
    removed = {}
    for i in order:
        if prev < tau:
            break
        alive[i] = 0
        now = softmax(alive.sum(0))[s]
        kind, u, hh, token, k = names[i]
        drop, ks = removed.setdefault((kind, u, hh, token), [0.0, []])
        removed[kind, u, hh, token][0] += prev - now
        ks.append(k)
        prev = now
    assert prev < tau
    return removed


def node_id(kind, u, hh, dest, src):
    if kind == "head":
        return f"{u}.{hh}@{dest}>{src}"
    return f"{kind}@{dest}" if kind in ("embedding", "bias_offset") else f"{kind}{u}@{dest}"


def accpp(pr, seeds, position, threshold):
    edges, done = [], set()

    def trace(l, h, d, s):
        if (l, h, d, s) in done:
            return
        done.add((l, h, d, s))
        tau = min(1, TAU_SHARE / (d + 1)) if threshold is None else threshold
        if l == 0 or d == 0 or pr.a[f"{l}.pattern"][h, d, s] < tau:
            return
        for side, at in (("dest", d), ("src", s)):
            for (kind, u, hh, token), (drop, ks) in accpp_side(pr, l, h, d, s, side, tau).items():
                if token > at:
                    continue
                edges.append([node_id(kind, u, hh, at, token), node_id("head", l, h, d, s), side, drop, ks])
                if kind == "head":
                    trace(u, hh, at, token)

    for (kind, u, hh, token), weight in seeds.items():
        edges.append([node_id(kind, u, hh, position, token), "root", "seed", weight, []])
        if kind == "head":
            trace(u, hh, position, token)
    return edges


def shares(pr, position):
    out = {}
    for (kind, u, hh, j), y in pr.parts(L).items():
        if j is None or j <= position:
            out[kind, u, hh, position if j is None else j] = y[position] / pr.scale(L)[position]
    return out


def logit_seeds(pr, position, target, versus):
    W = pr.P["W_U"]
    direction = W[:, target] - (W[:, versus] if versus is not None else 0)
    c = {k: y @ direction for k, y in shares(pr, position).items()}
    total = sum(c.values())
    if total <= 0:
        return {}
    ordered = np.sort(np.array(list(c.values())))[::-1]
    above = np.where(np.cumsum(ordered) > total)[0]
    cutoff = ordered[above[0]] if len(above) else ordered[-1]
    cutoff = min(cutoff, total / 2)
    return {k: x for k, x in sorted(c.items(), key=lambda i: -i[1]) if x >= cutoff}


def probability_seeds(pr, position, target):
    W, b = pr.P["W_U"], pr.P["b_U"]
    sh = shares(pr, position)
    z = sum(sh.values()) @ W
    J = lambda y: float(np.log(softmax(y + b))[target])
    alphas = np.linspace(0, 1, IG_STEPS + 1)
    onehot = np.eye(V)[target]
    g = np.array([onehot - softmax(al * z + b) for al in alphas])
    ig = {k: float(np.trapezoid(g @ (y @ W), alphas)) for k, y in sh.items()}
    left, seeds = z.copy(), {}
    for k, x in sorted(ig.items(), key=lambda i: -i[1]):
        if x <= 0 or J(z) - J(left) >= 0.8 * (J(z) - J(0 * z)):
            break
        left = left - sh[k] @ W
        seeds[k] = x
    return seeds


def sad_pair(pr, l, h, d, s):
    """The augmented matrix as written, one (dest, src) pair; without rotary."""
    P, p = pr.P, f"{l}."
    W_Q, W_K, b_Q, b_K = (P[p + k][h] for k in ("W_Q", "W_K", "b_Q", "b_K"))
    Om = np.block([[W_Q @ W_K.T, (W_Q @ b_K)[:, None]], [(b_Q @ W_K.T)[None], np.array([[b_Q @ b_K]])]])
    U, S, Vt = np.linalg.svd(Om)
    U, S, Vt = U[:, :DH], S[:DH], Vt[:DH]
    x = pr.resid(l) / pr.scale(l)[:, None]
    xd, xs = np.append(x[d], 1), np.append(x[s], 1)
    c = (xd @ U) * S * (Vt @ xs)
    order = np.argsort(-c) if c.sum() > 0 else np.argsort(c)
    ratio = np.cumsum(c[order]) / c.sum()
    hit = np.where(ratio > 1.0 + 1e-12)[0]
    keep = order[: hit[0] + 1] if len(hit) else order
    up = {}
    for side, t, B in (("src", s, Vt.T), ("dest", d, U)):
        for mode, one in (("clean", 0.0), ("compatible", 1.0)):
            for u in range(l):
                q = f"{u}."
                v = np.repeat(pr.a[q + "v"], H // pr.a[q + "v"].shape[1], 1) - P[q + "b_V"][None]
                for hh in range(H):
                    o = pr.a[q + "pattern"][hh, t] @ v[:, hh] @ P[q + "W_O"][hh]
                    w = sum(np.sign(xd @ U[:, k]) * np.sqrt(S[k]) * (B[:, k] @ np.append(o, one)) for k in keep)
                    up[f"{side} {mode} {u}.{hh}"] = float(w / pr.scale(l)[t])
    return {"contributions": c.tolist(), "kept": sorted(int(k) for k in keep), "upstream": up}


def why_score(pr, l, h, d, s):
    P, p = pr.P, f"{l}."
    W_Q, W_K, b_Q, b_K = (P[p + k][h] for k in ("W_Q", "W_K", "b_Q", "b_K"))
    R = (lambda t: np.eye(DH)) if pr.ln else rope
    G = lambda: R(d).T @ R(s)
    x = pr.resid(l) / pr.scale(l)[:, None]
    q, k = x[d] @ W_Q + b_Q, x[s] @ W_K + b_K
    terms = {"query": {"bias": float(b_Q @ G() @ k) / DH**0.5}, "key": {"bias": float(q @ G() @ b_K) / DH**0.5}}
    for (kind, u, hh, j), y in pr.parts(l).items():
        name = f"{kind} {u} {hh} {j}"
        if j is None or j <= d:
            terms["query"][name] = float((y[d] / pr.scale(l)[d]) @ W_Q @ G() @ k) / DH**0.5
        if j is None or j <= s:
            terms["key"][name] = float(q @ G() @ ((y[s] / pr.scale(l)[s]) @ W_K)) / DH**0.5
    return terms


def qk(rng):
    q = rng.normal(size=(30, DH)) + 0.4
    plus = rng.normal(size=(30, 2, DH)) + 0.5 * q[:, None]
    minus = rng.normal(size=(30, 3, DH))
    out = {}
    for weighting in ("balanced", "paper"):
        n_plus, n_minus = (60, 90) if weighting == "balanced" else (30, 30)
        Cp = np.einsum("ni,nkj->ij", q, plus) / n_plus
        Cm = np.einsum("ni,nkj->ij", q, minus) / n_minus
        S = np.linalg.svd(Cp - Cm, compute_uv=False)
        energy = np.cumsum(S**2) / (S**2).sum()
        out[weighting] = {
            "C_plus": Cp.tolist(),
            "C_minus": Cm.tolist(),
            "singular_values": S.tolist(),
            "rank": int(np.argmax(energy >= 0.99) + 1),
        }
    # Attribution with priority order, then lexical (2.4.3), on an overlapping pair of bases.
    B1, B2 = np.linalg.qr(rng.normal(size=(DH, 1)))[0], np.linalg.qr(rng.normal(size=(DH, 2)))[0]
    x, keys = rng.normal(size=DH), rng.normal(size=(5, DH))
    q1 = B1 @ B1.T @ x
    q2 = B2 @ B2.T @ (x - q1)
    attribution = {
        "query": x.tolist(),
        "keys": keys.tolist(),
        "order": B1.tolist(),
        "lexical": B2.tolist(),
        "terms": [(keys @ q1).tolist(), (keys @ q2).tolist(), (keys @ (x - q1 - q2)).tolist()],
    }
    return {"q": q.tolist(), "plus": plus.tolist(), "minus": minus.tolist(), **out, "attribution": attribution}


def main():
    rng = np.random.default_rng(SEED)
    for kind in ("gpt2", "llama"):
        ln = kind == "gpt2"
        w = make_host(kind, rng)
        tokens = rng.integers(0, V, size=N)
        a = forward(w, tokens, ln)
        pr = Prompt(w, a, process(w, ln), ln)
        end = N - 1
        target = int(np.argmax(a["logits"][end]))
        versus = int(np.argmin(a["logits"][end]))
        expected = {
            "target": target,
            "versus": versus,
            "accpp": {
                "logit versus": accpp(pr, logit_seeds(pr, end, target, versus), end, None),
                "logit": accpp(pr, logit_seeds(pr, end, target, None), end, 0.2),
                "probability": accpp(pr, probability_seeds(pr, end, target), end, 0.15),
            },
            "why": {f"{l}.{h} {d} {s}": why_score(pr, l, h, d, s) for l, h, d, s in ((3, 1, 8, 2), (2, 0, 5, 5))},
        }
        if ln:
            expected["sad"] = {f"{l}.{h} {d} {s}": sad_pair(pr, l, h, d, s) for l, h, d, s in ((3, 1, 8, 2), (2, 0, 5, 5), (1, 3, 4, 0))}
        tensors = {f"weights.{k}": np.ascontiguousarray(x) for k, x in w.items()}
        tensors |= {f"activations.{k}": np.ascontiguousarray(x) for k, x in a.items()}
        tensors["tokens"] = tokens.astype(np.int64)
        header = {
            "format": "heddle.golden.interp.v1",
            "producer": f"numpy {np.__version__}, python {platform.python_version()}",
            "seed": SEED,
            "dtype": "float64",
            "formula": "dense matrices, np.linalg.svd and pinv; see make.py",
            "date": "2026-11-22",
            "remake": "python test/golden/interp/make.py",
        }
        save_file(tensors, HERE / f"{kind}.safetensors", metadata={"golden": json.dumps(header)})
        expected["golden"] = header
        (HERE / f"{kind}.json").write_text(json.dumps(expected))
        print(kind, {k: len(e) for k, e in expected["accpp"].items()})
    (HERE / "qk.json").write_text(json.dumps({"golden": header, **qk(rng)}))


main()
