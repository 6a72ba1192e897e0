"""What every command says and makes of a checkpoint on a hub is what it says and makes of the same one on this disk."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gte_surgery import check, open_checkpoint
from gte_surgery.cli import entry
from tests.builder import build, remote_config, write_sidecars
from tests.hub.stand_in import StandIn
from tests.texts import lines, write_tokenizer

NAME = "org/name"
ADDRESS = f"hf://{NAME}"


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """A small sound checkpoint in two shards, with files beside it that nothing here reads."""
    root = build(tmp_path / "local", remote_config(vocab_size=256), shards=2)
    (root / "onnx").mkdir()
    (root / "onnx" / "model.onnx").write_bytes(b"\x08\x07 not ours" * 999)
    (root / "README.md").write_text("# A model\n")
    return root


@pytest.fixture
def commit(hub: StandIn, local: Path) -> str:
    return hub.publish(NAME, local)


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command in this process."""
    code = entry.run([*map(str, arguments)])
    told = capsys.readouterr()
    return code, told.out, told.err


def files(folder: Path) -> dict[str, bytes]:
    """All files but the receipt, which tells where the checkpoint came from."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if name != "gte-surgery.json"}


@pytest.mark.parametrize("options", [["check"], ["check", "--values"], ["check", "--for", "vllm"], ["inspect"]])
def test_reading_commands_say_the_same(
    capsys: pytest.CaptureFixture[str], local: Path, commit: str, options: list[str]
) -> None:
    verb, *others = options
    here = run(capsys, verb, local, *others)
    there = run(capsys, verb, ADDRESS, *others)
    assert there[0] == here[0]
    assert there[1].replace(f"{ADDRESS}@{commit}", str(local)) == here[1]


@pytest.mark.parametrize(
    "edit",
    [
        ["resize", "--vocab", "160", "--pad", "0"],
        ["resize", "--vocab", "300", "--pad", "1", "--init", "mean-cov", "--seed", "3"],
        ["resize", "--vocab", "160", "--pad", "0", "--type-vocab", "0"],
        ["convert", "--to", "native"],
        ["convert", "--dtype", "BF16", "--shard-size", "40KB"],
        ["reinit", "--only", "*attention*", "--seed", "5"],
        ["remap", "--keep", "KEPT", "--pad", "0", "--init", "mean"],
    ],
    ids=lambda edit: " ".join(edit),
)
def test_surgeries_make_the_same_files(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, local: Path, commit: str, edit: list[str]
) -> None:
    kept = tmp_path / "kept.txt"
    kept.write_text("\n".join(map(str, [0, 255, 3, *range(90, 40, -3)])))
    verb, *options = [str(kept) if word == "KEPT" else word for word in edit]
    assert run(capsys, verb, local, *options, "--out", tmp_path / "here")[0] == 0
    assert run(capsys, verb, ADDRESS, *options, "--out", tmp_path / "there")[0] == 0
    assert files(tmp_path / "there") == files(tmp_path / "here")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_receipt_says_where_the_checkpoint_came_from(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, hub: StandIn, local: Path, commit: str
) -> None:
    out = tmp_path / "small"
    assert run(capsys, "resize", ADDRESS, "--vocab", "160", "--pad", "0", "--out", out)[0] == 0
    (receipt,) = json.loads((out / "gte-surgery.json").read_text())["receipts"]
    assert receipt["origin"] == {"repository": NAME, "commit": commit}
    blobs = hub.commits[NAME][commit]
    told = {source["name"]: (source["size"], source["etag"]) for source in receipt["sources"]}
    assert told == {name: (blob.size, blob.etag) for name, blob in blobs.items() if name in told}
    assert {"README.md", "onnx/model.onnx"} < told.keys()
    assert f"from: {ADDRESS}@{commit}" in run(capsys, "history", out)[1]


def test_a_plan_says_how_much_is_fetched(capsys: pytest.CaptureFixture[str], tmp_path: Path, commit: str) -> None:
    options = ("--vocab", "160", "--pad", "0", "--out", tmp_path / "small", "--dry-run")
    told = run(capsys, "resize", ADDRESS, *options)[1]
    assert "to fetch" in told
    plan = json.loads(run(capsys, "resize", ADDRESS, *options, "--json")[1])
    assert plan["fetch"]["source"] == f"{ADDRESS}@{commit}"
    assert 0 < plan["fetch"]["nbytes"] < plan["fetch"]["of"]
    assert not (tmp_path / "small").exists()


@pytest.mark.parametrize("swapped", [False, True])
def test_two_sides_are_compared(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, local: Path, commit: str, swapped: bool
) -> None:
    assert run(capsys, "resize", local, "--vocab", "160", "--pad", "0", "--out", tmp_path / "small")[0] == 0
    here, there = ([local, tmp_path / "small"], [ADDRESS, tmp_path / "small"])
    if swapped:
        here, there = here[::-1], there[::-1]
    wanted = run(capsys, "diff", *here, "--values")
    found = run(capsys, "diff", *there, "--values")
    assert (found[0], found[1].replace(f"{ADDRESS}@{commit}", str(local))) == wanted[:2]
    assert run(capsys, "diff", ADDRESS, local)[0] == 0


def test_a_folder_and_a_revision_are_found(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, hub: StandIn, local: Path
) -> None:
    nested = tmp_path / "nested"
    nested.mkdir()
    local.rename(nested / "inner")
    (nested / "README.md").write_text("somewhere else")
    commit = hub.publish(NAME, nested, branch="v1/stable")
    address = f"{ADDRESS}@v1%2Fstable/inner"
    code, told, _ = run(capsys, "check", address)
    assert (code, f"{ADDRESS}@{commit}/inner: 0 errors" in told) == (0, True)
    out = tmp_path / "out"
    assert run(capsys, "resize", address, "--vocab", "160", "--pad", "0", "--out", out)[0] == 0
    assert not (out / "inner").exists()
    assert (out / "onnx" / "model.onnx").read_bytes() == (nested / "inner" / "onnx" / "model.onnx").read_bytes()
    assert json.loads((out / "gte-surgery.json").read_text())["receipts"][0]["origin"]["folder"] == "inner"


def test_a_contract_is_read_from_a_hub(tmp_path: Path, hub: StandIn, local: Path) -> None:
    from gte_surgery import IdContract

    write_sidecars(local)
    hub.publish(NAME, local)
    assert IdContract.from_checkpoint(ADDRESS) == IdContract.from_checkpoint(local)


def test_a_copy_is_held_to_the_sha256_of_the_hub(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, local: Path, commit: str
) -> None:
    out = tmp_path / "copy"
    options = ("--vocab", "256", "--pad", "1", "--no-hash", "--out", out)
    assert run(capsys, "resize", ADDRESS, *options)[0] == 0
    assert "GTE065" not in run(capsys, "check", out, "--values")[1]
    shard = next(out.glob("*.safetensors"))
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    assert "GTE065" in run(capsys, "check", out, "--values")[1]


def test_a_surgery_on_a_hub_needs_out(capsys: pytest.CaptureFixture[str], hub: StandIn, commit: str) -> None:
    code, _, told = run(capsys, "resize", ADDRESS, "--vocab", "160", "--pad", "0")
    assert (code, hub.asked) == (2, [])
    assert "lies on a hub, where nothing is changed; a surgery on it needs --out" in told
    assert "--out name-edited" in told


def test_what_was_cached_is_not_fetched_again(
    capsys: pytest.CaptureFixture[str], hub: StandIn, local: Path, commit: str
) -> None:
    from huggingface_hub import hf_hub_download

    for name in ("config.json", *(path.name for path in local.glob("*.safetensors*"))):
        hf_hub_download(NAME, name, revision=commit)
    hub.forget()
    assert run(capsys, "check", ADDRESS)[0] == 0
    assert [asked.path.partition("?")[0] for asked in hub.asked] == [f"/api/models/{NAME}"]


def test_offline_the_cached_snapshot_is_read(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, hub: StandIn, commit: str
) -> None:
    from huggingface_hub import constants, snapshot_download

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    code, _, told = run(capsys, "check", ADDRESS)
    assert (code, "not in the hub's cache, and HF_HUB_OFFLINE forbids to ask for it" in told) == (3, True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    snapshot_download(NAME)
    hub.forget()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    code, told, _ = run(capsys, "check", ADDRESS)
    assert (code, told.partition(": ")[0]) == (0, f"{ADDRESS}@{commit}")
    assert hub.asked == []


def test_what_a_proof_has_downloaded_is_read_offline_and_by_its_commit_where_no_branch_is_noted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, hub: StandIn, commit: str
) -> None:
    """The README of the repository is not downloaded, and the library calls such a snapshot incomplete."""
    from huggingface_hub import constants

    open_checkpoint(ADDRESS).snapshot.download()  # type: ignore[union-attr]
    hub.forget()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert run(capsys, "check", ADDRESS)[0] == 0
    (noted,) = Path(constants.HF_HUB_CACHE).rglob("refs/main")
    noted.unlink()
    code, _, told = run(capsys, "check", ADDRESS)
    assert (code, f"did you mean `gte-surgery check {ADDRESS}@{commit}`?" in told) == (3, True), told
    assert run(capsys, "check", f"{ADDRESS}@{commit}")[0] == 0
    assert hub.asked == []


def test_a_trim_without_out_is_refused_before_anything_is_counted(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, hub: StandIn, commit: str
) -> None:
    (tmp_path / "texts.txt").write_text("some words\n")
    texts = ("--texts", tmp_path / "texts.txt", "--write-counts", tmp_path / "counts.tsv")
    code, _, told = run(capsys, "trim", ADDRESS, *texts)
    assert (code, hub.asked, (tmp_path / "counts.tsv").exists()) == (2, [], False)
    assert "a surgery on it needs --out" in told
    vocabulary = ("--to-tokenizer", tmp_path / "tokenizer.json")
    assert run(capsys, "remap", ADDRESS, *vocabulary)[0] == 2
    assert hub.asked == []


@pytest.mark.slow
def test_a_trim_and_its_scan_and_fuzz_are_those_of_the_local_copy(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, hub: StandIn
) -> None:
    local = build(tmp_path / "local", remote_config(vocab_size=640))
    write_tokenizer(local, "WordPiece", 600, 500)
    hub.publish(NAME, local)
    (tmp_path / "texts.txt").write_text("\n".join(lines(40)))
    texts = ("--texts", tmp_path / "texts.txt", "--out")
    assert run(capsys, "trim", local, *texts, tmp_path / "here")[0] == 0
    assert run(capsys, "trim", ADDRESS, *texts, tmp_path / "there")[0] == 0
    assert files(tmp_path / "there") == files(tmp_path / "here")
    (tmp_path / "ids.jsonl").write_text('{"input_ids": [0, 639, 2], "attention_mask": [1, 1, 1]}\n')
    (code, told, _), (same, found, _) = (
        run(capsys, "scan", place, tmp_path / "ids.jsonl") for place in (local, ADDRESS)
    )
    assert (code, told) == (same, re.sub(rf"{ADDRESS}@\w+ (.*) --out name-edited`", rf"{local} \1`", found))
    assert "--out name-edited" in found
    fuzzed = ("--encoder", "tests.hub.encoding:encoder", "--examples", "20")
    breaks = [run(capsys, "fuzz", place, *fuzzed) for place in (local, ADDRESS)]
    assert breaks[0] == breaks[1]
    assert breaks[0][0] == 1


def test_a_proof_downloads_what_it_runs_and_the_rest_is_as_ever(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, hub: StandIn, local: Path, commit: str
) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    edit = ("--vocab", "160", "--pad", "0", "--out")
    assert run(capsys, "resize", local, *edit, tmp_path / "here")[0] == 0
    code, told, _ = run(capsys, "resize", ADDRESS, *edit, tmp_path / "there", "--prove", "cpu")
    assert (code, "proved on cpu in float32" in told) == (0, True)
    assert files(tmp_path / "there") == files(tmp_path / "here")
    (receipt,) = json.loads((tmp_path / "there" / "gte-surgery.json").read_text())["receipts"]
    assert receipt["origin"] == {"repository": NAME, "commit": commit}
    hub.forget()
    assert run(capsys, "resize", ADDRESS, *edit, tmp_path / "again")[0] == 0
    assert not [asked.path for asked in hub.asked if asked.path.endswith(".safetensors")]
    assert files(tmp_path / "again") == files(tmp_path / "here")


def test_a_smoke_says_how_much_it_fetches_before_it_runs_and_names_the_address(
    capsys: pytest.CaptureFixture[str], hub: StandIn, local: Path, commit: str, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    options = ("--device", "cpu", "--batch", "2", "--max-length", "8", "--attention", "eager")
    code, told, said = run(capsys, "smoke", ADDRESS, *options)
    size = sum(path.stat().st_size for path in local.iterdir() if path.suffix in (".json", ".safetensors"))
    assert f"fetching {size:,} bytes of {ADDRESS}@{commit} into the hub's cache" in said
    assert (code, " 0 did not, 0 errors" in told) == (0, True)
    assert told.startswith(f"{ADDRESS}@{commit}\n")
    assert str(tmp_path / "cache") not in told + said
    assert not [asked.path for asked in hub.asked if "onnx" in asked.path]


def test_a_hub_holds_the_old_side_of_a_comparison(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, local: Path, commit: str
) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    assert run(capsys, "resize", ADDRESS, "--vocab", "160", "--pad", "0", "--out", tmp_path / "small")[0] == 0
    for old in (ADDRESS, local):
        code, told, said = run(capsys, "smoke", tmp_path / "small", "--against", old, "--device", "cpu", "--batch", "2")
        assert (code, "159 word rows are the old ones" in told) == (0, True), told + said
        assert f"against {ADDRESS}@{commit}" in told if old == ADDRESS else f"against {old}" in told


def test_tokenizers_are_compared_by_their_addresses_and_no_bar_is_drawn_where_no_terminal_is(
    tmp_path: Path, hub: StandIn
) -> None:
    local = build(tmp_path / "local", remote_config(vocab_size=640))
    write_tokenizer(local, "WordPiece", 600, 500)
    hub.publish(NAME, local)
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}
    environment.pop("HF_HUB_DISABLE_PROGRESS_BARS", None)
    words = [sys.executable, "-m", "gte_surgery"]
    compared = subprocess.run(
        [*words, "diff", ADDRESS, local, "--tokenizers"], env=environment, capture_output=True, text=True
    )
    assert compared.stdout.endswith(f"{ADDRESS} and {local}: equal, the same tokenizer\n"), compared
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    edit = ("--vocab", "700", "--pad", "1", "--out", tmp_path / "out", "--prove", "cpu")
    proved = subprocess.run([*words, "resize", ADDRESS, *edit], env=environment, capture_output=True, text=True)
    assert proved.returncode == 0, proved.stderr
    assert "%|" not in proved.stderr


def test_the_reading_of_all_values_is_shown_arriving(hub: StandIn, commit: str) -> None:
    told: list[tuple[int, int]] = []
    check(open_checkpoint(ADDRESS), values=True, progress=lambda done, of: told.append((done, of)))
    (of,) = {of for _, of in told}
    assert told[-1] == (of, of)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
