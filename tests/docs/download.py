"""A small stand-in for a download, made without network: `python -m tests.docs.download hub`.

What `hf download` leaves: a hub cache with blobs, a snapshot of links into them and refs/main; in it the remote
dialect, prefixed names, a tokenizer of 1,000 pieces (id 17 is `▁piece17`) and the sentence-transformers files.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from pathlib import Path

from gte_surgery import new
from tests.hub.full_size import add_sidecars

ENTRY, REVISION = "models--Alibaba-NLP--gte-multilingual-base", "9bbca17d9273fd0d03d5725c7a4b0f6b45142062"
ROWS, IDS, HIDDEN, LONGEST = 1024, 1000, 64, 512
AUTO_MAP = {
    "AutoConfig": "Alibaba-NLP/new-impl--configuration.NewConfig",
    "AutoModel": "Alibaba-NLP/new-impl--modeling.NewModel",
}
SPECIAL = {"<s>": 0, "</s>": 2}
BEGIN, END = ({"SpecialToken": {"id": text, "type_id": 0}} for text in SPECIAL)
FIRST, SECOND = ({"Sequence": {"id": which, "type_id": 0}} for which in "AB")
TEMPLATE = {
    "type": "TemplateProcessing",
    "single": [BEGIN, FIRST, END],
    "pair": [BEGIN, FIRST, END, END, SECOND, END],
    "special_tokens": {text: {"id": text, "ids": [number], "tokens": [text]} for text, number in SPECIAL.items()},
}


def download(cache: Path) -> Path:
    """The snapshot in an entry of a new hub cache."""
    snapshot = cache / ENTRY / "snapshots" / REVISION
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "made"
        new(made, release="gte-multilingual-base", dialect="remote", vocab=ROWS, layers=2, hidden=HIDDEN, heads=4,
            intermediate=96, max_positions=LONGEST)  # fmt: skip
        (made / "gte-surgery.json").unlink()
        add_sidecars(made, IDS, HIDDEN, LONGEST)
        add(made / "config.json", auto_map=AUTO_MAP)
        add(made / "tokenizer.json", post_processor=TEMPLATE)
        for path in sorted(path for path in made.rglob("*") if path.is_file()):
            link(path.read_bytes(), snapshot / path.relative_to(made), cache / ENTRY / "blobs")
    refs = cache / ENTRY / "refs" / "main"
    refs.parent.mkdir()
    refs.write_text(REVISION, encoding="utf-8")
    return snapshot


def add(path: Path, **members: object) -> None:
    """Members of a JSON file of a download."""
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | members, indent=2), encoding="utf-8")


def link(content: bytes, place: Path, blobs: Path) -> None:
    """A file of a snapshot: its bytes among the blobs, a relative link to them in its place."""
    blobs.mkdir(parents=True, exist_ok=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    blob = blobs / hashlib.sha256(content).hexdigest()
    blob.write_bytes(content)
    up = len(place.relative_to(blobs.parent).parts) - 1
    place.symlink_to(Path(*[".."] * up, "blobs", blob.name))


if __name__ == "__main__":
    print(download(Path(sys.argv[1])))
