"""Which families there are, what tells them apart, and that their releases are told to the reader."""

from __future__ import annotations

from pathlib import Path

import pytest

import gte_surgery
from gte_surgery.errors import RefusedError, UsageError
from gte_surgery.gte.families import families, family_of, find_release, releases
from gte_surgery.surgery.verbs import new


@pytest.mark.parametrize("family", tuple(families()), ids=lambda family: family.name)
def test_a_family_is_known_by_its_model_types_alone(family: object) -> None:
    assert [family_of({"model_type": name}) for name in family.model_types] == [family] * len(family.model_types)  # type: ignore[attr-defined]


def test_a_config_that_tells_nothing_counts_as_the_first() -> None:
    assert family_of({}) is family_of({"model_type": 3}) is next(families())


def test_all_sixteen_releases_stand_in_the_readme_and_the_reference() -> None:
    readme = (Path(gte_surgery.__file__).parents[1] / "README.md").read_text()
    named = readme.partition("The 16 releases that it knows: ")[2].partition(". Each")[0]
    assert set(named.replace("\n", " ").split(", ")) == releases().keys()
    page = (Path(gte_surgery.__file__).parent / "cli" / "REFERENCE.md").read_text()
    assert len(releases()) == 16
    assert [name for name in releases() if f" {name}," not in page and f" {name} |" not in page] == []


@pytest.mark.parametrize("name", ["gte-base", "gte-modernbert-base"])
def test_a_dialect_that_a_family_lacks_is_refused(name: str, tmp_path: Path) -> None:
    family, release = find_release(name)
    assert (
        family.resembling(family.read_config(family.release_config(release, release.dialect)), release.head) is release
    )
    with pytest.raises(UsageError, match=f"dialect: remote, {name} was published in the native one"):
        new(tmp_path / "x", release=name, dialect="remote")
    with pytest.raises(RefusedError, match="has native only"):
        family.in_dialect("remote")
