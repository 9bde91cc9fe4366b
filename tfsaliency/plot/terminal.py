"""An explanation of texts as text: the words of each sample on coloured ground, or with their values."""

import numpy as np

from tfsaliency.base.structure import flatten
from tfsaliency.plot.captions import title_text
from tfsaliency.plot.kinds import ground, is_dark, scale_of
from tfsaliency.plot.record import Record

_RESET = "\x1b[0m"


def words_of(explanation: Record, *, colours: bool) -> str:
    """The words of each sample and target, in one line for each.

    Args:
        explanation: one of texts or of tokens with names.
        colours: whether the ground of a word shows its value, in the codes of a terminal; otherwise a number does.
    """
    lines = []
    for sample in range(len(explanation)):
        for one in explanation.each():
            for tokens, values, meaning in zip(flatten(one.tokens), flatten(one.values), one.meanings, strict=True):
                if tokens is None:
                    continue
                scale = scale_of(values[sample], meaning, 99)
                words = [
                    _on_ground(_shown(word), colour) if colours else f"{_shown(word)} {value:+.2g}"
                    for word, value, colour in zip(
                        tokens[sample], values[sample], ground(values[sample], scale), strict=True
                    )
                    if word
                ]
                lines.append(f"{title_text(one, sample, None)} | {(' ' if colours else ', ').join(words)}")
    return "\n".join(lines)


def _shown(word: str) -> str:
    """A word without what a terminal takes for a command."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in word)


def _on_ground(word: str, colour: np.ndarray) -> str:
    ink = "97" if is_dark(colour) else "30"
    numbers = (colour * 255).round().astype(int)
    return f"\x1b[48;2;{';'.join(map(str, numbers))};{ink}m{word}{_RESET}"
