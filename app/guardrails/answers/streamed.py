"""A streamed answer on its way to the caller, under the rules of the output.

Of a stream each text has a filter of its own; only what a rule may still need is held back. The
texts that are delivered are those that the plain answer would have.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from app.core.family import Said
from app.core.reply import Chunk
from app.guardrails.answers.redactor import Found
from app.guardrails.answers.text_filter import TextFilter
from app.guardrails.answers.windows import Place, Windows
from app.guardrails.matching.scanner import Finding
from app.guardrails.matching.view import View
from app.guardrails.plan import PhasePlan
from app.guardrails.reading import PIECE, Reading, Report, Seen
from app.guardrails.rule import Asked
from app.guardrails.texts.documents import (
    SaidIn,
    blank,
    ended_in,
    holders,
    is_bare,
    param_of_said,
    text_at,
    text_of,
)
from app.guardrails.texts.retold import Retold, tells, without
from app.guardrails.texts.walk import Text
from app.openai.said import put, retold_in


class TooMuchHeld(Exception):
    """An answer that must wait to be whole is larger than what may wait."""


class _Channel:
    """One text of a stream."""

    __slots__ = ("filter", "length", "said", "view")

    def __init__(self, said: Said, filter_: TextFilter | None, view: View | None) -> None:
        self.said = said
        self.filter = filter_
        self.view = view
        self.length = 0


class StreamedAnswer:
    """Applies the rules to the chunks of a stream.

    Under a rule that needs whole texts everything waits to the end, at most ``max_buffer`` bytes.
    """

    def __init__(
        self,
        plan: PhasePlan,
        report: Report,
        asked: Asked,
        said_in: SaidIn,
        *,
        max_buffer: int,
    ) -> None:
        self._plan = plan
        self._report = report
        self._reading = Reading(plan, report, asked)
        self._windows = Windows(plan, self._reading)
        self._said_in = said_in
        self._max_buffer = max_buffer
        self._channels: dict[Place, _Channel] = {}
        self._last: dict[int | None, bytes] = {}  # the latest chunk of each choice
        self._retold: dict[int | None, Retold] = {}
        self._held: list[Chunk] = []
        self._heard: dict[Place, list[str]] = {}
        self._size = 0

    async def write(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        """What may go on now. Raises GuardrailBlocked."""
        if self._plan.needs_all:
            self._size += sum(map(len, chunks))
            if self._size > self._max_buffer:
                raise TooMuchHeld
            self._held += chunks
            return []
        out = []
        for chunk in chunks:
            self._hear(chunk)
            ready = await self._chunk(chunk)
            if ready is not None:
                out.append(ready)
        return out

    async def finish(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        """The last chunks, and what was held back. Raises as ``PlainAnswer.read`` does."""
        out = await self.write(chunks)
        if self._plan.needs_all:
            return await self._all()
        for choice in list(self._last):
            rest = await self._flushed(choice)
            if rest:
                document = blank(orjson.loads(self._last[choice]), choice, self._said_in)
                if choice in self._retold:
                    next(h for h, c in holders(document) if c == choice).update(
                        self._retold[choice].ready(None)
                    )
                for said, text in rest:
                    put(document, said, text)
                out.append(Chunk.of(document))
        for channel in self._channels.values():
            if channel.view is not None:
                self._reading.observe(channel.view.feed("", final=True))
        return out

    def heard(self) -> list[Text]:
        """The texts of a stream that is over, for rules that only observe."""
        return [
            text_of(Said(place[0], place[1], "".join(pieces)))
            for place, pieces in self._heard.items()
        ]

    def _hear(self, chunk: Chunk) -> None:
        """Keep the texts, up to as much as may wait, where a rule will want them."""
        if not self._plan.hears_all or self._size > self._max_buffer:
            return
        self._size += len(chunk)
        for said in self._said_in(chunk.document):
            if said.text:
                self._heard.setdefault((said.choice, said.path), []).append(said.text)

    async def _chunk(self, chunk: Chunk) -> Chunk | None:
        """One chunk as it may go on; None where it says nothing any more."""
        said = self._said_in(chunk.document)
        ended = ended_in(chunk.document)
        document: dict[str, Any] | None = None
        spoke = speaks = False
        for one in said:
            text = await self._feed(one)
            self._last[one.choice] = chunk.payload
            spoke, speaks = spoke or bool(one.text), speaks or bool(text)
            if text != one.text:
                document = document or orjson.loads(chunk.payload)
                put(document, one, text)
        for choice in ended:
            for one, rest in await self._flushed(choice):
                document = document or orjson.loads(chunk.payload)
                put(document, one, text_at(document, one, self._said_in) + rest)
                speaks = True
        document = self._retell(chunk, document, said, ended)
        if document is None:
            return chunk
        if spoke and not speaks and not ended and is_bare(document, self._said_in):
            return None
        return Chunk.of(document)

    async def _feed(self, said: Said) -> str:
        """A piece of a text; what may go on of it, and of what was held."""
        plan = self._plan
        if said.whole or not said.text:
            if said.text:
                changed = await self._reading.read([text_of(said)])
                return changed.get(0, said.text)
            return said.text
        channel = self._channel(said)
        channel.length += len(said.text)
        for _, rule in plan.longest:
            if rule.longest is not None and channel.length > rule.longest:
                self._reading.broken(rule, "", param_of_said(said))
        out = []
        for start in range(0, len(said.text), PIECE):
            piece = said.text[start : start + PIECE]
            if channel.view is not None:
                self._reading.observe(channel.view.feed(piece))
            out.append(self._filtered(channel, piece))
            if start:
                await self._reading.pause()
        return await self._windows.passed(said, "".join(out))

    def _filtered(self, channel: _Channel, piece: str | None) -> str:
        """A piece through its filter; None: the end."""
        if channel.filter is None:
            return piece or ""
        try:
            return channel.filter.feed(piece or "", final=piece is None)
        except Found as found:
            rule = self._plan.rules[found.finding.rule]
            raise self._reading.blocked(
                rule, found.finding.entity, param_of_said(channel.said)
            ) from None

    def _channel(self, said: Said) -> _Channel:
        place = said.choice, said.path
        channel = self._channels.get(place)
        if channel is None:
            plan = self._plan
            reader = None
            if plan.acting is not None:
                seen = Seen(plan, self._report, plan.label_of)

                def label_of(finding: Finding) -> str | None:
                    self._retold.setdefault(said.choice, Retold()).forget()
                    return seen.label_of(finding)

                reader = plan.filter_of(label_of, json=said.json)
            view = View(plan.watching) if plan.watching is not None else None
            channel = self._channels[place] = _Channel(said, reader, view)
        return channel

    async def _flushed(self, choice: int | None) -> list[tuple[Said, str]]:
        """What was held back of a choice's texts, which are over."""
        rest = []
        for place in [place for place in self._channels if place[0] == choice]:
            channel = self._channels.pop(place)
            if channel.view is not None:
                self._reading.observe(channel.view.feed("", final=True))
            text = self._filtered(channel, None)
            text = await self._windows.passed(channel.said, text, final=True)
            if text:
                rest.append((channel.said, text))
        return rest

    def _retell(
        self, chunk: Chunk, document: dict[str, Any] | None, said: Sequence[Said], ended: list[int]
    ) -> dict[str, Any] | None:
        """A chunk with what is told again of the text that has gone on, and of no other."""
        if self._plan.acting is None and not self._plan.windowed:
            return document
        for holder, choice in holders(chunk.document):
            members = retold_in(holder)
            if members:
                document = document or orjson.loads(chunk.payload)
                retold = self._retold.setdefault(choice, Retold())
                kept = {n: v for n, v in members.items() if not tells(self._plan, v)}
                retold.hold(self._length(choice, said), kept)
        if not self._retold:
            return document
        for own, choice in holders(document or chunk.document):
            if choice in self._retold:
                over = choice in ended or choice is None
                ready = self._retold[choice].ready(None if over else self._decided(choice))
                if ready or retold_in(own):
                    document = document or orjson.loads(chunk.payload)
                    mine = next(h for h, c in holders(document) if c == choice)
                    without(mine)
                    mine.update(ready)
        return document

    def _length(self, choice: int | None, said: Sequence[Said]) -> int:
        """How much of the choice's text has come, which its log-probabilities are of."""
        for one in said:
            channel = self._channels.get((one.choice, one.path))
            if one.choice == choice and one.text and channel is not None:
                return channel.length
        return 0

    def _decided(self, choice: int | None) -> int:
        """How much of a choice's text has gone on, where it has only one; else of the slowest."""
        done = [
            channel.length
            - self._windows.held(place)
            - (channel.filter.held if channel.filter is not None else 0)
            for place, channel in self._channels.items()
            if place[0] == choice
        ]
        return min(done, default=0)

    async def _all(self) -> list[Chunk]:
        """A stream that had to wait: its texts as wholes, then its chunks."""
        pieces: dict[Place, list[str]] = {}
        first: dict[Place, Said] = {}
        for chunk in self._held:
            for said in self._said_in(chunk.document):
                pieces.setdefault((said.choice, said.path), []).append(said.text)
                first.setdefault((said.choice, said.path), said)
        places = list(pieces)
        texts = [text_of(first[place]._replace(text="".join(pieces[place]))) for place in places]
        changed = {
            places[position]: text for position, text in (await self._reading.read(texts)).items()
        }
        touched = {place[0] for place in changed}
        self._heard = pieces
        out = []
        for chunk in self._held:
            document: dict[str, Any] = orjson.loads(chunk.payload)
            for said in self._said_in(chunk.document):
                place = (said.choice, said.path)
                if place in changed:
                    put(document, said, changed[place])
                    changed[place] = ""
            for holder, choice in holders(document):
                told = choice in touched or (choice is None and bool(touched))
                for name, value in retold_in(holder).items():
                    if told or tells(self._plan, value):
                        holder[name] = None
            out.append(Chunk.of(document) if document != chunk.document else chunk)
        return out
