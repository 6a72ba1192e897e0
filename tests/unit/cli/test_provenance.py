"""What history and inspect tell to other programs, held to the formats' own definitions and readers."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from importlib.util import find_spec
from pathlib import Path

import jsonschema
import pytest
from referencing import Registry, Resource

from gte_surgery.cli.entry import run


def printed(capsys: pytest.CaptureFixture[str], code: int, *arguments: object) -> str:
    assert run([str(argument) for argument in arguments]) == code
    return capsys.readouterr().out


@pytest.fixture
def checkpoint(golden: Path, tmp_path: Path) -> Path:
    return shutil.copytree(golden / "legacy-multilingual", tmp_path / "ckpt")


def test_each_surgery_is_an_in_toto_statement_about_the_files_as_they_are(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from google.protobuf import json_format
    from in_toto_attestation.v1 import statement_pb2
    from in_toto_attestation.v1.statement import Statement

    printed(capsys, 0, "resize", checkpoint, "--vocab", "160", "--pad", "0")
    lines = printed(capsys, 0, "history", checkpoint, "--format", "in-toto").splitlines()
    assert len(lines) == 1
    message = json_format.Parse(lines[0], statement_pb2.Statement())
    statement = Statement.copy_from_pb(message)
    statement.validate()
    found = {subject.name: subject.digest["sha256"] for subject in statement.pb.subject}
    assert "model.safetensors" in found
    assert found == {name: hashlib.sha256((checkpoint / name).read_bytes()).hexdigest() for name in found}
    predicate = json.loads(lines[0])["predicate"]
    edits = predicate["buildDefinition"]["externalParameters"]["edits"]
    assert (edits["vocab"], edits["pad"]) == (160, 0)


def test_slsa_knows_every_member_of_the_predicate(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from google.protobuf import json_format
    from in_toto_attestation.predicates.provenance.v1 import provenance_pb2

    printed(capsys, 0, "resize", checkpoint, "--vocab", "160", "--pad", "0")
    predicate = json.loads(printed(capsys, 0, "history", checkpoint, "--format", "in-toto"))["predicate"]
    message = json_format.Parse(json.dumps(predicate), provenance_pb2.Provenance())
    assert message.build_definition.build_type
    assert message.build_definition.resolved_dependencies[0].name == "model.safetensors"
    assert message.run_details.builder.id


def test_what_has_no_hashes_is_left_out_with_a_word_or_refused(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed(capsys, 0, "resize", checkpoint, "--vocab", "160", "--pad", "0", "--no-hash")
    assert printed(capsys, 3, "history", checkpoint, "--format", "in-toto") == ""
    printed(capsys, 0, "resize", checkpoint, "--vocab", "192", "--pad", "0")
    assert run(["history", str(checkpoint), "--format", "in-toto"]) == 0
    told = capsys.readouterr()
    assert len(told.out.splitlines()) == 1
    assert "1 of 2 surgeries left out" in told.err


def test_a_checkpoint_is_a_bill_of_materials_by_the_official_schema(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed(capsys, 0, "resize", checkpoint, "--vocab", "160", "--pad", "0")
    bill = json.loads(printed(capsys, 0, "inspect", checkpoint, "--format", "cyclonedx"))
    assert list(_cyclonedx().iter_errors(bill)) == []
    assert bill["metadata"]["component"]["type"] == "machine-learning-model"
    components = {each["name"]: each for each in bill["components"]}
    assert set(components) == {path.name for path in checkpoint.iterdir() if path.is_file()}
    weights = hashlib.sha256((checkpoint / "model.safetensors").read_bytes()).hexdigest()
    assert components["model.safetensors"]["hashes"] == [{"alg": "SHA-256", "content": weights}]
    assert bill == json.loads(printed(capsys, 0, "inspect", checkpoint, "--format", "cyclonedx"))


def test_the_official_schema_would_refuse_a_bill_that_is_none() -> None:
    assert list(_cyclonedx().iter_errors({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [{}]}))


def _cyclonedx() -> jsonschema.Draft7Validator:
    """The validator of the schema files that cyclonedx-python-lib brings along."""
    spec = find_spec("cyclonedx")
    assert spec is not None
    assert spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0]) / "schema" / "_res"
    contents = {path: json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.SNAPSHOT.schema.json")}
    names = {path: re.sub(r"\.SNAPSHOT", "", path.name) for path in contents}
    resources = [
        (f"http://cyclonedx.org/schema/{name}", Resource.from_contents(contents[path]))
        for path, original in names.items()
        for name in (original, path.name)
    ]
    bom = next(content for path, content in contents.items() if path.name.startswith("bom-1.6"))
    return jsonschema.Draft7Validator(bom, registry=Registry().with_resources(resources))


def test_two_forms_at_once_are_refused(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, 2, "history", checkpoint, "--json", "--format", "in-toto") == ""
    assert printed(capsys, 2, "inspect", checkpoint, checkpoint, "--format", "cyclonedx") == ""
