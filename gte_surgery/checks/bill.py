"""Bills of materials beside the weights: what each CycloneDX document [1.6, JSON] says that the files were."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gte_surgery.checkpoint.bounds import MAX_JSON_BYTES
from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.checkpoint.files import read_json
from gte_surgery.checks.signature import Signature
from gte_surgery.errors import CheckpointError


def is_bill(name: str) -> bool:
    """Whether a bill of materials is called so, as CycloneDX recommends."""
    return name == "bom.json" or name.endswith(".cdx.json")


def bills(checkpoint: Checkpoint) -> Iterator[Signature]:
    """Those that name files; what cannot be read is passed over, for nothing else depends on it."""
    for entry in checkpoint.files:
        file = checkpoint.readable(entry.name) if is_bill(entry.name) else None
        if file is None or file.size > MAX_JSON_BYTES:
            continue
        try:
            value = read_json(file).value
        except CheckpointError:
            continue
        if isinstance(value, dict) and value.get("bomFormat") == "CycloneDX":
            components = [each for each in _listed(value, "components") if each.get("type") == "file"]
            named = {str(each.get("name")): each for each in components if each.get("name") != file.name}
            digests = {name: _digest(each) for name, each in named.items()}
            sizes = {name: size for name, each in named.items() if (size := _size(each)) is not None}
            yield Signature(file, b"", digests, sizes=sizes, is_whole=False)


def _listed(value: Mapping[str, object], key: str) -> list[Mapping[str, object]]:
    found = value.get(key)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _digest(component: Mapping[str, object]) -> str:
    found = [each.get("content") for each in _listed(component, "hashes") if each.get("alg") == "SHA-256"]
    return found[0].lower() if found and isinstance(found[0], str) else ""


def _size(component: Mapping[str, object]) -> int | None:
    """As `inspect --format cyclonedx` states it."""
    for each in _listed(component, "properties"):
        stated = each.get("value")
        if each.get("name") == "gte-surgery:size" and isinstance(stated, str) and stated.isdecimal():
            return int(stated[:20])
    return None
