"""Anthropic's Messages: chat completions under another form, in and out."""

from __future__ import annotations

from app.core.asgi import Receive, Scope, Send
from app.core.errors import NotImplementedHere
from app.core.exchange import exchange_of
from app.core.refusal import refuse
from app.messages.answer import message
from app.messages.events import MessageEvents
from app.messages.request import bounded, parse_messages
from app.routes.chat import CHAT

PATH = "/v1/messages"
COUNT_PATH = "/v1/messages/count_tokens"

MESSAGES = CHAT._replace(
    parse=parse_messages, bounded=bounded, in_form=message, encoding=MessageEvents
)


async def count_tokens(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuses: only a model's own provider can count, and few do."""
    await refuse(
        exchange_of(scope),
        send,
        NotImplementedHere(
            "Tokens are not counted before a call here; an answer's `usage` has the true counts."
        ),
    )
