"""`headgate cache estimate`: what it counts, what it says of a log that is not perfect, and that it sends nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app.cli import main
from app.commands.estimate.estimate import TIER_1, TIER_1B, Estimate, Terms, played
from app.commands.estimate.prompt_log import MAX_LINE, PromptLog
from app.config.loading import load

QUESTION = "How do I feed a wombat in winter?"
PRICES = ["--input-price", "1", "--output-price", "2"]


def body(prompt: str = QUESTION, **members: Any) -> dict[str, Any]:
    return {"model": "m", "prompt": prompt, "temperature": 0} | members


def written(tmp_path: Path, *lines: Any) -> Path:
    file = tmp_path / "log.jsonl"
    text = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    file.write_text("".join(f"{line}\n" for line in text))
    return file


def run(file: Path, *args: str) -> Result:
    return CliRunner().invoke(main, ["cache", "estimate", str(file), *args])


def figures(file: Path, *args: str) -> dict[str, Any]:
    result = run(file, *PRICES, *args, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def hits(file: Path, *args: str) -> dict[str, int]:
    return {name: level["hits"] for name, level in figures(file, *args)["levels"].items()}


def test_each_level_counts_what_those_above_it_miss(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        body(),
        body(),  # exact
        body(f" {QUESTION}\n"),  # normalized
        body("please, how do i feed wombats in winter"),  # tier 1
        body("What is the best way to feed a wombat in winter?"),  # tier 1b
        body("How do I feed a wombat in summer?"),
        body("How do I not feed a wombat in winter?"),
    )
    found = hits(file)
    assert found == {"exact": 1, "normalized": 1, "cache.ignore": 0, "tier 1": 1, "tier 1b": 1}


def test_other_parameters_tenants_and_models_share_nothing(tmp_path: Path) -> None:
    again = "please, how do i feed wombats in winter"
    file = written(
        tmp_path,
        body(),
        body(again, max_tokens=9),
        body(again, model="other"),
        {"request": body(), "tenant": "acme"},
        {"request": body(again), "tenant": "other"},
        {"body": body(), "tenant": "acme"},
    )
    assert hits(file) == {"exact": 1, "normalized": 0, "cache.ignore": 0, "tier 1": 0, "tier 1b": 0}


def test_what_is_saved_is_what_the_log_says_was_used(tmp_path: Path) -> None:
    used = {"prompt_tokens": 1000, "completion_tokens": 500}
    file = written(tmp_path, {"request": body(), "usage": used}, {"request": body(), "usage": used})
    found = figures(file)
    assert found["cost_nano_usd"] == 4_000_000
    assert found["levels"]["exact"] == {"hits": 1, "tokens": 1500, "saved_nano_usd": 2_000_000}


def test_without_usage_an_answer_is_as_long_as_is_said_or_allowed(tmp_path: Path) -> None:
    chat = {"model": "m", "messages": [{"role": "user", "content": QUESTION}]}
    file = written(tmp_path, chat, body(max_tokens=3))
    long, short = figures(file, "--output-tokens", "900"), figures(file, "--output-tokens", "0")
    assert long["tokens"] - short["tokens"] == 903


def test_a_batch_is_as_many_prompts_and_none_by_meaning(tmp_path: Path) -> None:
    again = "please, how do i feed wombats in winter"
    file = written(tmp_path, body([QUESTION, "b"]), body(), body([again, again]))  # type: ignore[arg-type]
    found = figures(file)
    assert (found["requests"], found["lookups"]) == (3, 5)
    assert found["levels"]["exact"]["hits"] == 2
    assert found["levels"]["tier 1"]["hits"] == 0


def test_sampled_requests_are_counted_apart(tmp_path: Path) -> None:
    again = "please, how do i feed wombats in winter"
    file = written(tmp_path, body(temperature=1), body(again, temperature=1))
    found = figures(file)
    assert found["levels"]["tier 1"]["hits"] == 0
    assert found["sampled"]["lookups"] == 2
    assert found["sampled"]["hits"] == 1
    assert "sampled: reuse" in run(file).stdout


def test_an_answer_ends_with_its_time_to_live(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        {"request": body(), "time": "2026-11-21T10:00:00Z"},
        {"request": body(), "time": "2026-11-21T10:59:00+00:00"},
        {"request": body(), "time": 1795260000 + 7200},
    )
    assert hits(file)["exact"] == 2
    assert hits(file, "--ttl", "1h")["exact"] == 1


def test_a_configuration_says_what_is_ignored_and_how_much_it_costs(tmp_path: Path) -> None:
    config = tmp_path / "gateway.yaml"
    config.write_text(
        "providers: {p: {kind: simulator}}\n"
        "models: {m: {targets: [{provider: p, model: x}], "
        "price: {input_per_million: 3, output_per_million: 3}, "
        "cache: {normalize: loose, ignore: ['request id \\S+'], semantic: {sampled: reuse}}}}\n"
    )
    log = written(
        tmp_path,
        body("Sum it up. request id 1"),
        body("Sum it up. request id 2"),
        body("SUM IT UP. request id 1"),
        body(temperature=1),
        body("please, how do i feed wombats in winter", temperature=1),
    )
    loaded = load(config.read_text(), "f", {}).settings
    found = played(PromptLog(log), loaded, Terms())
    assert {name: level.hits for name, level in found.levels.items()} == {
        "exact": 0, "normalized": 1, "cache.ignore": 1, "tier 1": 1, "tier 1b": 0,
    }  # fmt: skip
    assert run(log, "--config", str(config)).exit_code == 0
    assert found.cost > 0


def test_the_riskiest_pairs_are_printed_to_read(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        body(),
        body("please, how do i feed wombats in winter"),
        body("What is really the best way to feed a wombat in winter?"),
        body("a \u001b[31mred\u0007 wombat barks"),
        body("A \u001b[31mred\u0007 wombat barks!"),
    )
    said = run(file, *PRICES, "--pairs", "1").stdout
    assert said.count("  kept   ") == 1
    assert f"  kept   {QUESTION}" in said
    assert "tier 1b (emphasis, way)" in said
    assert "\u001b" not in run(file, *PRICES).stdout
    assert "  kept " not in run(file, *PRICES, "--pairs", "0").stdout


def test_lines_that_are_no_requests_are_told_and_left_out(tmp_path: Path) -> None:
    long = json.dumps(body("x" * MAX_LINE))
    file = written(tmp_path, "nope", "[1]", "", {"model": "m"}, long, body(), body())
    result = run(file, *PRICES)
    assert result.exit_code == 0
    assert "4 lines could not be read" in result.stdout
    assert "line 1: no JSON" in result.stdout
    assert "line 2: no object" in result.stdout
    assert "line 5: longer than 8 MiB" in result.stdout
    assert hits(file)["exact"] == 1


def test_a_log_without_a_request_is_an_error(tmp_path: Path) -> None:
    result = run(written(tmp_path, "nope"))
    assert result.exit_code == 1
    assert "holds no request" in result.stderr
    assert "line 1" in result.stderr
    assert run(tmp_path / "absent").exit_code == 1


@pytest.mark.parametrize("args", [["--input-price", "1"], ["--ttl", "soon"], ["--pairs", "-1"]])
def test_a_wrong_option_is_refused(tmp_path: Path, args: list[str]) -> None:
    assert run(written(tmp_path, body()), *args).exit_code != 0


def test_a_model_whose_price_nobody_knows_is_named(tmp_path: Path) -> None:
    assert "no price is known for m" in run(written(tmp_path, body())).stdout


def test_a_published_price_is_found_by_the_models_name(tmp_path: Path) -> None:
    found = json.loads(run(written(tmp_path, body(model="gpt-4o-mini")), "--json").stdout)
    assert found["cost_nano_usd"] > 0


def test_a_hit_by_meaning_is_not_kept_for_its_own_prompt(tmp_path: Path) -> None:
    again = "please, how do i feed wombats in winter"
    found: Estimate = played(
        PromptLog(written(tmp_path, body(), body(again), body(again))),
        None,
        Terms(),
    )
    assert found.levels[TIER_1].hits == 2
    assert found.levels[TIER_1B].hits == 0
