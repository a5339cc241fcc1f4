"""The simulation of the semantic cache: what it reads, what it counts, what it says."""

import json
import random
from importlib.util import find_spec
from pathlib import Path

import pytest

from bench.failure import BenchFailureError
from bench.semantic import __main__ as simulation
from bench.semantic import files, policies
from bench.semantic.scores import Score, wilson
from bench.semantic.swaps import swapped, swaps
from bench.semantic.trials import Pairs, Stream, stream
from cache.semantic.canonical import Form, Reading, canonical, read
from cache.semantic.canonical.wide import Wide
from cache.semantic.encoders.local import EncoderUnavailable
from cache.semantic.index import MAX_NEIGHBOURS
from cache.semantic.near_match import veto

needs_extra = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("wordllama", "tokenizers", "safetensors", "numpy")),
    reason="the extra semantic is not installed",
)

PAIRS = """\
label\tnote\ta\tb
1\tcase\tWho painted this ceiling?\twho painted this ceiling
1\tequal\tHow deep is the ocean?\tHow  deep is the ocean?
0\tnumber\tBoil 3 eggs for lunch\tBoil 4 eggs for lunch
0\ttopic\tWho painted this ceiling?\tname a good bakery in Oslo
"""
STREAM = """\
intent\ttext
paint\tWho painted this ceiling?
paint\twho painted this ceiling
paint\tWho painted that other ceiling?
eggs\tBoil 3 eggs for lunch
eggs\tBoil 4 eggs for lunch
oos\tname a good bakery in Oslo
oos\tName a good  bakery in Oslo
oos\tname a good bakery in Bergen
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "pairs.tsv").write_text(PAIRS)
    (folder / "stream.tsv").write_text(STREAM)
    (folder / "README.md").write_text("not read")
    return folder


def _file(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "one.tsv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def _trial(tmp_path: Path, content: str | bytes) -> Pairs | Stream:
    (found,) = files.trials([_file(tmp_path, content)], seed=1)
    return found


def _problem(path: Path) -> str:
    with pytest.raises(BenchFailureError) as raised:
        files.trials([path], seed=1)
    return str(raised.value)


def test_a_folder_is_its_tab_separated_files(data: Path) -> None:
    found = files.trials([data], seed=1)
    assert [(type(trial), trial.lookups) for trial in found] == [(Pairs, 4), (Stream, 8)]


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    trial = _trial(tmp_path, "b\tx\tlabel\ta\nasked\t-\t1\tcached\n")
    assert (trial.texts, trial.same) == (["cached", "asked"], 1)


def test_a_byte_order_mark_and_windows_line_ends_are_no_text(tmp_path: Path) -> None:
    trial = _trial(tmp_path, b"\xef\xbb\xbfintent\ttext\r\nx\tone text\r\n\r\n")
    assert (trial.texts, trial.label(0)) == (["one text"], "x")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("label,a,b\n1,x,y\n", "one.tsv:1: the header names 'label,a,b'"),
        ("label\ta\tb\n1\tx\ty\nyes\tx\ty\n", "one.tsv:3: the label is 'yes'"),
        ("label\ta\tb\n1\tx\n", "one.tsv:2: 2 columns, where the header names 3"),
        ("intent\ttext\nx\ty\n\nx\t \n", "one.tsv:4: a column is empty"),
        (b"intent\ttext\nx\tcaf\xe9\n", "one.tsv:2: not UTF-8 from byte 6 on"),
        ("intent\ttext\n", "one.tsv: holds a header and nothing else"),
    ],
)
def test_a_bad_file_is_told_with_its_line(tmp_path: Path, content: str | bytes, said: str) -> None:
    assert said in _problem(_file(tmp_path, content))


def test_a_file_that_is_all_wrong_does_not_fill_the_screen(tmp_path: Path) -> None:
    said = _problem(_file(tmp_path, "intent\ttext\n" + "x\n" * 100))
    assert said.splitlines()[-1].endswith("and 90 more")


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    assert "No such file" in _problem(tmp_path / "absent.tsv")
    assert "holds no file that ends in .tsv" in _problem(tmp_path)


def test_the_seed_decides_the_order_of_a_stream() -> None:
    rows = [("x", str(i)) for i in range(50)]
    assert stream("s", rows, 1).texts == stream("s", rows, 1).texts
    assert stream("s", rows, 1).texts != stream("s", rows, 2).texts


def test_out_of_scope_is_no_meaning_that_two_texts_share() -> None:
    trial = Stream("s", ["a b", "A  b", "a c"], ["oos", "oos", "oos"])
    assert trial.right(1, 0)
    assert not trial.right(2, 0)


@pytest.mark.parametrize(
    ("right", "hits", "low", "high"),
    [(4, 4, 0.5101, 1.0), (0, 10, 0.0, 0.2775), (95, 100, 0.8882, 0.9785)],
)
def test_the_interval_is_wilsons(right: int, hits: int, low: float, high: float) -> None:
    assert wilson(right, hits) == pytest.approx((low, high), abs=1e-4)


def test_a_policy_without_hits_has_no_precision() -> None:
    score = Score("exact", 10, 0, 0, 0, 0)
    assert (score.precision, score.interval, score.recall) == (None, None, None)


def test_the_wide_key_adds_to_the_strict_one_and_its_rules_are_counted() -> None:
    texts = ["Which is the best blue ceiling?", "what is the best blue ceiling", "a best blue wall"]
    trial = Stream("s", texts, ["x", "x", "x"])
    readings = [read(text) for text in texts]
    wide = [reading.wide for reading in readings]
    forms = [reading.strict for reading in readings]
    outcome = policies.play(trial, forms, None, 0.9, 5, wide)
    assert outcome.hits[policies.TIER_1] == []
    assert outcome.hits[policies.TIER_1B] == [policies.Hit(1, 0)]
    assert policies.by_rule(trial, outcome, wide) == {"which": (1, 1)}


def test_the_bench_and_the_gateway_look_at_as_many_neighbours() -> None:
    assert simulation._arguments(["x.tsv"]).nearest == MAX_NEIGHBOURS


def test_a_pair_is_served_only_its_own_partner() -> None:
    """The first and the last pair cache equal texts; only the partner counts."""
    trial = Pairs("p", ["x y", "x y", "x y", "z"], [True, False])
    outcome = policies.play(trial, [canonical(text) for text in trial.texts], None, 0.9, 10)
    assert outcome.hits[policies.EXACT] == [policies.Hit(1, 0)]


def test_a_stream_is_served_what_was_cached_first() -> None:
    texts = ["Who painted this ceiling?", "who painted this ceiling", "Who painted this ceiling"]
    trial = Stream("s", texts, ["x", "x", "x"])
    outcome = policies.play(trial, [canonical(text) for text in texts], None, 0.9, 10)
    assert outcome.hits[policies.TIER_1] == [policies.Hit(1, 0), policies.Hit(2, 0)]
    assert outcome.hits[policies.EXACT] == []


@needs_extra
def test_neighbours_are_those_of_a_search_by_hand() -> None:
    from bench.semantic import nearest
    from cache.semantic.encoders.local import LocalEncoder

    words = "who painted this old blue ceiling in the second hall of that castle".split()
    chance = random.Random(1)
    texts = [" ".join(chance.choices(words, k=6)) for _ in range(nearest._BLOCK + 200)]
    trial = Stream("s", texts, ["x"] * len(texts))
    encoder = LocalEncoder()
    vectors = [encoder.encode(text) for text in texts]
    rows = nearest.matrix(vectors, encoder.dimensions)
    found = nearest.neighbours(trial, rows, 0.8, 3, lambda line: None)
    for asked in (0, 1, 100, nearest._BLOCK, len(texts) - 1):
        byhand = sorted((-nearest.cosine(vectors[asked], vectors[i]), i) for i in range(asked))
        expected = [-negative for negative, _ in byhand[:3] if -negative >= 0.8]
        assert [alike for _, alike in found.get(asked, [])] == pytest.approx(expected, abs=1e-5)


@needs_extra
def test_a_text_without_a_vector_is_near_to_nothing() -> None:
    from bench.semantic import nearest

    trial = Pairs("p", ["", ""], [True])
    rows = nearest.matrix([None, None], 4)
    assert nearest.neighbours(trial, rows, 0.5, 3, lambda line: None) == {}


def test_the_guard_has_the_last_word_on_a_neighbour() -> None:
    texts = ["Boil 3 eggs for lunch", "Boil 4 eggs for lunch", "please boil 4 eggs for lunch"]
    trial = Stream("s", texts, ["x", "y", "y"])
    near = {1: [(0, 0.99)], 2: [(0, 0.99), (1, 0.95)]}
    outcome = policies.play(trial, [canonical(text) for text in texts], near, 0.9, 10)
    assert [(hit.asked, hit.served) for hit in outcome.hits[policies.TIER_2]] == [(2, 1)]
    assert outcome.refusals["number"][0] >= 1
    assert [hit.served for hit in outcome.hits["cosine >= 0.98"]] == [0, 0]


def test_tier_2_takes_no_long_text() -> None:
    text = " ".join(f"painter{i}" for i in range(policies.TIER_2_WORDS + 1))
    form = canonical(text)
    assert isinstance(form, Form)
    assert not policies.takes_tier_2(form)


@pytest.mark.parametrize(
    "text", ["7 eggs", "in 1984 there", "Two eggs", "0", "10 or 20", "top10 list of twelve"]
)
def test_a_swap_changes_a_number_and_nothing_else(text: str) -> None:
    chance = random.Random(3)
    for _ in range(20):
        copy = swapped(text, chance)
        assert copy is not None
        assert copy != text
        assert len(copy.split()) == len(text.split())
        assert not copy.startswith("0") or len(copy.split()[0]) == 1


def test_a_text_without_a_number_has_no_swap() -> None:
    assert swapped("anyone often weighs one thing", random.Random(1)) is None


def test_tier_1_serves_no_swapped_number() -> None:
    found = swaps([f"Boil {i} eggs for lunch" for i in range(30)], None, 0.9, 1)
    assert found.copies == 30
    assert {policy: len(pairs) for policy, pairs in found.served.items()} == {
        policies.EXACT: 0,
        policies.TIER_1: 0,
        policies.TIER_1B: 0,
    }


@needs_extra
def test_a_run_prints_every_policy_and_writes_the_figures(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = tmp_path / "found.json"
    flags = ["--swap-numbers", "--vetoes", "--wrong", "3", "--json", str(facts)]
    assert simulation.main([str(data), *flags]) == 0
    printed = capsys.readouterr().out
    for policy in ("exact", "tier 1", "tier 1 + 2", "cosine >= 0.80", "cosine >= 0.98"):
        assert printed.count(f"\n{policy} ") >= 2
    pairs, flow = json.loads(facts.read_text())["files"]
    by_name = {row["policy"]: row for row in pairs["policies"]}
    assert (by_name["exact"]["hits"], by_name["exact"]["right"]) == (1, 1)
    assert (by_name["tier 1"]["hits"], by_name["tier 1"]["right"]) == (2, 2)
    assert by_name["cosine >= 0.80"]["wrong"] == 1
    assert pairs["swaps"]["served"]["tier 1 + 2"] == 0
    assert flow["kind"] == "stream"
    assert flow["policies"][1]["wrong"] == 0


def test_without_the_extra_tier_1_is_measured_and_the_rest_is_explained(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing() -> None:
        raise EncoderUnavailable("pip install 'headgate[semantic]'")

    monkeypatch.setattr(simulation, "LocalEncoder", missing)
    assert simulation.main([str(data), "--swap-numbers"]) == 0
    said = capsys.readouterr()
    assert "headgate[semantic]" in said.err
    assert "tier 1 " in said.out
    assert "cosine" not in said.out
    assert "tier 1 + 2" not in said.out


def test_a_served_swap_fails_the_run(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blind = Form("all", ("all",), frozenset(), 3)
    reading = Reading(blind, Wide("all", ()))
    monkeypatch.setattr("bench.semantic.swaps.read", lambda text: reading)
    assert simulation.main([str(data), "--swap-numbers"]) == 1
    assert "number swap" in capsys.readouterr().out


def test_bad_data_ends_the_run_before_it_measures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert simulation.main([str(_file(tmp_path, "x\n"))]) == 2
    assert ":1: the header names" in capsys.readouterr().err


def test_the_help_teaches_the_columns(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        simulation.main(["--help"])
    printed = capsys.readouterr().out
    assert "label, a, b" in printed
    assert "intent, text" in printed


def test_the_guard_says_the_same_both_ways_round() -> None:
    """The bench asks it about (asked, cached); a lookup may ask the other way."""
    texts = ["Boil 3 eggs for lunch", "Boil 4 eggs for lunch", "who painted this ceiling"]
    forms = [form for form in map(canonical, texts) if isinstance(form, Form)]
    assert len(forms) == 3
    assert all(veto(a, b) == veto(b, a) for a in forms for b in forms)
