"""Receipts as in-toto statements, and a description as a CycloneDX bill of materials: provenance for other programs.

Sources of the formats: in-toto Statement v1 [github.com/in-toto/attestation], SLSA provenance v1 [slsa.dev], CycloneDX
1.6 [cyclonedx.org]. The hashes are those that receipts keep; whether the files still have them `check --values` finds.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence

from gte_surgery import __version__
from gte_surgery.checks.description import Description

Receipt = Mapping[str, object]

_BUILD_TYPE = "urn:gte-surgery:surgery:v1"
_BUILDER = "urn:gte-surgery"
_ASKED = ("command", "edits", "seed", "removed")
_TOLD_APART = ("tool", "time", "origin", "sources", "written")


def statements(receipts: Sequence[Receipt]) -> list[str]:
    """A statement for each receipt that has hashes, oldest first, each one line of JSON: together an .intoto.jsonl.

    Its subjects are the files that the surgery wrote. A receipt without hashes has none, and no statement can be made.
    """
    made = ((receipt, [_subject(file) for file in _files(receipt, "written") if _sha256(file)]) for receipt in receipts)
    return [json.dumps(_statement(receipt, subjects)) for receipt, subjects in made if subjects]


def _statement(receipt: Receipt, subjects: list[object]) -> object:
    parameters = {key: receipt[key] for key in _ASKED if key in receipt}
    time = str(receipt.get("time", ""))
    definition = {
        "buildType": _BUILD_TYPE,
        "externalParameters": parameters,
        "internalParameters": {key: value for key, value in receipt.items() if key not in (*_ASKED, *_TOLD_APART)},
        "resolvedDependencies": list(_materials(receipt)),
    }
    details = {
        "builder": {"id": _BUILDER, "version": {"tool": str(receipt.get("tool", ""))}},
        **({"metadata": {"finishedOn": time}} if time else {}),
    }
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subjects,
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {"buildDefinition": definition, "runDetails": details},
    }


def _materials(receipt: Receipt) -> Iterator[object]:
    """What a surgery read: the commit on a hub, and each file with its content's hash, or that of its header alone."""
    origin = receipt.get("origin")
    if isinstance(origin, Mapping):
        address = f"hf://{origin.get('repository')}@{origin.get('commit')}"
        yield {"uri": address, "digest": {"gitCommit": str(origin.get("commit"))}}
    for file in _files(receipt, "sources"):
        digests = {"sha256": _sha256(file), "gteHeader": str(file.get("header", ""))}
        kept = {name: digest for name, digest in digests.items() if digest}
        if kept:
            yield {"name": file["name"], "digest": kept, "annotations": {"size": file.get("size")}}


def bill_of_materials(description: Description, receipts: Sequence[Receipt]) -> str:
    """The checkpoint as a CycloneDX 1.6 ML-BOM: the model, its card, where it is from, and its files.

    The same checkpoint gives the same text; it has no time. A hash is told of a file of the size that its receipt says.
    """
    latest = {file["name"]: file for receipt in receipts for file in _files(receipt, "written")}
    files = [_component(file.name, file.size, latest.get(file.name, {})) for file in description.files]
    tool = {"type": "application", "name": "gte-surgery", "version": __version__}
    content = {
        "metadata": {"tools": {"components": [tool]}, "component": _model(description, receipts)},
        "components": files,
        "dependencies": [{"ref": "model", "dependsOn": [f"file:{file.name}" for file in description.files]}],
    }
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(content, sort_keys=True))
    head = {"bomFormat": "CycloneDX", "specVersion": "1.6", "serialNumber": f"urn:uuid:{serial}", "version": 1}
    return json.dumps(head | content, indent=2)


def _model(description: Description, receipts: Sequence[Receipt]) -> dict[str, object]:
    origins = [origin for receipt in receipts if isinstance(origin := receipt.get("origin"), Mapping)]
    told = {
        "dialect": description.dialect,
        "release": description.release,
        "parameters": description.parameters,
        "dtypes": ", ".join(dtype for dtype, _ in description.dtypes),
        "surgeries": ", ".join(str(receipt.get("command", "?")) for receipt in receipts),
    }
    made_of = [_ancestor(origin) for origin in origins]
    return {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": description.checkpoint.rstrip("/").rpartition("/")[2] or description.checkpoint,
        "modelCard": {
            "modelParameters": {
                "task": "feature-extraction",
                "architectureFamily": "transformer",
                **({"modelArchitecture": ", ".join(description.architectures)} if description.architectures else {}),
            }
        },
        **({"pedigree": {"ancestors": made_of}} if made_of else {}),
        "properties": [{"name": f"gte-surgery:{key}", "value": str(value)} for key, value in told.items() if value],
    }


def _ancestor(origin: Mapping[str, object]) -> object:
    name, commit = str(origin.get("repository", "?")), str(origin.get("commit", "?"))
    return {
        "type": "machine-learning-model",
        "name": name,
        "version": commit,
        "purl": f"pkg:huggingface/{name}@{commit}",
    }


def _component(name: str, size: int, record: Mapping[str, object]) -> object:
    digest = _sha256(record) if record.get("size") == size else ""
    return {
        "type": "file",
        "bom-ref": f"file:{name}",
        "name": name,
        **({"hashes": [{"alg": "SHA-256", "content": digest}]} if digest else {}),
        "properties": [{"name": "gte-surgery:size", "value": str(size)}],
    }


def _files(receipt: Receipt, key: str) -> list[Mapping[str, object]]:
    """The records of files under a key of a receipt, which may be odd."""
    found = receipt.get(key)
    records = found if isinstance(found, list) else ()
    return [each for each in records if isinstance(each, Mapping) and isinstance(each.get("name"), str)]


def _subject(file: Mapping[str, object]) -> object:
    return {"name": file["name"], "digest": {"sha256": _sha256(file)}}


def _sha256(file: Mapping[str, object]) -> str:
    """The SHA-256 of a file by its receipt, or by its ETag on a hub where that is one; "" where there is none."""
    for digest in (file.get("sha256"), file.get("etag")):
        if isinstance(digest, str) and len(digest) == 64 and set(digest) <= set("0123456789abcdef"):
            return digest
    return ""
