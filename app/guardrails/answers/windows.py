"""A stream's texts before rules beyond a network, a window at a time: nothing leaves unseen."""

from __future__ import annotations

from app.core.family import Said
from app.guardrails.plan import PhasePlan
from app.guardrails.reading import Reading
from app.guardrails.texts.documents import text_of

Place = tuple[int | None, tuple[str | int, ...]]


class Windows:
    """Holds each text back until as much as a window has come, and asks about it.

    The rules see half a window of what went on before it too, so that no sentence is cut for them.
    """

    def __init__(self, plan: PhasePlan, reading: Reading) -> None:
        self._rules = plan.windowed
        self._size = min((rule.window or 0 for rule in self._rules), default=0)
        self._reading = reading
        self._waiting: dict[Place, str] = {}
        self._before: dict[Place, str] = {}

    def held(self, place: Place) -> int:
        """How many characters of a text wait for a verdict."""
        return len(self._waiting.get(place, ""))

    async def passed(self, said: Said, text: str, *, final: bool = False) -> str:
        """What may go on now that ``text`` is added. Raises GuardrailBlocked, GuardrailUnavailable."""
        if not self._rules:
            return text
        place = said.choice, said.path
        waiting = self._waiting.get(place, "") + text
        self._waiting[place] = waiting
        if not waiting or (len(waiting) < self._size and not final):
            return ""
        before = self._before.get(place, "")
        for rule in self._rules:
            await self._reading.ask(rule, [text_of(said._replace(text=before + waiting))])
        self._waiting[place] = ""
        self._before[place] = (before + waiting)[-(self._size // 2) :]
        return waiting
