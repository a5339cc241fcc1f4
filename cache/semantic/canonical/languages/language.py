"""What is known of one language."""

from __future__ import annotations

from collections.abc import Mapping

Phrase = tuple[str, ...]


class Language:
    """Tables of one language, made of texts of words.

    ``words`` are its common words, which are no content; by them, its number words and greetings
    (``markers``) it is known. ``frames`` stand
    before a question whose order they leave alone; ``verb_second`` names the verbs one of which must
    then follow the question word, where the language moves it otherwise. After ``naming`` words a
    polite phrase is meant itself ("was heißt bitte auf Englisch").
    """

    def __init__(
        self,
        code: str,
        *,
        words: str,
        greetings: str,
        thanks: str,
        frames: str,
        questions: str,
        naming: str,
        fresh: str,
        numbers: Mapping[str, int],
        contractions: Mapping[str, str] | None = None,
        verb_second: str = "",
        kept_capitals: str = "",
    ) -> None:
        self.code = code
        self.words = frozenset(words.split())
        self.questions = frozenset(questions.split())
        self.naming = frozenset(naming.split())
        self.fresh = frozenset(fresh.split())
        self.verb_second = frozenset(verb_second.split())
        self.kept_capitals = frozenset(kept_capitals.split())
        self.contractions = {
            word: tuple(parts.split()) for word, parts in (contractions or {}).items()
        }
        self.numbers = {tuple(said.split()): str(value) for said, value in numbers.items()}
        self.frames = frozenset(_phrases(frames))
        alone = {words[0] for words in (*self.numbers, *_phrases(greetings)) if len(words) == 1}
        self.markers = self.words | self.questions | alone
        self.front = _by_word((*_phrases(greetings), *_phrases(frames)), 0)
        self.back = _by_word(_phrases(thanks), -1)


def _phrases(text: str) -> tuple[Phrase, ...]:
    return tuple(tuple(line.split()) for line in text.strip().splitlines())


def _by_word(phrases: tuple[Phrase, ...], at: int) -> dict[str, list[Phrase]]:
    """The phrases by their first or last word, the longest first."""
    table: dict[str, list[Phrase]] = {}
    for phrase in sorted(phrases, key=len, reverse=True):
        table.setdefault(phrase[at], []).append(phrase)
    return table
