"""Which choice a piece of a stream belongs to, as far as the upstream's numbers can be believed."""

from __future__ import annotations

from app.core.errors import UpstreamInvalid


class ChoiceIndex:
    """The indexes of one stream, of which ``choices`` were asked for.

    Some servers number the pieces of a single choice 0, 1, 2, …: where one choice was asked for,
    such numbers mean 0. Two choices that come in turn go back to 0, and are refused.
    """

    __slots__ = ("_choices", "_last", "_zeros")

    def __init__(self, choices: int) -> None:
        self._choices = choices
        self._last = 0
        self._zeros = 0

    def of(self, given: int, *, may_go_on: bool = True) -> int:
        """The index of a choice that says ``given``.

        ``may_go_on`` is False where a number above 0 cannot be one more piece of choice 0: that has
        finished, or another choice stands beside it. Raises UpstreamInvalid.
        """
        if given == 0 and not self._last:
            self._zeros += 1
            return 0
        if self._choices > 1:
            if 0 <= given < self._choices:
                return given
        elif may_go_on and self._zeros == 1 and given > self._last:
            self._last = given
            return 0
        raise UpstreamInvalid("The upstream sent a choice index that cannot be.")
