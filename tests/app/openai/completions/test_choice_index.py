"""Whether an upstream's numbers name choices."""

from __future__ import annotations

import pytest

from app.core.errors import UpstreamInvalid
from app.openai.completions.choice_index import ChoiceIndex


def read(choices: int, given: list[int]) -> list[int]:
    index = ChoiceIndex(choices)
    return [index.of(number) for number in given]


@pytest.mark.parametrize("given", [[0], [0, 0, 0], [0, 1], [0, 1, 2, 3], [0, 2, 5, 9]])
def test_one_choice_is_choice_0_however_its_pieces_are_numbered(given: list[int]) -> None:
    assert read(1, given) == [0] * len(given)


@pytest.mark.parametrize(
    "given", [[1], [-1], [0, -1], [0, 0, 1], [0, 1, 0], [0, 1, 1], [0, 2, 1], [5, 6]]
)
def test_what_may_be_a_second_choice_is_refused(given: list[int]) -> None:
    with pytest.raises(UpstreamInvalid):
        read(1, given)


def test_a_number_beside_another_or_after_the_end_is_a_second_choice() -> None:
    index = ChoiceIndex(1)
    index.of(0)
    with pytest.raises(UpstreamInvalid):
        index.of(1, may_go_on=False)


def test_several_choices_are_never_renumbered() -> None:
    assert read(3, [2, 0, 1, 1, 0, 2]) == [2, 0, 1, 1, 0, 2]
    for wrong in (3, -1):
        with pytest.raises(UpstreamInvalid):
            read(3, [0, wrong])
