"""The encoder gives the same answers packed and padded, on every backend, compiled or not."""

from __future__ import annotations

from pathlib import Path

import pytest

from gte_surgery.errors import RefusedError, UsageError
from gte_surgery.findings import Finding, Location, Report, Severity
from tests import builder

torch = pytest.importorskip("torch")
pytest.importorskip("transformers", minversion="5.18")

from gte_surgery.model import encoder as encoder_module  # noqa: E402
from gte_surgery.model.attention import implementation, keywords  # noqa: E402
from gte_surgery.model.compiled import GRAPHS, CompiledBody, graphs_made  # noqa: E402
from gte_surgery.model.load import load_encoder  # noqa: E402
from gte_surgery.model.packing import pack_mask  # noqa: E402
from gte_surgery.model.replayed import Size  # noqa: E402

IDS = torch.tensor([[5, 9, 7, 3, 8, 2], [8, 4, 1, 1, 1, 1], [6, 1, 1, 1, 1, 1]])
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return builder.build(tmp_path_factory.mktemp("encoder") / "x", builder.remote_config(initializer_range=0.3))


@pytest.mark.parametrize("attention", ["auto", "sdpa", "eager"])
def test_packed_equals_padded(folder: Path, attention: str) -> None:
    encoder = load_encoder(folder, "cpu", "float32", attention)
    with torch.no_grad():
        packed = encoder(IDS, MASK)
        padded = encoder(IDS, MASK, unpad_inputs=False)
    assert (packed - padded)[MASK == 1].abs().max() < 1e-5
    assert (packed[MASK == 0] == 0).all()


def test_gradients_are_the_same_packed_and_padded_and_the_pad_row_gets_none(folder: Path) -> None:
    found = []
    for unpad in (True, False):
        encoder = load_encoder(folder, "cpu", "float32", unpad=unpad)
        encoder.embed({"input_ids": IDS, "attention_mask": MASK})[:, 0].sum().backward()
        found.append({name: parameter.grad for name, parameter in encoder.named_parameters()})
    for name, gradient in found[0].items():
        assert (gradient - found[1][name]).abs().max() < 1e-5, name
    assert (found[0]["model.embeddings.word_embeddings.weight"][1] == 0).all()
    assert (found[0]["model.embeddings.word_embeddings.weight"][5] != 0).any()


def test_left_padding_and_holes_change_the_place_of_a_token_but_not_the_text_that_is_read(folder: Path) -> None:
    encoder = load_encoder(folder, "cpu", "float32")
    left = {"input_ids": torch.tensor([[1, 1, 8, 4]]), "attention_mask": torch.tensor([[0, 0, 1, 1]])}
    right = {"input_ids": torch.tensor([[8, 4, 1, 1]]), "attention_mask": torch.tensor([[1, 1, 0, 0]])}
    with torch.no_grad():
        assert torch.allclose(encoder.embed(left), encoder.embed(right), atol=1e-6)
        encoder.unpad = False
        assert torch.allclose(encoder.embed(left), encoder.embed(right), atol=1e-6)


def test_embeddings_are_of_length_one_and_a_cut_one_is_too(folder: Path) -> None:
    encoder = load_encoder(folder, "cpu", "float32")
    batch = {"input_ids": IDS, "attention_mask": MASK}
    with torch.no_grad():
        whole, cut = encoder.embed(batch), encoder.embed(batch, dim=8)
    assert (whole.shape, cut.shape) == ((3, 32), (3, 8))
    for vectors in (whole, cut):
        assert torch.allclose(vectors.norm(dim=-1), torch.ones(3))
    assert torch.allclose(cut, torch.nn.functional.normalize(whole[:, :8], dim=-1), atol=1e-6)


@pytest.mark.parametrize("dim", [0, 33])
def test_a_width_that_the_model_does_not_have_is_refused(folder: Path, dim: int) -> None:
    with pytest.raises(UsageError, match="from 1 to 32"):
        load_encoder(folder, "cpu", "float32").embed({"input_ids": IDS}, dim=dim)


def test_inputs_embeds_from_the_table_equal_input_ids(folder: Path) -> None:
    encoder = load_encoder(folder, "cpu", "float32")
    table = encoder.model.get_input_embeddings().weight
    with torch.no_grad():
        assert torch.equal(encoder(IDS, MASK), encoder(inputs_embeds=table[IDS], attention_mask=MASK))


def test_with_one_type_every_type_id_counts_as_zero(folder: Path) -> None:
    encoder = load_encoder(folder, "cpu", "float32")
    with torch.no_grad():
        assert torch.equal(encoder(IDS, MASK, token_type_ids=torch.ones_like(IDS)), encoder(IDS, MASK))


def test_with_two_types_they_count_packed_as_padded(golden: Path) -> None:
    encoder = load_encoder(golden / "legacy-type2", "cpu", "float32")
    types = torch.tensor([[0, 0, 1, 1, 1, 1], [0, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0]])
    with torch.no_grad():
        packed, plain = encoder(IDS, MASK, types), encoder(IDS, MASK)
        padded = encoder(IDS, MASK, types, unpad_inputs=False)
    assert (packed - padded)[MASK == 1].abs().max() < 1e-5
    assert (packed - plain)[2, 0].abs().max() > 0.1


def test_a_batch_without_pads_and_one_without_a_mask_are_the_same(folder: Path) -> None:
    encoder = load_encoder(folder, "cpu", "float32")
    with torch.no_grad():
        assert torch.equal(encoder(IDS), encoder(IDS, torch.ones_like(IDS)))


@pytest.mark.parametrize(
    "batch",
    [
        {},
        {"input_ids": IDS, "inputs_embeds": torch.zeros(3, 6, 32)},
        {"input_ids": IDS[0]},
        {"inputs_embeds": IDS},
        {"input_ids": IDS.float()},
    ],
    ids=["neither", "both", "one row", "embeddings without width", "no integers"],
)
def test_a_batch_without_clear_tokens_is_refused(folder: Path, batch: dict[str, torch.Tensor]) -> None:
    with pytest.raises(UsageError):
        load_encoder(folder, "cpu", "float32")(**batch)


def test_a_batch_that_is_given_as_what_it_is_not_is_refused_with_the_way(folder: Path) -> None:
    encoder, batch = load_encoder(folder, "cpu", "float32"), {"input_ids": IDS, "attention_mask": MASK}
    with pytest.raises(UsageError) as found:
        encoder(batch)
    assert found.value.hint == "write encoder(**batch)"
    for verb in (encoder.embed, encoder.encode, encoder.logits):
        with pytest.raises(UsageError, match=r"^batch: Tensor, must be tensors by name"):
            verb(IDS)
    for name in ("input_ids", "attention_mask"):
        with pytest.raises(UsageError, match=f"^{name}: list, must be a torch tensor"):
            encoder(**{**batch, name: IDS.tolist()})


@pytest.mark.parametrize("name", ["attention_mask", "token_type_ids"])
@pytest.mark.parametrize("other", [MASK[:, :4], MASK[:2], MASK[:1]], ids=["narrower", "fewer rows", "one row"])
def test_what_does_not_fit_the_tokens_is_refused(folder: Path, name: str, other: torch.Tensor) -> None:
    encoder = load_encoder(folder, "cpu", "float32")
    with pytest.raises(UsageError, match=rf"^{name}: shape \[{len(other)}, .*, must be \[3, 6\] as input_ids"):
        encoder(**{"input_ids": IDS, "attention_mask": MASK, name: other})


def test_labels_that_do_not_fit_the_tokens_are_refused(golden: Path) -> None:
    encoder = load_encoder(golden / "legacy-mlm", "cpu", "float32")
    with pytest.raises(UsageError, match=r"labels: shape \[3, 5\], must be \[3, 6\] as input_ids"):
        encoder.masked_loss({"input_ids": IDS, "attention_mask": MASK}, IDS[:, :5])


def test_a_masked_loss_wants_the_head_of_a_masked_lm(tmp_path: Path) -> None:
    """A classifier of many labels would be trained on ids as its labels, without a word."""
    source = builder.build(tmp_path / "x", builder.remote_config(), head="classifier")
    encoder = load_encoder(source, "cpu", "float32")
    with pytest.raises(UsageError, match="masked_loss: the checkpoint's head is classifier, must be mlm"):
        encoder.masked_loss({"input_ids": IDS, "attention_mask": MASK}, IDS)


def test_tokens_on_the_cpu_are_refused_by_an_encoder_that_is_elsewhere(folder: Path) -> None:
    encoder = load_encoder(folder, "cpu", "float32").to("meta")
    with pytest.raises(UsageError, match="input_ids: on the CPU, the encoder is on meta"):
        encoder(IDS, MASK)


def test_a_head_that_is_not_there_is_not_asked(folder: Path) -> None:
    with pytest.raises(UsageError, match="head is none"):
        load_encoder(folder, "cpu", "float32").logits({"input_ids": IDS})


class Suspicious:
    """A guard that objects to the id 9."""

    def check_batch(self, batch: dict[str, torch.Tensor]) -> Report:
        is_bad = bool((batch["input_ids"] == 9).any())
        finding = Finding("GTE400", Severity.ERROR, Location(), "nine is here")
        return Report("batch", (finding,) if is_bad else (), (), ("GTE400",))


def test_a_guard_sees_the_batch_before_the_model(folder: Path) -> None:
    encoder = load_encoder(folder, "cpu", "float32", guard=Suspicious())
    encoder(IDS[1:], MASK[1:])
    with pytest.raises(RefusedError, match="nine is here"):
        encoder(IDS, MASK)


@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=pytest.mark.long)])
def test_the_same_graphs_serve_every_layer_batch_size_and_length(folder: Path, backend: str) -> None:
    torch._dynamo.reset()  # or a layer that another test compiled alike would serve
    encoder = load_encoder(folder, "cpu", "float32")
    encoder.compiled = CompiledBody(encoder.model, backend)
    before = graphs_made()
    with torch.no_grad():
        for rows, width in ((3, 5), (1, 7), (2, 2), (4, 4), (7, 3), (2, 1), (1, 2), (1, 1), (5, 60)):
            ids = torch.arange(rows * width).view(rows, width) % 100 + 2
            mask = torch.ones_like(ids)
            mask[-1, width // 2 + 1 :] = 0
            compiled = encoder(ids, mask)
            assert (compiled - encoder(ids, mask, unpad_inputs=False))[mask == 1].abs().max() < 1e-5
    assert graphs_made() - before == GRAPHS


def test_tensors_that_are_kept_for_a_captured_graph_are_served_by_the_same_graphs(folder: Path) -> None:
    encoder = load_encoder(folder, "cpu", "float32")
    compiled = encoder.compiled = CompiledBody(encoder.model, "eager")
    with torch.no_grad():
        before = encoder(IDS, MASK)
        made, kept = graphs_made(), MASK.flatten() == 1
        attention, needed = implementation("sdpa", is_packed=True), keywords("sdpa", pack_mask(MASK), is_packed=True)
        given, positions = torch.zeros(int(kept.sum()), dtype=torch.int64), pack_mask(MASK).position_ids[0].clone()
        given.copy_(IDS.flatten()[kept])
        states = compiled.states({"input_ids": given}, positions, attention, needed)
    assert (states - before.flatten(0, 1)[kept]).abs().max() < 1e-6
    assert graphs_made() == made


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
@pytest.mark.parametrize("is_run_again", [False, True], ids=["kept", "checkpointed"])
def test_compiled_training_gives_the_gradients_of_the_uncompiled_at_every_size(
    folder: Path, is_run_again: bool
) -> None:
    encoder, plain = (load_encoder(folder, "cpu", "float32") for _ in range(2))
    encoder.compiled = CompiledBody(encoder.model, "eager")
    for each in (encoder, plain):
        each.train()
        for module in each.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
            elif hasattr(module, "attention_dropout"):
                module.attention_dropout = 0.0
    if is_run_again:
        encoder.model.gradient_checkpointing_enable()
    made = []
    for rows, width in ((3, 6), (5, 9), (2, 30)):
        ids = torch.arange(rows * width).view(rows, width) % 100 + 2
        mask = torch.ones_like(ids)
        mask[-1, width // 2 :] = 0
        for each in (encoder, plain):
            each.zero_grad()
            each.embed({"input_ids": ids, "attention_mask": mask})[:, :16].square().sum().backward()
        for (name, one), other in zip(encoder.named_parameters(), plain.parameters(), strict=True):
            if other.grad is not None:
                assert one.grad is not None, name
                assert (one.grad - other.grad).abs().max() < 1e-5, name
        made.append(graphs_made())
    assert made[0] == made[-1]


def test_where_autocast_begins_and_ends_auto_is_chosen_anew_and_a_name_is_not(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[torch.dtype] = []
    choose = encoder_module.choose
    monkeypatch.setattr(encoder_module, "choose", lambda name, use: asked.append(use.dtype) or choose(name, use))
    encoder = load_encoder(folder, "cpu", "float32")
    with torch.no_grad():
        for _ in range(2):
            encoder(IDS, MASK)
            with torch.autocast("cpu", torch.bfloat16):
                encoder(IDS, MASK)
                encoder(IDS, MASK)
        assert asked == [torch.float32, torch.bfloat16, torch.float32, torch.bfloat16]
        encoder.choose_attention("eager")
        with torch.autocast("cpu", torch.bfloat16):
            encoder(IDS, MASK)
    assert encoder.choice.packed == "eager"


def test_a_captured_size_holds_every_batch_and_wastes_less_than_a_thirtieth() -> None:
    for tokens in (*range(2, 600), 4095, 4096, 4097, 16384):
        packing = pack_mask(torch.ones(1, tokens, dtype=torch.int64))
        size = Size.of(packing)
        assert size.tokens >= tokens
        assert size.rows >= 16
        assert size.longest >= tokens
        assert size.tokens - tokens < max(tokens / 30, 128)


def test_the_model_inside_stays_usable_on_its_own(folder: Path) -> None:
    encoder = load_encoder(folder, "cpu", "float32")
    batch = {"input_ids": IDS, "attention_mask": MASK}
    with torch.no_grad():
        before = encoder.model(**batch).last_hidden_state
        encoder.embed(batch)
        after = encoder.model(**batch).last_hidden_state
    assert (before - after)[MASK == 1].abs().max() == 0


@pytest.mark.parametrize("most", [1 << 28, 2 * 160], ids=["at once", "in portions"])
@pytest.mark.parametrize("unpad", [True, False])
def test_the_loss_of_a_masked_lm_is_that_of_all_logits(
    golden: Path, most: int, unpad: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gte_surgery.model import encoder as room

    encoder = load_encoder(golden / "legacy-mlm", "cpu", "float32", unpad=unpad)
    batch = {"input_ids": IDS, "attention_mask": MASK}
    labels = torch.tensor(
        [[-100, 7, 9, -100, 3, -100], [4, -100, -100, -100, -100, -100], [-100, 5, -100, -100, -100, 6]]
    )
    labels[MASK == 0] = -100
    table = encoder.input_table()
    wanted = torch.nn.functional.cross_entropy(encoder.logits(batch).flatten(0, 1), labels.flatten())
    (gradient,) = torch.autograd.grad(wanted, table)
    monkeypatch.setattr(room, "MOST_LOGITS", most)
    found = encoder.masked_loss(batch, labels)
    assert torch.allclose(found, wanted)
    assert torch.allclose(torch.autograd.grad(found, table)[0], gradient, atol=1e-6)
    assert torch.allclose(encoder.masked_loss(batch, labels, 1.0), wanted * (labels != -100).sum())
