"""Loads the bundled model with transformers and tokenizers and measures it on the held-out texts again.

Needs Python with torch and transformers; imports nothing of ours.

    node libs/testkit/src/bundled/evaluate.ts --dump held-out.json
    python test/golden/bundled/transformers-check.py libs/models/bundled held-out.json
"""

import json
import sys
from collections import defaultdict

import torch
from transformers import AutoTokenizer, GPT2LMHeadModel


def main(folder: str, dump: str) -> None:
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32).eval()
    for group in json.load(open(dump)):
        right = asked = 0
        by_length = defaultdict(list)
        for text in group["texts"]:
            ids = tokenizer(text["text"])["input_ids"]
            assert ids == text["ids"], (text["text"], ids, text["ids"])
            by_length[len(ids)].append(text)
        with torch.no_grad():
            for texts in by_length.values():
                best = model(torch.tensor([text["ids"] for text in texts])).logits.argmax(-1)
                for row, text in enumerate(texts):
                    for place in text["answers"]:
                        asked += 1
                        right += int(best[row, place - 1] == text["ids"][place])
        print(f"{group['name']:<34} {right / asked:.3f}  ({len(group['texts'])} texts)")


main(*sys.argv[1:])
