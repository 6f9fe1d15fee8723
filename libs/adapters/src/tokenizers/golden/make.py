"""Makes tokenizers.json: six small tokenizers, one per way of splitting text that our families use, and the ids that the
`tokenizers` library gives for a list of texts that trips implementations up.

Needs Python with tokenizers: python make.py > tokenizers.json
"""

import json
from datetime import date

import tokenizers
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

CORPUS = [
    "The quick brown fox jumps over the lazy dog. It's 1999, and we'll see 3.14159 again!",
    "def main(x):\n    return x + 100_000\n\n\tprint('hello')  # done\r\n",
    "日本語のテスト ٣٤٥ ½ नमस्ते é e\u0301 naïve coöperate Ωmega привет мир",
] * 4

TEXTS = [
    "", "Hello world", " Hello", "  two  spaces ", "\n\n\t tabs\r\n", "don't we'll I'VE It'S", "日本語テスト",
    "emoji 👩‍👩‍👧 🏳️‍🌈", "a\u0085b\u0085 c", "\ufeffbom", "x\u200bzero\u200dwidth", "٣٤٥ arabic ½ Ⅷ 1234567",
    "é e\u0301 Å \u212b", "<|s|>user\nhi<|e|>", "<|s|> <|e|>x", "\u00a0nbsp\u2003em\u3000ideo", "a" * 60, "\x00nul\x1f",
    "𝒳 math 𠜎", "İstanbul ß ﬁ", "int main() { return 0; }", "https://x.y/z?q=1&r=2#frag", "\u180e mong", "  \n  \n x",
    "tail   ", "'s 'T 's", "١٢", "\u2028ls\u2029ps", "100,000.50 3.14e-10", "ที่นี่ नमस्ते", "\uff11\uff12\uff13", "▁under_score ▁",
]

LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")


def byte_level(pre, normalizer=None, bos=False):
    t = Tokenizer(models.BPE())
    if normalizer:
        t.normalizer = normalizer
    t.pre_tokenizer = pre
    t.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    t.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=420, initial_alphabet=alphabet, special_tokens=["<|s|>", "<|e|>"]))
    if bos:
        t.post_processor = processors.TemplateProcessing(single="<|s|> $A", special_tokens=[("<|s|>", 0)])
    return t


def metaspace():
    t = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    special = ["<unk>", "<|s|>", "<|e|>"] + [f"<0x{b:02X}>" for b in range(256)]
    t.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=420, special_tokens=special))
    t.post_processor = processors.TemplateProcessing(single="<|s|> $A", special_tokens=[("<|s|>", 1)])
    # The 256 byte tokens are part of the vocabulary, not added tokens that text could spell.
    parsed = json.loads(t.to_str())
    parsed["added_tokens"] = [a for a in parsed["added_tokens"] if a["id"] < 3]
    return Tokenizer.from_str(json.dumps(parsed))


def split(pattern):
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])


plain = pre_tokenizers.ByteLevel(add_prefix_space=False)
made = {
    "gpt2": byte_level(plain),
    "gpt_neox": byte_level(plain, normalizers.NFC()),
    "llama3": byte_level(split(LLAMA3), bos=True),
    "qwen2": byte_level(split(QWEN2), normalizers.NFC()),
    "digits": byte_level(pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), plain])),
    "llama2": metaspace(),
}
print(json.dumps({
    "version": 1,
    "producer": f"tokenizers {tokenizers.__version__}",
    "date": str(date.today()),
    "command": "python make.py > tokenizers.json (needs Python with tokenizers)",
    "texts": TEXTS,
    "cases": {
        name: {
            "tokenizer": json.loads(t.to_str()),
            "with_special": [t.encode(x).ids for x in TEXTS],
            "without_special": [t.encode(x, add_special_tokens=False).ids for x in TEXTS],
            "decoded": [t.decode(t.encode(x, add_special_tokens=False).ids, skip_special_tokens=False) for x in TEXTS],
        }
        for name, t in made.items()
    },
}, ensure_ascii=True, separators=(",", ":")))
