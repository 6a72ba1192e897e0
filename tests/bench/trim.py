"""How fast texts are counted beside the tokenizers package's own `encode_batch`, and what a trim of a full-size
checkpoint takes beside a script that loads, counts, slices and saves.

python -m tests.bench.trim [--count MB] [--trim MB] [FOLDER]

Texts are lines of the files of the packages that are installed here; the tokenizer is a Unigram of 250,002 pieces, what
occurs most in them. Times are of whole processes, in turns; memory is that of a process with all its children, each
page counted once, looked at twenty times a second. Needs about 3 GB of disk below the folder.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

PIECES = 250_002
SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
ENDINGS = (".py", ".pyi", ".md", ".rst", ".txt")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--count", type=float, default=1000, help="megabytes that are counted (default 1000)")
    parser.add_argument("--trim", type=float, default=20, help="megabytes that a trim gets (default 20)")
    parser.add_argument("--do", choices=["encode", "count", "slice"], help="do this one job on what lies in FOLDER")
    asked = parser.parse_args()
    if asked.do:
        {"encode": encode, "count": count, "slice": slice_by_hand}[asked.do](asked.folder)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = asked.folder or Path(name)
        for told in measure(folder, asked.count, asked.trim):
            print(told, flush=True)


def measure(folder: Path, counted: float, trimmed: float) -> Iterator[str]:
    """Lines of results; nothing is measured for 0 megabytes."""
    folder.mkdir(exist_ok=True)
    me = [sys.executable, "-m", "tests.bench.trim", str(folder), "--do"]
    if not (folder / "base" / "config.json").exists():
        ours = [sys.executable, "-m", "gte_surgery"]
        subprocess.run([*ours, "new", folder / "base", "--release", "gte-multilingual-base"], check=True)
        write_texts(folder / "sample.txt", 20)
        write_tokenizer(folder / "base", folder / "sample.txt")
    if counted:
        size = write_texts(folder / "texts.txt", counted)
        seconds = {job: peak_and_seconds([*me, job])[1] for job in ("encode", "count")}
        yield f"{size / 1e6:.0f} MB: encode_batch {seconds['encode']:.1f} s, counting {seconds['count']:.1f} s"
        yield f"counting is {seconds['encode'] / seconds['count']:.2f} times as fast"
    if trimmed:
        size = write_texts(folder / "texts.txt", trimmed)
        out = ["--out", folder / "small", "--top", "32000", "--round-to", "64", "--no-hash"]
        ours = [sys.executable, "-m", "gte_surgery", "trim", folder / "base", "--texts", folder / "texts.txt", *out]
        for name, command in (("trim", list(map(str, ours))), ("load, count, slice, save", [*me, "slice"])):
            peak, took = peak_and_seconds(command)
            yield f"{name}, {size / 1e6:.0f} MB: {took:.1f} s, {peak / 2**20:.0f} MiB"


def write_texts(path: Path, megabytes: float) -> int:
    """Lines of installed packages, over again with numbers in them where there are too few; how many bytes."""
    written, wanted = 0, int(megabytes * 1e6)
    with path.open("w", encoding="utf-8") as file:
        for turn in range(1000):
            for line in lines():
                written += file.write(line if not turn else f"{line[:-1]} {turn}\n")
                if written >= wanted:
                    return path.stat().st_size
    return path.stat().st_size


def lines() -> Iterator[str]:
    for root in map(Path, dict.fromkeys(sys.path)):
        for path in sorted(root.glob("*/**/*")) if root.name == "site-packages" else ():
            if path.suffix in ENDINGS and path.is_file():
                for line in path.read_text(encoding="utf-8", errors="ignore").splitlines():
                    if line.strip():
                        yield line.strip() + "\n"


def write_tokenizer(folder: Path, sample: Path) -> None:
    """A Unigram tokenizer: every character, the most frequent words, and their beginnings and ends."""
    words = Counter(word for line in sample.open(encoding="utf-8") for word in line.split())
    found = Counter[str]()
    for word, times in words.items():
        found[f"▁{word}"] += times
        for size in range(1, min(len(word), 12)):
            found[f"▁{word[:size]}"] += times
            found[word[-size:]] += times
    characters = {each for word in words for each in word} | {"▁"}
    total = sum(found.values())
    pieces = [each for each, _ in found.most_common(PIECES) if len(each) > 1][: PIECES - 5 - len(characters)]
    vocabulary = [*((text, 0.0) for text in SPECIALS), *((each, math.log(found[each] / total)) for each in pieces)]
    vocabulary += [(each, math.log(max(1, found[each]) / total) - 2) for each in sorted(characters)] + [("<mask>", 0.0)]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    names = {text: number for number, (text, _) in enumerate(vocabulary) if text in (*SPECIALS, "<mask>")}
    around = {text: {"id": text, "ids": [names[text]], "tokens": [text]} for text in ("<s>", "</s>")}
    first, text, last = ({"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                         {"SpecialToken": {"id": "</s>", "type_id": 0}})  # fmt: skip
    other = {"Sequence": {"id": "B", "type_id": 0}}
    template = {"type": "TemplateProcessing", "single": [first, text, last], "pair": [first, text, last, other, last]}
    space = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    whole = {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": number, "content": text, **flags} for text, number in names.items()],
        "normalizer": {"type": "NFKC"}, "pre_tokenizer": space,
        "post_processor": {**template, "special_tokens": around},
        "decoder": space, "model": {"type": "Unigram", "unk_id": 3, "vocab": vocabulary, "byte_fallback": False},
    }  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(whole, ensure_ascii=False), encoding="utf-8")
    roles = {"cls": "<s>", "sep": "</s>", "pad": "<pad>", "unk": "<unk>", "mask": "<mask>"}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **{f"{role}_token": text for role, text in roles.items()}}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


def encode(folder: Path) -> Counter[int]:
    """The package's own way: `encode_batch` on every core, and a count of the ids."""
    from tokenizers import Tokenizer

    tokenizer, counts = Tokenizer.from_file(str(folder / "base" / "tokenizer.json")), Counter[int]()
    with (folder / "texts.txt").open(encoding="utf-8") as file:
        while batch := list(islice(file, 2000)):
            for each in tokenizer.encode_batch_fast([line.rstrip("\n") for line in batch], add_special_tokens=False):
                counts.update(each.ids)
    return counts


def count(folder: Path) -> None:
    """Our way of the same."""
    from gte_surgery.vocabulary.trimming import counting
    from gte_surgery.vocabulary.trimming.texts import parts
    from gte_surgery.vocabulary.trimming.workers import started

    with tempfile.TemporaryDirectory() as name, started(None) as workers:
        workers.open({"old": (folder / "base" / "tokenizer.json").absolute()}, ())
        found = counting.count(workers, parts([folder / "texts.txt"], None), Path(name), PIECES, 0)
        print(f"{found.texts} texts, {found.tokens} tokens, {found.distinct} distinct words", file=sys.stderr)


def slice_by_hand(folder: Path) -> None:
    """The usual script, which is what trimbed amounts to: load, count, keep 32,000 rows, write a smaller tokenizer."""
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder / "base")
    value = json.loads(Tokenizer.from_file(str(folder / "base" / "tokenizer.json")).to_str())
    vocabulary = value["model"]["vocab"]
    needed = {0, 1, 2, 3, len(vocabulary) - 1, *(at for at, (text, _) in enumerate(vocabulary) if len(text) == 1)}
    order = [number for number, _ in encode(folder).most_common() if number not in needed]
    kept = sorted({*needed, *order[: 32_000 - len(needed)]})
    table = torch.nn.Embedding(len(kept), model.config.hidden_size, model.config.pad_token_id)
    table.weight.data = model.get_input_embeddings().weight.data[torch.tensor(kept)]
    model.set_input_embeddings(table)
    model.config.vocab_size = len(kept)
    model.save_pretrained(folder / "by-hand")
    new_ids = {old: new for new, old in enumerate(kept)}
    value["model"]["vocab"] = [vocabulary[number] for number in kept]
    for token in value["added_tokens"]:
        token["id"] = new_ids[token["id"]]
    (folder / "by-hand" / "tokenizer.json").write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def peak_and_seconds(command: list[str]) -> tuple[int, float]:
    """Peak bytes of a process with all below it, and its seconds. Raises CalledProcessError."""
    begin, peak = time.perf_counter(), 0
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        peak = max(peak, sum(map(_held, _tree(process.pid))))
        time.sleep(0.05)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return peak, time.perf_counter() - begin


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            below = task.read_text().split()
        except OSError:
            continue
        for child in map(int, below):
            yield from _tree(child)


def _held(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:")), 0)


if __name__ == "__main__":
    main()
