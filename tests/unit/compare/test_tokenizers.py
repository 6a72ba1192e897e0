"""Two tokenizers compared: which is the other one cut down, which tokens went and came, and what texts cost by each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from gte_surgery.cli.entry import run
from gte_surgery.compare.tokenizers import diff_tokenizers
from gte_surgery.gte.schemas import violations
from gte_surgery.render.difference import tokenizers_json, tokenizers_text
from gte_surgery.vocabulary.rewriting.closure import characters, passed_through, required
from gte_surgery.vocabulary.rewriting.contents import Contents
from gte_surgery.vocabulary.rewriting.rewrite import read_contents
from gte_surgery.vocabulary.rewriting.tokenizer_json import rewritten_json
from tests.texts import KINDS, lines, trained


def cut(path: Path, out: Path) -> Contents:
    """Writes a tokenizer cut down to what it needs and every second token, backwards where that is allowed."""
    from gte_surgery.checkpoint.files import entry_of

    whole = read_contents(entry_of("tokenizer.json", path))
    kept = {*required(whole, {}), *characters(whole), *range(0, max(whole.texts), 2)} | {
        each.id for each in whole.added
    }
    kept |= set(passed_through(whole, kept))
    out.write_bytes(rewritten_json(whole, {old: new for new, old in enumerate(sorted(kept))}))
    return whole


@pytest.mark.parametrize("kind", KINDS)
def test_a_tokenizer_cut_down_is_known_as_such_and_costs_what_encoding_says(kind: str, tmp_path: Path) -> None:
    before, after, texts = tmp_path / "before.json", tmp_path / "after.json", tmp_path / "t.txt"
    before.write_text(trained(kind, 1200, 2000), encoding="utf-8")
    whole = cut(before, after)
    texts.write_text("\n".join(lines(300)), encoding="utf-8")
    found = diff_tokenizers(before, after, texts=[texts])
    old, new = (Tokenizer.from_file(str(path)) for path in (before, after))
    assert found.relation == "right in left"
    assert (found.kinds, found.came, found.differs) == ((kind, kind), (), ())
    assert {text for _, text in found.gone} == old.get_vocab().keys() - new.get_vocab().keys()
    assert found.sizes == (len(whole.ids), new.get_vocab_size())
    pairs = [
        (old.encode(text, add_special_tokens=False), new.encode(text, add_special_tokens=False)) for text in lines(300)
    ]
    cost = found.cost
    assert cost is not None
    assert (cost.texts, cost.before, cost.after) == (300, *(sum(len(pair[at].ids) for pair in pairs) for at in (0, 1)))
    assert cost.same == sum(one.tokens == other.tokens for one, other in pairs)
    assert diff_tokenizers(after, before).relation == "left in right"
    assert diff_tokenizers(before, before).is_equal
    assert violations(json.loads(tokenizers_json(found)), "tokenizers") == []
    assert f"different, {after} is {before} with fewer tokens, under new ids" in tokenizers_text(found)


def test_other_rules_and_other_tokens_are_told(tmp_path: Path) -> None:
    value = json.loads(trained("WordPiece", 1200, 2000))
    paths = [tmp_path / f"{name}.json" for name in ("one", "other", "moved")]
    paths[0].write_text(json.dumps(value))
    moved = dict(value["model"]["vocab"])
    last, before = sorted(moved, key=moved.__getitem__)[-2:]
    moved[last], moved[before] = moved[before], moved[last]
    paths[2].write_text(json.dumps({**value, "model": {**value["model"], "vocab": moved}}))
    assert diff_tokenizers(paths[0], paths[2]).relation == "renumbered"
    value["normalizer"]["lowercase"] = not value["normalizer"]["lowercase"]
    value["model"]["vocab"]["a new one"] = value["model"]["vocab"].pop(last)
    paths[1].write_text(json.dumps(value))
    found = diff_tokenizers(paths[0], paths[1])
    assert (found.relation, found.differs) == ("other", ("normalizer", "model/vocab"))
    assert ([text for _, text in found.gone], [text for _, text in found.came]) == ([last], ["a new one"])
    assert "tokens that came\n  1: `a new one`" in tokenizers_text(found)


def test_the_command_takes_files_and_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tokenizer.json").write_text(trained("BPE", 1200, 2000), encoding="utf-8")
    one, other = (str(tmp_path / name) for name in ("one", "other"))
    assert run(["diff", f"{one}/tokenizer.json", f"{other}/tokenizer.json"]) == 0
    assert run(["diff", one, other, "--tokenizers", "--json"]) == 0
    assert capsys.readouterr().out.count("the same tokenizer") == 1
    assert run(["diff", one, str(tmp_path), "--tokenizers"]) == 2
    assert "tokenizer.json: no such file" in capsys.readouterr().err
    assert run(["diff", one, other, "--tokenizers", "--values"]) == 2
    (tmp_path / "text.json").write_text("no tokenizer")
    assert run(["diff", f"{one}/tokenizer.json", str(tmp_path / "text.json")]) == 3
    assert f"error: {tmp_path}/text.json: cannot be read: " in capsys.readouterr().err
