"""The examples in the docstrings of public names are run, in a scratch folder, and give what they show."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

import gte_surgery

EXAMPLES = {
    name: test
    for name in gte_surgery.__all__
    for test in doctest.DocTestFinder(recurse=False).find(getattr(gte_surgery, name), name, globs={})
    if test.examples
}


def test_the_verbs_have_examples() -> None:
    assert {"diff", "reinit"} <= set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_gives_what_it_shows(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    told: list[str] = []
    ran = doctest.DocTestRunner(verbose=False).run(EXAMPLES[name], out=told.append)
    assert ran.failed == 0, "".join(told)
