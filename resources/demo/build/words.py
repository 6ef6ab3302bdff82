"""The demo policy's tokenizer: a few hundred pieces under PaliGemma's conventions.

`▁` stands for a space and nothing is put in front of the text; digits are single pieces, as is a newline; what no
piece covers falls back to bytes. Ids 0 to 3 are padding, end, beginning and unknown, as in PaliGemma.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors

from resources.demo.build.prompts import every_prompt

SPECIALS: Final = ("<pad>", "<eos>", "<bos>", "<unk>")

OTHERS: Final = """
a an and any all at back behind between big black block box brown by can close cup down drop fast from front get grey
gripper hand here home into is it large left lift lower near object of off one open orange other out over pass pink
plate please press pull purple push red release right robot round slide slowly small square stack stop table take tall
that then thing this throw toy turn two under up use wait white with wooden yellow you your
"""
"""Words that people try: they stay whole, but no training prompt holds them, so the policy knows nothing of them."""


def build_tokenizer(path: Path) -> Tokenizer:
    """Write `tokenizer.json` to `path` and return the tokenizer."""
    words = sorted(
        {word for prompt in every_prompt() for word in re.findall(r"[a-z]+", prompt)}
        | set(OTHERS.split())
        | {"Task", "State", "Action"}
    )
    letters = [chr(code) for code in range(ord("!"), ord("~") + 1)]  # digits and punctuation among them
    pieces = [*SPECIALS, "\n", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "▁-", *letters]
    pieces += [form for word in words if len(word) > 1 for form in (f"▁{word}", word)]
    # A longer piece costs less than its letters, so the best split is the one with the fewest pieces.
    vocabulary = [(piece, 0.0 if piece in SPECIALS else -10.0 + 0.01 * len(piece)) for piece in pieces]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=3, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken(piece, normalized=False, special=True) for piece in SPECIALS])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos> $B", special_tokens=[("<bos>", SPECIALS.index("<bos>"))]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(path))
    return tokenizer
