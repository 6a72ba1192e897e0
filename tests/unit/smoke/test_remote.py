"""The checkpoint's own code: proved like the native model when it works, its known failures recognised when not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from gte_surgery.findings import Severity
from gte_surgery.smoke.options import SmokeOptions
from tests import builder
from tests.unit.model.test_weights import QKV_PARTS, renamed, split

torch = pytest.importorskip("torch")
pytest.importorskip("transformers", minversion="5.18")

from gte_surgery.smoke.remote import known_cause, spoilt_buffer, untied_decoder  # noqa: E402
from gte_surgery.smoke.result import SmokeResult  # noqa: E402
from gte_surgery.smoke.run import smoke  # noqa: E402

CONFIGURATION = """
from transformers import GteConfig

class TinyConfig(GteConfig):
    model_type = "new"

    def __init__(self, rope_theta=10000.0, **others):
        others.pop("rope_scaling", None)
        super().__init__(rope_parameters={"rope_type": "default", "rope_theta": rope_theta}, **others)
"""
MODEL = """
import torch
from transformers import GteModel
from .configuration_tiny_NUMBER import TinyConfig

class TinyModel(GteModel):
    config_class = TinyConfig

    def __init__(self, config):
        super().__init__(config)
        EXTRA

    def forward(self, input_ids=None, attention_mask=None, token_type_ids=None, inputs_embeds=None, **others):
        BEFORE
        said = super().forward(input_ids, attention_mask, inputs_embeds=inputs_embeds, **others)
        AFTER
        return said
"""
_made = iter(range(1000))


@pytest.fixture(scope="module", autouse=True)
def _modules_of_our_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A folder of ours for the code that transformers copies before it runs it."""
    from transformers import dynamic_module_utils

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path_factory.mktemp("modules")))
        patched.setattr(sys, "path", list(sys.path))
        yield


def checkpoint(folder: Path, extra: str = "pass", before: str = "pass", after: str = "pass") -> Path:
    """A remote checkpoint whose code is transformers' own model with changes, and whose tensors it can read."""
    number = f"{next(_made)}"
    names = {"AutoConfig": f"configuration_tiny_{number}.TinyConfig", "AutoModel": f"modeling_tiny_{number}.TinyModel"}
    config = builder.remote_config(
        initializer_range=0.3, rope_scaling=None, rope_theta=10000, auto_map=names, type_vocab_size=1
    )
    tensors = split(split(builder.tensors(config), "qkv_proj", QKV_PARTS), "up_gate_proj", ("up_proj", "gate_proj"))
    made = builder.write(
        folder / f"tiny{number}",
        config,
        renamed(
            tensors, ("encoder.layer.", "layers."), ("attention.", "self_attn."),
            ("attn_ln", "post_attention_layernorm"), ("mlp_ln", "post_mlp_layernorm"),
        ),
    )  # fmt: skip
    text = MODEL.replace("NUMBER", number).replace("EXTRA", extra).replace("BEFORE", before).replace("AFTER", after)
    (made / f"configuration_tiny_{number}.py").write_text(CONFIGURATION)
    (made / f"modeling_tiny_{number}.py").write_text(text)
    return made


def run(folder: Path) -> SmokeResult:
    options = SmokeOptions(device="cpu", batch=4, max_length=12, runtime="remote", trust_remote_code=True)
    return smoke(folder, options)


def failed(result: SmokeResult) -> dict[str, str]:
    """Messages by code, but for GTE504: `check` objects to names that only the code of these tests reads."""
    errors = [finding for finding in result.findings if finding.severity is Severity.ERROR]
    return {finding.code: finding.message for finding in errors if finding.code != "GTE504"}


def test_code_that_works_is_proved_and_equals_the_native_model(tmp_path: Path) -> None:
    result = run(checkpoint(tmp_path))
    assert failed(result) == {}
    held = {proof.code for proof in result.proofs if proof.outcome == "passed" and proof.subject == "fp32 remote"}
    assert held >= {"GTE505", "GTE510", "GTE511", "GTE513", "GTE514", "GTE516", "GTE517", "GTE518", "GTE531", "GTE551"}
    assert result.runtime == "remote"


def test_code_that_computes_something_else_is_found(tmp_path: Path) -> None:
    after = "said.last_hidden_state = said.last_hidden_state.roll(1, -1)"
    assert set(failed(run(checkpoint(tmp_path, after=after)))) == {"GTE551"}


def test_a_pad_row_that_is_not_zero_is_no_fault_of_the_code(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path)
    tensors = builder.load(folder)
    tensors["embeddings.word_embeddings.weight"][1, 0] = 1
    builder.save(folder / "model.safetensors", tensors)
    assert set(failed(run(folder))) == {"GTE517"}


def test_position_buffers_that_transformers_5_leaves_unfilled_are_the_known_cause(tmp_path: Path) -> None:
    buffer = 'self.register_buffer("position_ids", torch.arange(128), persistent=False)'
    found = failed(run(checkpoint(tmp_path, extra=buffer)))
    assert set(found) == {"GTE550"}
    assert "transformers 5 left it uninitialised" in found["GTE550"]


def test_a_method_that_is_gone_is_the_known_cause_and_the_hint_is_to_convert(tmp_path: Path) -> None:
    before = "self.get_extended_attention_mask(attention_mask, input_ids.shape)"
    result = run(checkpoint(tmp_path, before=before))
    assert "transformers removed get_extended_attention_mask in 5.17" in failed(result)["GTE550"]
    assert any(f"gte-surgery convert {tmp_path}" in finding.hint for finding in result.findings)


def test_code_that_is_not_there_is_a_finding(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path)
    next(folder.glob("modeling_*.py")).unlink()
    assert "loading failed" in failed(run(folder))["GTE550"]


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (AttributeError("'list' object has no attribute 'keys'"), "_tied_weights_keys is a list"),
        (KeyError("ntk"), "it was saved again"),
        (OSError("We couldn't connect to 'https://huggingface.co'"), "fetching it failed"),
        (ImportError("No module named 'einops'"), "imports a package that is not here"),
        (ValueError("something new"), "ValueError: something new"),
    ],
)
def test_an_error_is_named_by_its_known_cause_or_by_itself(error: Exception, cause: str) -> None:
    assert cause in known_cause(error)


def test_buffers_that_are_as_they_should_be_are_left_alone() -> None:
    model = torch.nn.Module()
    model.register_buffer("position_ids", torch.arange(5).unsqueeze(0))
    assert spoilt_buffer(model) == ""
    model.position_ids[0, 2] = 7
    assert "holds 0, 1, 7, … instead of 0, 1, 2, …" in spoilt_buffer(model)


def test_a_masked_lm_decoder_that_a_list_leaves_untied_is_the_known_cause() -> None:
    module = ModuleType("tiny_with_a_list")
    exec("import torch\nclass TinyModel(torch.nn.Module): pass\nclass TinyForMaskedLM(TinyModel): pass", vars(module))  # noqa: S102
    sys.modules[module.__name__] = module
    module.TinyModel.__module__ = module.__name__
    assert untied_decoder(module.TinyModel()) == ""
    module.TinyForMaskedLM._tied_weights_keys = ["lm_head.decoder.weight"]
    assert "the decoder of TinyForMaskedLM is left random" in untied_decoder(module.TinyModel())
    del sys.modules[module.__name__]
