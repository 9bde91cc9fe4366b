"""Words in lines, and where on a line each one stands."""

import unicodedata
from collections.abc import Sequence

# The letters in a line.
LETTERS = 64
_RIGHT_TO_LEFT, _LEFT_TO_RIGHT = ("R", "AL"), ("L",)


def wrapped(words: Sequence[str]) -> list[list[str]]:
    """Words in lines of at most `LETTERS` letters. Of a longer word the middle is left out."""
    lines: list[list[str]] = [[]]
    length = 0
    for word in map(_shortened, words):
        if lines[-1] and length + len(word) > LETTERS:
            lines.append([])
            length = 0
        lines[-1].append(word)
        length += len(word) + 1
    return lines


def _shortened(word: str) -> str:
    half = LETTERS // 2
    return word if len(word) <= LETTERS else f"{word[: half - 1]}…{word[-half:]}"


def is_right_to_left(words: Sequence[str]) -> bool:
    """Whether a text is read from the right: its first letter that has a direction says so."""
    return next((found for word in words if (found := _goes_left(word)) is not None), False)


def from_left(line: Sequence[str], right_to_left: bool) -> list[int]:
    """The places of the words of a line, the leftmost first.

    Words of the other direction keep their own order beside each other, as in the Unicode bidirectional algorithm.

    Args:
        line: words in the order of the text.
        right_to_left: whether the text is read from the right.
    """
    goes_left = [_goes_left(word) for word in line]
    # What has no direction, such as a number, goes with the words around it, or with the text where they differ.
    before, after = _last_known(goes_left), _last_known(goes_left[::-1])[::-1]
    around = zip(before, after, strict=True)
    goes_left = [one if one is not None and one == other else right_to_left for one, other in around]
    # The deeper the level, the more often a word is turned around: a Latin one in Hebrew is, and is again.
    levels = [1 if left else 2 if right_to_left else 0 for left in goes_left]
    places = list(range(len(line)))
    for level in (2, 1):
        places = _turned(places, [levels[place] >= level for place in places])
    return places


def _last_known(directions: Sequence[bool | None]) -> list[bool | None]:
    """For each word its own direction, or that of the last one before it that has one."""
    known, found = None, []
    for direction in directions:
        known = known if direction is None else direction
        found.append(known)
    return found


def _turned(places: list[int], is_turned: Sequence[bool]) -> list[int]:
    """Places with each run of those that are turned in the opposite order."""
    found: list[int] = []
    run: list[int] = []
    for place, turned in zip([*places, -1], [*is_turned, False], strict=True):
        if turned:
            run.append(place)
            continue
        found += [*reversed(run), place]
        run = []
    return found[:-1]


def _goes_left(word: str) -> bool | None:
    """Whether the first letter of a word that has a direction is one of a script that is read from the right."""
    for letter in word:
        direction = unicodedata.bidirectional(letter)
        if direction in _RIGHT_TO_LEFT:
            return True
        if direction in _LEFT_TO_RIGHT:
            return False
    return None
