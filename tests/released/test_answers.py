"""Today's code answers every command as each release did: JSON, exit codes, errors, codes and the public API.

What may differ is in `compare`; what was changed on purpose stands in `CHANGED`, with the reason.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.released.api import exit_codes, public_api
from tests.released.commands import Answer, answers, laid_out
from tests.released.compare import codes_in, differences

HERE = Path(__file__).resolve().parent
RELEASES = sorted(path.name for path in HERE.iterdir() if (path / "answers.jsonl").exists())
_TOKENIZER = "the tokenizer of the example has as many tokens as it is said to have"
_BERT = "BERT is a family of its own, so that the example is another encoder now"
_NAMES = "a native head gets the names that outlive a load, a save and a resume"
_REMAP = "the tokenizer follows unless `--tokenizer keep` is said"
CHANGED: dict[str, str] = {
    "check invalid/GTE038-null-metadata --format json": "what safetensors accepts has a code of its own, GTE051",
    "check invalid/GTE037-array --format json": "what JSON calls an array is called so, not as Python calls it",
    "smoke golden/legacy-base --device cpu --batch 3 --max-length 16 --json": "cuDNN is a backend more, not for CPUs",
    "explain GTE230": "it tells of the masked-LM head that trains the pad row",
    "inspect valid/native-complete --json": _TOKENIZER,
    "inspect valid/remote-complete --json": _TOKENIZER,
    "inspect invalid/GTE101-bert --json": _BERT,
    "check invalid/GTE101-bert --format json": _BERT,
    "check valid/native-transformers-names --format json": "names that Trainer cannot resume are its own example now",
    "check invalid/GTE624-masked-lm --format json --for vllm": "all names that vLLM has no place for are counted",
    "check invalid/GTE643-no-tokenizer --format json --for sentence-transformers": "two more files are taken",
    "remap golden/legacy-mlm --keep kept.txt --vocab 128 --init mean --pad 0 --out planned --dry-run --json": _REMAP,
    "remap golden/legacy-base --map map.json --allow-repeats --init normal --vocab 12 --seed 9"
    " --out planned --dry-run --json": _REMAP,
    "remap golden/legacy-mlm --keep kept.txt --vocab 128 --init mean --pad 0 --out remapped --json": _REMAP,
    "convert golden/legacy-mlm --to native --out planned --dry-run --json": _NAMES,
    "convert golden/legacy-mlm --to native --out native --json": _NAMES,
}
"""Commands that are answered otherwise today, and why that is right."""


@cache
def released(release: str) -> dict[int, Answer]:
    lines = (HERE / release / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    return dict(enumerate(map(json.loads, lines)))


def api(release: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((HERE / release / "api.json").read_text(encoding="utf-8"))
    return found


CASES = [(release, number) for release in RELEASES for number in released(release)]


@pytest.fixture(scope="module")
def today(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Answer]]:
    """Every command's answers, in the order in which it was given."""
    found: dict[str, list[Answer]] = {}
    for answer in answers(laid_out(tmp_path_factory.mktemp("released") / "place")):
        found.setdefault(answer["command"], []).append(answer)
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{released(case[0])[case[1]]['command']}")
def test_a_command_is_answered_as_it_was(case: tuple[str, int], today: dict[str, list[Answer]]) -> None:
    release, number = case
    before = released(release)[number]
    again = sum(released(release)[earlier]["command"] == before["command"] for earlier in range(number))
    now = today.get(before["command"])
    found = list(_told(before, now[again], release)) if now else ["its example is another one"]
    assert bool(found) is (before["command"] in CHANGED), "\n".join(found)


def _told(before: Answer, now: Answer, release: str) -> list[str]:
    known = codes_in(next(each for each in released(release).values() if each["command"] == "rules --json"))
    found = list(differences(before["out"], now["out"], known, "stdout"))
    if before["err"]:  # beside a result of old there may be words on stderr, which nothing is made of
        found += differences(before["err"][:1], now["err"][:1], known, "stderr")
    is_stricter = bool(codes_in(now["out"]) - known)
    if before["exit"] != now["exit"] and not (is_stricter and before["exit"] == 0 and now["exit"] == 1):
        found.append(f"exit code {before['exit']}, now {now['exit']}")
    return found


@pytest.mark.parametrize("release", RELEASES)
def test_no_public_name_member_or_parameter_is_gone(release: str) -> None:
    now = public_api()
    gone = {
        f"{name} {kind} {entry}"
        for name, lists in api(release)["names"].items()
        for kind, entries in lists.items()
        for entry in entries
        if entry not in now.get(name, {}).get(kind, ())
    }
    assert not gone


@pytest.mark.parametrize("release", RELEASES)
def test_what_a_release_needed_is_all_that_is_needed(release: str) -> None:
    before, now = api(release)["names"], public_api()
    assert {
        name: [entry for entry in now[name]["takes"] if entry.endswith("needed") and entry not in lists["takes"]]
        for name, lists in before.items()
    } == {name: [] for name in before}


@pytest.mark.parametrize("release", RELEASES)
def test_exit_codes_are_what_they_were(release: str) -> None:
    assert api(release)["exits"].items() <= exit_codes().items()
