"""Small tokenizers made with the `tokenizers` library, and the ids it gives on a torture list. Called by make.py."""

import json
import os
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

CORPUS = [
    "When Mary and John went to the store, John gave a drink to Mary.",
    "The loom lifts one warp thread out of thousands; the heddle lifts a single thread.",
    "I'm sure they've said we'll do what he'd do, don't you think so? It's 12,345.67 or 1e-9!",
    "def attention(q, k, v):\n    scores = q @ k.T / d_head ** 0.5\n    return softmax(scores) @ v\n",
    "naïve café, Übergröße, façade, 東京へ行く, привет мир, שלום, مرحبا, नमस्ते 🙂🙃👩‍👩‍👧",
    "one two three four five six seven eight nine ten eleven twelve 1 2 3 10 100 1000 2026",
] * 4

TORTURE = [
    "", " ", "  ", "a", " a", "a ", "\n", "\n\n", " \n \t\r\n", "\t\tindented", "Mary", " Mary", "mary", "MARY",
    "Hello, world!", "don't we'll I'M they'VE he'd", "12345678901234567890", "3.14159 1,000,000 1e-9 0x1F", "a" * 50,
    "naïve café", "nai\u0308ve cafe\u0301", "ﬁ ligature Å Å", "東京へ行く。", "привет, мир", "שלום עולם", "مرحبا", "नमस्ते", "🙂", "👩‍👩‍👧‍👦 🏳️‍🌈",
    "\u00a0non\u00a0breaking", "zero\u200bwidth", "\ufeffbom", "tab\tand\x0bvertical", "\x00null", "\u2028line", "mixed   spaces    here     ",
    "<|endoftext|>", "text<|endoftext|>more", "<s>", "</s> <unk> <s>", "<|im_start|>user\nhi<|im_end|>", "[INST] [/INST]",
    "def f(x):\n    return x**2  # ok\n", "a\r\nb\rc\n", "...!!!???", "——–-", "“quotes” ‘single’", "http://example.org/a?b=c&d=%20", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢", "ＦＵＬＬ",
    "ſ K Å", "e\u0301\u0301\u0301", "\U0010ffff", "The loom lifts one warp thread.",
]


def gpt2():
    """Byte-level BPE as GPT-2 has it: no normaliser, no prefix space, one special token that encode does not add."""
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=420, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), special_tokens=["<|endoftext|>"],
        show_progress=False,
    )
    t.train_from_iterator(CORPUS, trainer)
    return t


def llama3():
    """Byte-level BPE as Llama 3 and Qwen have it: NFC, a splitting pattern, chat tokens, a BOS that encode adds."""
    t = Tokenizer(models.BPE(ignore_merges=True))
    t.normalizer = normalizers.NFC()
    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    t.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False,
        special_tokens=["<s>", "</s>", "<|im_start|>", "<|im_end|>"],
    )
    t.train_from_iterator(CORPUS, trainer)
    t.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", t.token_to_id("<s>"))])
    return t


def llama2():
    """BPE over characters as Llama 2 has it: a prefix mark for spaces, bytes as a fall-back, BOS added."""
    t = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    t.decoder = decoders.Sequence([
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(content=" ", left=1, right=0),
    ])
    bytes_ = [f"<0x{b:02X}>" for b in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=520, special_tokens=["<unk>", "<s>", "</s>", *bytes_], limit_alphabet=80, show_progress=False,
    )
    t.train_from_iterator([text.replace(" ", "▁") for text in CORPUS], trainer)
    # Byte tokens are ordinary entries of the vocabulary in published files, not special ones.
    spec = json.loads(t.to_str())
    spec["added_tokens"] = [a for a in spec["added_tokens"] if not a["content"].startswith("<0x")]
    t = Tokenizer.from_str(json.dumps(spec))
    t.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", t.token_to_id("<s>"))])
    return t


def expectations(t):
    rows = []
    for text in TORTURE:
        plain, special = t.encode(text, add_special_tokens=False).ids, t.encode(text, add_special_tokens=True).ids
        rows.append(dict(text=text, ids=plain, ids_with_special=special, decoded=t.decode(plain, skip_special_tokens=False)))
    return rows


def write(path, provenance, rows):
    lines = ",\n".join(json.dumps(r) for r in rows)
    path.write_text(f'{{"provenance": {json.dumps(provenance)},\n"cases": [\n{lines}\n]}}\n')
    print(f"tokenizers: {path.parent.name}/{path.name}, {len(rows)} texts")


def main(directory: Path, provenance):
    for name, make in dict(gpt2=gpt2, llama3=llama3, llama2=llama2).items():
        folder = directory / name
        folder.mkdir(parents=True, exist_ok=True)
        t = make()
        t.save(str(folder / "tokenizer.json"), pretty=False)
        t = Tokenizer.from_file(str(folder / "tokenizer.json"))
        write(folder / "expected.json", provenance(tokenizer=name, formula=make.__doc__), expectations(t))
    real = os.environ.get("HEDDLE_REAL_MODEL")
    if real:
        t = Tokenizer.from_file(str(Path(real) / "tokenizer.json"))
        write(directory / "real-expected.json", provenance(tokenizer="real"), expectations(t))
