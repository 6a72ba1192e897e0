"""New vocabularies beside transformers: a permuted one computes the same outputs, and rows like the old ones have the
statistics that transformers measures.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from gte_surgery.surgery.verbs import convert, remap, resize
from tests import builder

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", minversion="5.18")

WORDS = "embeddings.word_embeddings.weight"


@pytest.mark.parametrize(
    ("case", "model"),
    [
        ("legacy-base", "GteModel"),
        ("legacy-multilingual", "GteForTokenClassification"),
        ("legacy-mlm", "GteForMaskedLM"),
        ("legacy-reranker", "GteForSequenceClassification"),
    ],
)
def test_a_permuted_vocabulary_computes_the_reference_output(
    case: str, model: str, golden: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(golden / case, tmp_path / "ckpt")
    with safe_open(folder / "reference.safetensors", "pt") as reference:
        output = next(name for name in reference.keys() if name in ("last_hidden_state", "logits"))  # noqa: SIM118
        ids, mask, wanted = (reference.get_tensor(name) for name in ("input_ids", "attention_mask", output))
    order = np.random.default_rng(3).permutation(256)
    convert(folder, to="native")
    remap(folder, keep=order.tolist(), vocab=300)
    loaded, loading = getattr(transformers, model).from_pretrained(
        folder, output_loading_info=True, dtype=torch.float32
    )
    assert {key: value for key, value in loading.items() if value} == {}
    new_ids = torch.from_numpy(np.argsort(order))[ids]
    with torch.no_grad():
        found = getattr(loaded.eval()(input_ids=new_ids, attention_mask=mask), output)
    if model == "GteForMaskedLM":
        assert found.shape[-1] == 300
        found = found[..., torch.from_numpy(np.argsort(order))]
    is_real = mask.bool() if found.shape[:2] == mask.shape else ...
    assert (found - wanted)[is_real].abs().max() < 5e-5


def test_mean_and_covariance_are_those_that_transformers_measures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """transformers draws from N(mean, 1e-9 · covariance), with the covariance divided by the number of rows."""
    vocab, added = 3000, 60_000
    config = builder.native_config(vocab_size=vocab)
    arrays = builder.tensors(config)
    generator = np.random.default_rng(1)
    mixing = generator.standard_normal((32, 32)) * np.geomspace(0.1, 2, 32)
    arrays[WORDS] = (generator.standard_normal((vocab, 32)) @ mixing + generator.standard_normal(32)).astype(np.float32)
    arrays[WORDS][1] = 0
    folder = builder.write(tmp_path / "ckpt", config, arrays)
    seen: dict[str, np.ndarray] = {}
    normal = torch.distributions.multivariate_normal

    class Watched(normal.MultivariateNormal):  # type: ignore[misc, name-defined]
        def __init__(self, mean: object, covariance_matrix: object) -> None:
            seen.update(mean=mean.numpy(), covariance=covariance_matrix.numpy() * 1e9)  # type: ignore[attr-defined]
            super().__init__(mean, covariance_matrix=covariance_matrix)

    monkeypatch.setattr(normal, "MultivariateNormal", Watched)
    theirs = transformers.GteModel.from_pretrained(folder)
    theirs.resize_token_embeddings(vocab + 8, mean_resizing=True)
    for init in ("mean", "mean-cov"):
        resize(folder, vocab=vocab + added, pad=1, init=init, out=tmp_path / init)
    mean, drawn = (builder.load(tmp_path / init)[WORDS][vocab:].astype(np.float64) for init in ("mean", "mean-cov"))
    deviations = np.sqrt(np.diag(seen["covariance"]))
    assert np.ptp(mean, axis=0).max() == 0
    assert np.allclose(mean[0], seen["mean"], atol=1e-5)
    assert (abs(drawn.mean(axis=0) - seen["mean"]) < 5 * deviations / np.sqrt(added)).all()
    correlation = (np.cov(drawn.T) - seen["covariance"] * vocab / (vocab - 1)) / np.outer(deviations, deviations)
    assert abs(correlation).max() < 7 / np.sqrt(added)
