"""Which voice the name of a recording or folder means, in the languages that choirs use.

A name counts as words and numbers: ``Title - Alto 2`` is the title, the voice, and a number after
it. Case, accents and their encoding, and what stands between words do not matter.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

from umss_jax.config import VOICES
from umss_jax.words import readable

_WORDS = {
    "soprano": "soprano sopranos soprani sopran sopranen soprane sop sopr mezzo mezzosoprano "
    "mezzosopran mezzosoprani cantus superius discantus diskant dessus tiple tiples treble "
    "trebles sopraan sopraano сопрано",
    "alto": "alto altos alti alt altus alte contralto contraltos contralti contralt contralts "
    "contraalt contraalto hautecontre altto альт",
    "tenor": "tenor tenors tenore tenori tenores taille ten тенор",
    "bass": "bass basses baesse basse bassi basso bassus bas bajo bajos baixo baixos baix "
    "bassecontre бас",
}
_VOICE_OF = {word: VOICES.index(voice) for voice, text in _WORDS.items() for word in text.split()}
_LETTERS = "satb"
_TAKES = frozenset({"i", "ii", "iii", "iv"})
# Words that are written as two, and an ending of the published sets that says nothing.
_JOINED = re.compile(
    r"(?<![^\W_])(contra|mezzo|haute|basse)[\W_]+(?=alt|sopran|contre)", re.IGNORECASE
)
_CHANNELS = re.compile(r"[\W_]\d+ch$", re.IGNORECASE)
_TOKEN = re.compile(r"[^\W\d_]+|\d+")
_GAPS = re.compile(r"[\s_.,\-–—()\[\]]{2,}")
_EDGES = " \t_.,-–—()[]"

LEVELS = range(4)
"""How much of a name tells pieces apart: 0, all but the voice; 1, no numbers after the voice; 2, no
numbers at the beginning or right before the voice; 3, neither of them."""


class Token(NamedTuple):
    """A word or number of a name."""

    text: str
    """Folded: without case."""
    start: int
    end: int

    @property
    def is_number(self) -> bool:
        """Whether it may number takes or singers."""
        return self.text.isdigit()


class VoiceName(NamedTuple):
    """A name that may mean a voice."""

    text: str
    """The whole name, without suffix."""
    voice: int
    """Index in `VOICES`."""
    is_letter: bool
    """The voice is but a letter."""
    before: tuple[Token, ...]
    takes: tuple[Token, ...]
    """Numbers after the voice."""
    after: tuple[Token, ...]

    @property
    def is_alone(self) -> bool:
        """There is nothing but a voice and numbers."""
        return all(token.is_number for token in (*self.before, *self.after))

    def kept(self, level: int) -> tuple[Token, ...]:
        """What tells pieces apart at a level, see :data:`LEVELS`."""
        before = self.before
        if level >= 2:
            while before and before[0].is_number:
                before = before[1:]
            while before and before[-1].is_number:
                before = before[:-1]
        return (*before, *(self.takes if level in (0, 2) else ()), *self.after)

    def title(self, level: int) -> str:
        """The name less what a level drops, as it is written."""
        return title_of(self.text, self.kept(level))


def title_of(text: str, tokens: tuple[Token, ...]) -> str:
    """Those tokens of a text with what stands between neighbours."""
    everything, parts = tokens_of(text), []
    kept = {(token.start, token.end) for token in tokens}
    previous = 0
    for token in everything:
        between = text[previous : token.start]
        is_kept = (token.start, token.end) in kept
        parts.append(between + (text[token.start : token.end] if is_kept else ""))
        previous = token.end
    joined = "".join(parts) + (text[previous:] if tokens else "")
    gap = _GAPS.sub(lambda match: match[0][0] if len(set(match[0])) == 1 else " ", joined)
    return gap.strip(_EDGES)


def clean_stem(stem: str) -> str:
    """The name of a recording without suffix, as it is searched for voices."""
    return _JOINED.sub(lambda match: match[1], _CHANNELS.sub("", readable(stem)))


def tokens_of(text: str) -> tuple[Token, ...]:
    """Words and numbers; a word that is no voice is cut where a capital follows (TitleAlto)."""
    found: list[Token] = []
    for match in _TOKEN.finditer(text):
        word, start = match[0], match.start()
        cuts = [0]
        if voice_of(word) is None:
            cuts += [i for i in range(1, len(word)) if word[i - 1].islower() and word[i].isupper()]
        for begin, end in zip(cuts, [*cuts[1:], len(word)], strict=True):
            found.append(Token(word[begin:end].casefold(), start + begin, start + end))
    return tuple(found)


def voice_of(word: str) -> int | None:
    """Index of the voice that a word means."""
    decomposed = unicodedata.normalize("NFKD", word.casefold())
    return _VOICE_OF.get("".join(one for one in decomposed if not unicodedata.combining(one)))


def voice_names(stem: str) -> list[VoiceName]:
    """How the name of a recording may be read: by its last voice, then by its first.

    Where no word is a voice, by a letter of S, A, T, B that stands at the end or beginning but for
    numbers. Empty where there is none.
    """
    text = clean_stem(stem)
    tokens = tokens_of(text)
    places = [place for place, token in enumerate(tokens) if voice_of(token.text) is not None]
    if places:
        return [
            _named(text, tokens, place, False) for place in dict.fromkeys((places[-1], places[0]))
        ]
    words = [place for place, token in enumerate(tokens) if not token.is_number]
    ends = [
        place
        for place in dict.fromkeys((*words[-1:], *words[:1]))
        if len(tokens[place].text) == 1 and tokens[place].text in _LETTERS
    ]
    return [_named(text, tokens, place, True) for place in ends]


def folder_voice(name: str) -> tuple[int, bool] | None:
    """The voice that a folder's name says and nothing else, and whether by a letter only."""
    found = voice_names(name)
    if found and found[0].is_alone:
        return found[0].voice, found[0].is_letter
    return None


def single_letter(stem: str) -> str | None:
    """The last word of a name where that is a single letter: of a series A, B, C … maybe."""
    words = [token for token in tokens_of(clean_stem(stem)) if not token.is_number]
    return words[-1].text if words and len(words[-1].text) == 1 else None


def _named(text: str, tokens: tuple[Token, ...], place: int, is_letter: bool) -> VoiceName:
    word = tokens[place].text
    voice = _LETTERS.index(word) if is_letter else voice_of(word)
    assert voice is not None
    end = place + 1
    while end < len(tokens) and (tokens[end].is_number or tokens[end].text in _TAKES):
        end += 1
    return VoiceName(text, voice, is_letter, tokens[:place], tokens[place + 1 : end], tokens[end:])
