"""Fill-in-the-middle as Mistral has it: text completions under another form, in and out."""

from __future__ import annotations

from app.openai.completions.fim_form import FimEvents, as_chat, parse_fim
from app.routes.completions import COMPLETIONS

PATH = "/v1/fim/completions"

FIM = COMPLETIONS._replace(parse=parse_fim, in_form=as_chat, encoding=FimEvents)
