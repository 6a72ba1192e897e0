"""The page of `--html` in headless Chromium: what a person finds there, and that nothing leaves or runs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gte_surgery.cli.entry import run
from tests.browser.reading import Page, chromium, needs_chromium
from tests.builder import load, native_config, save, tensors, write

pytest.importorskip("jinja2", reason="needs the extra report")
WORDS = "embeddings.word_embeddings.weight"
EVIL = "</title><script>document.body.innerHTML='owned'</script>"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained pad row, three zero rows, one wide layer, and a tensor whose name tries to break out."""
    config = native_config(num_hidden_layers=3)
    path = write(tmp_path_factory.mktemp("page") / "ckpt", config, tensors(config))
    arrays = load(path)
    arrays[WORDS][1], arrays[WORDS][[5, 6, 9]] = 0.05, 0
    arrays["encoder.layer.2.mlp.down_proj.weight"] *= 5
    save(path / "model.safetensors", arrays | {EVIL: arrays["encoder.layer.0.mlp_ln.bias"].copy()})
    return path


@pytest.fixture(scope="module")
def page(checkpoint: Path) -> Path:
    file = checkpoint.parent / "page.html"
    assert run(["check", str(checkpoint), "--html", str(file), "--vocab", "640"]) == 1
    return file


@needs_chromium
def test_what_a_person_finds_there(page: Path, tmp_path: Path) -> None:
    seen = Page(chromium("--dump-dom", page.as_uri(), folder=tmp_path))
    assert "1 error" in seen.text
    assert "GTE150: The vocabulary does not have the size that --vocab expects" in seen.text
    assert "/vocab_size: 128, expected 640" in seen.text
    assert "3 layers, hidden 32, 4 heads of 8" in seen.text
    assert "128 rows, median norm" in seen.text
    assert "3 zero rows (5, 6, 9)" in seen.text
    assert [each["aria-labelledby"] for each in seen.all("svg")] == [
        "norms-title", "parts-title", "spreads-title", "rope-title",
    ]  # fmt: skip
    for drawn in ("pad row 1", "3 zero rows", "norm of the row", "embeddings", "up_gate", "128 positions"):
        assert drawn in seen.text


@needs_chromium
def test_a_hostile_name_is_text_and_runs_nothing(page: Path, tmp_path: Path) -> None:
    seen = Page(chromium("--dump-dom", page.as_uri(), folder=tmp_path))
    assert "owned" not in seen.text.replace(EVIL, "")
    assert EVIL in seen.text
    assert seen.all("script") == []


@needs_chromium
@pytest.mark.parametrize(("preference", "is_dark"), [("1", False), ("0", True)], ids=["light", "dark"])
def test_it_is_painted_light_and_dark(page: Path, tmp_path: Path, preference: str, is_dark: bool) -> None:
    shot = tmp_path / "shot.png"
    chromium(
        f"--blink-settings=preferredColorScheme={preference}", "--window-size=400,300", f"--screenshot={shot}",
        page.as_uri(), folder=tmp_path,
    )  # fmt: skip
    with Image.open(shot) as image:
        pixels = np.asarray(image.convert("L")) / 255
    assert bool(pixels[5, 5] < 0.5) is is_dark
    assert pixels.std() > 0.02


def test_it_is_one_file_that_asks_for_nothing(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    seen = Page(text)
    assert {each.get("content") for each in seen.all("meta")} >= {"default-src 'none'; style-src 'unsafe-inline'"}
    assert {tag for tag, _ in seen.elements} & {"script", "link", "img", "iframe", "object", "form"} == set()
    targets = [value for _, attributes in seen.elements for key, value in attributes.items() if key.endswith("href")]
    assert targets
    assert [target for target in targets if not (target or "").startswith("#")] == []
    assert re.findall(r"url\((?!#)|@import", text) == []


def test_every_link_leads_somewhere_and_every_id_is_one(page: Path) -> None:
    seen = Page(page.read_text(encoding="utf-8"))
    ids = [attributes["id"] for _, attributes in seen.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [str(each["href"]).removeprefix("#") for each in seen.all("a")]
    assert set(links) <= set(ids)
    assert {"what", "findings", "norms", "parts", "spreads", "rope", "tensors"} <= set(links)
    labels = [str(each.get("aria-labelledby")) for tag, each in seen.elements if tag in ("section", "svg")]
    assert set(labels) <= set(ids)


def test_all_that_can_be_used_is_reached_by_keyboard(page: Path) -> None:
    seen = Page(page.read_text(encoding="utf-8"))
    assert len(seen.all("summary")) == len(seen.all("details")) >= 5
    regions = [each for _, each in seen.elements if each.get("role") == "region"]
    assert regions
    assert all(each.get("tabindex") == "0" and each.get("aria-label") for each in regions)
    assert seen.all("a")[0] == {"class": "skip", "href": "#main"}
    assert seen.all("html") == [{"lang": "en"}]


def test_inspect_has_no_findings_and_the_same_input_gives_the_same_page(checkpoint: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.html", tmp_path / "second.html"
    assert run(["inspect", str(checkpoint), "--html", str(first)]) == 0
    assert run(["inspect", str(checkpoint), "--html", str(second)]) == 0
    assert 'id="findings"' not in first.read_text()
    assert first.read_bytes() == second.read_bytes()


def test_what_is_no_checkpoint_gets_a_page_too(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert run(["check", str(tmp_path / "empty"), "--html", str(tmp_path / "page.html")]) == 1
    seen = Page((tmp_path / "page.html").read_text())
    assert "GTE001" in seen.text
    assert seen.all("svg") == []


def test_without_the_extra_it_is_refused_with_what_to_install(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert run(["inspect", str(checkpoint), "--html", str(tmp_path / "page.html")]) == 3
    assert "gte-surgery[report]" in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()


def test_weights_that_shrink_while_they_are_read_are_an_error_and_no_bug(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def read_rows(*_: object) -> bytes:
        raise EOFError("model.safetensors: ends inside a tensor")

    monkeypatch.setattr("gte_surgery.compare.portrait.read_rows", read_rows)
    assert run(["inspect", str(checkpoint), "--html", str(tmp_path / "page.html")]) == 3
    assert "changed while it was read" in capsys.readouterr().err


def test_of_very_many_tensors_the_first_are_listed(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gte_surgery.render.formats.html.MOST_TENSORS", 7)
    assert run(["inspect", str(checkpoint), "--html", str(tmp_path / "page.html")]) == 0
    text = (tmp_path / "page.html").read_text()
    assert f"{len(load(checkpoint))} tensors, the first 7" in text
    assert len(re.findall(r"<tr><td><code>", text)) == 7
