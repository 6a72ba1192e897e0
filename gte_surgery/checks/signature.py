"""OpenSSF model signatures and bills of materials beside the weights: what each says that the files were, and whether
a key made it.

Known by its content, a sigstore bundle over a statement of model-signing [its predicate, `_signing/signing.py` of
model-signing 1.1.1], whatever its name. Reading one needs no package; whether a key made it, model-signing
says. A bill is a CycloneDX document [1.6, JSON].
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gte_surgery.checkpoint.bounds import MAX_JSON_BYTES, MAX_JSON_VALUES, count_values
from gte_surgery.checkpoint.directory import Checkpoint
from gte_surgery.checkpoint.files import FileEntry, read_json, read_whole
from gte_surgery.checkpoint.json.strict import parse_document
from gte_surgery.checkpoint.printable import shown
from gte_surgery.errors import CheckpointError, UnavailableError, UsageError

_COMPAT = "https://model_signing/Digests/v0.1"
_PREDICATES = ("https://model_signing/signature/v1.0", _COMPAT)
OF_GIT = (".git", ".gitattributes", ".github", ".gitignore")


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature: the SHA-256 of each file that it names, and the paths that it leaves out.

    A digest is "" where it is of another algorithm or of a piece of the file. `trouble` says why nothing can be read.
    A bill of materials says as much, may state `sizes`, and need not name every file: `is_whole` is False then.
    """

    file: FileEntry
    content: bytes
    digests: Mapping[str, str]
    left_out: tuple[str, ...] = ()
    trouble: str = ""
    sizes: Mapping[str, int] = field(default_factory=dict)
    is_whole: bool = True

    def covers(self, name: str) -> bool:
        """Whether a file of this name has to be among those signed."""
        is_left_out = any(name == path or name.startswith(f"{path}/") for path in self.left_out)
        return self.is_whole and name != self.file.name and not is_left_out


def signatures(checkpoint: Checkpoint) -> Iterator[Signature]:
    """The files called *.sig or *.sigstore.json that are signatures; larger than JSON may be here, none is."""
    for file in _readable(checkpoint, lambda name: name.endswith((".sig", ".sigstore.json"))):
        try:
            content = read_whole(file, MAX_JSON_BYTES)
        except CheckpointError:
            continue
        if (payload := _payload(content)) is not None:
            yield _read(file, content, payload)


def _readable(checkpoint: Checkpoint, is_called: Callable[[str], bool]) -> Iterator[FileEntry]:
    """The files of such names that may be read, and are no larger than JSON may be."""
    files = (checkpoint.readable(entry.name) for entry in checkpoint.files if is_called(entry.name))
    yield from (file for file in files if file is not None and file.size <= MAX_JSON_BYTES)


def _payload(content: bytes) -> bytes | None:
    """The payload of a sigstore bundle that speaks of model-signing, or None."""
    if count_values(content) > MAX_JSON_VALUES:
        return None
    try:
        payload = base64.b64decode(json.loads(content)["dsseEnvelope"]["payload"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return payload if b"https://model_signing/" in payload.replace(b"\\/", b"/") else None


def _read(file: FileEntry, content: bytes, payload: bytes) -> Signature:
    try:
        if count_values(payload) > MAX_JSON_VALUES:
            raise CheckpointError(f"more than {MAX_JSON_VALUES} values")
        statement = parse_document(payload, "its statement").value
        digests, left_out = _compat(statement) if _predicate(statement) == _COMPAT else _resources(statement)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return Signature(file, content, {}, trouble=f"no statement of model-signing: {error}")
    except CheckpointError as error:
        return Signature(file, content, {}, trouble=str(error))
    return Signature(file, content, digests, left_out)


def _predicate(statement: object) -> str:
    found = statement["predicateType"] if isinstance(statement, dict) else ""
    if found not in _PREDICATES:
        raise CheckpointError(f"its predicate is {shown(str(found))}")
    return str(found)


# What follows trusts nothing: members of other kinds raise one of the errors that `_read` catches.
def _resources(statement: object) -> tuple[dict[str, str], tuple[str, ...]]:
    import hashlib

    predicate, (subject,) = statement["predicate"], statement["subject"]  # type: ignore[index]
    resources, serialization = predicate["resources"], predicate["serialization"]
    whole = hashlib.sha256(b"".join(bytes.fromhex(each["digest"]) for each in resources)).hexdigest()
    if whole != subject["digest"]["sha256"]:
        raise CheckpointError("its digests are not those that its own digest is of")
    is_whole = serialization["method"] == "files"
    digests = {
        each["name"] if is_whole else each["name"].rsplit(":", 2)[0]: (
            each["digest"] if is_whole and each["algorithm"] == "sha256" else ""
        )
        for each in resources
    }
    return digests, (*OF_GIT, *(str(path) for path in serialization.get("ignore_paths", ())))


def _compat(statement: object) -> tuple[dict[str, str], tuple[str, ...]]:
    subjects = statement["subject"]  # type: ignore[index]
    return {each["name"]: each["digest"]["sha256"] for each in subjects}, OF_GIT


def require_model_signing(asker: str) -> None:
    """Raises UnavailableError where model-signing, or what it imports, is not there."""
    try:
        from model_signing._signing import sign_certificate, sign_ec_key  # noqa: F401
    except ImportError as error:
        hint = "`pip install 'gte-surgery[sign]'`"
        raise UnavailableError(f"{error.name}: cannot be imported, {asker} needs it", hint) from error


def why_not_by(key: Path, signature: Signature) -> str:
    """Why the signature is not by a public key or trusted certificates, a PEM file; "" where it is. Nothing is fetched.

    Raises UnavailableError without model-signing, UsageError for a file that holds neither.
    """
    import io
    import tempfile
    from contextlib import redirect_stdout

    require_model_signing("--signed-by")
    from model_signing._signing import sign_certificate, sign_ec_key, sign_sigstore_pb

    try:
        is_certificate = b"BEGIN CERTIFICATE" in read_whole(key, MAX_JSON_BYTES)
        verifier = sign_certificate.Verifier([key]) if is_certificate else sign_ec_key.Verifier(key)
    except Exception as error:  # noqa: BLE001 - OSError, or whatever a file that is no key provokes
        raise UsageError(f"{shown(str(key))}: {error}", "wanted: PEM, an EC public key or certificates") from None
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        bundle = Path(folder, "model.sig")
        bundle.write_bytes(signature.content)
        try:
            verifier.verify(sign_sigstore_pb.Signature.read(bundle))
        except Exception as error:  # noqa: BLE001 - whatever a hostile bundle provokes, it is not verified
            return f"not signed by {shown(key.name)}: {shown(str(error)[:200]) or type(error).__name__}"
    return ""


def is_bill(name: str) -> bool:
    """Whether a bill of materials is called so, as CycloneDX recommends."""
    return name == "bom.json" or name.endswith(".cdx.json")


def bills(checkpoint: Checkpoint) -> Iterator[Signature]:
    """Those that name files; what cannot be read is passed over, for nothing else depends on it."""
    for file in _readable(checkpoint, is_bill):
        try:
            members = read_json(file).members
        except CheckpointError:
            continue
        if members.get("bomFormat") == "CycloneDX":
            components = [each for each in _listed(members, "components") if each.get("type") == "file"]
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
