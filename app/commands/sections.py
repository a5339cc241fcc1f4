"""How ``headgate --help`` shows the commands: by what they are for, each with its whole first sentence."""

from __future__ import annotations

from inspect import cleandoc

import click

SECTIONS = {
    "First steps": ("init", "serve", "test", "doctor"),
    "The file": ("check", "schema", "routes"),
    "Callers, and what they use": ("keys", "usage", "admin"),
    "What it keeps, reads and forbids": ("cache", "audit", "rag", "guard"),
}


class Sections(click.Group):
    """A group that lists its commands in sections; a command of no section comes last."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        known = {name for names in SECTIONS.values() for name in names}
        more = tuple(name for name in self.list_commands(ctx) if name not in known)
        for title, names in {**SECTIONS, "More": more}.items():
            rows = [
                (name, first_sentence(command))
                for name in names
                if (command := self.get_command(ctx, name)) is not None
            ]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)
        formatter.write_paragraph()
        formatter.write_text(
            "headgate COMMAND --help has examples. Pages for every task: docs/README.md, or /docs "
            "on a running gateway's management listener."
        )


def first_sentence(command: click.Command) -> str:
    """What a command does, in full."""
    paragraph = cleandoc(command.help or "").partition("\n\n")[0]
    return " ".join(paragraph.split()).partition(". ")[0].rstrip(".")
