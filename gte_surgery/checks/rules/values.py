"""GTE260 to GTE279: the numbers themselves, judged only with --values, which reads every weight once.

What the numbers are like is found by `weights`; here is decided what of it is wrong. Biases of zero and norms of one
are how every network begins, so they pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import sqrt
from typing import TYPE_CHECKING

from gte_surgery.checkpoint.directory import StoredTensor
from gte_surgery.checks.registry import Observation, rule
from gte_surgery.checks.rules.tensors import READABLE
from gte_surgery.checks.subject import Subject
from gte_surgery.findings import Severity
from gte_surgery.gte.wording import SHOWN, counted, listed

if TYPE_CHECKING:
    from gte_surgery.checks.statistics import TensorStatistics

_VALUES = "--values"
_FINITE = (*READABLE, "GTE260", "GTE261")
_HALF_LARGEST = 65504.0
_BEYOND_WEIGHTS = 100.0
_FEW_MATRICES = 3
_FAR = 10.0
"""A row whose norm is so many times the median, or so small a part of it, is far outside the others."""
_FLOODED = {"F64": 0.01, "F32": 0.01, "BF16": 0.01, "F16": 0.5}
"""The share of denormals that counts as a flood. In F16 they are common: of N(0, 0.02) one in 400."""


@rule("GTE260", Severity.ERROR, requires=READABLE, only_with=_VALUES, most=SHOWN)
def not_a_number(subject: Subject) -> Iterator[Observation]:
    """A tensor holds NaN.

    One NaN in a weight makes every output NaN that passes through it, most often all of them. It comes from a training
    run that diverged, or from bytes damaged on disk. Go back to the last checkpoint that is clean.
    """
    for tensor, seen in _measured(subject):
        if seen.nans:
            amount, place = counted(seen.nans, "NaN"), _index(tensor, seen.first_nan)
            yield Observation(
                subject.at_tensor(tensor.name), f"{amount} among {seen.count:,} numbers, the first at {place}"
            )


@rule("GTE261", Severity.ERROR, requires=READABLE, only_with=_VALUES, most=SHOWN)
def infinite(subject: Subject) -> Iterator[Observation]:
    """A tensor holds infinities.

    They turn into NaN as soon as two meet or one is normalised. A cast to float16 makes them of numbers beyond 65504;
    so does a training run that diverged. Cast again from the wider dtype, to BF16, or go back to a clean checkpoint.
    """
    for tensor, seen in _measured(subject):
        if seen.infinities:
            amount = f"{seen.infinities:,} {'infinity' if seen.infinities == 1 else 'infinities'}"
            place = _index(tensor, seen.first_infinity)
            yield Observation(
                subject.at_tensor(tensor.name), f"{amount} among {seen.count:,} numbers, the first at {place}"
            )


@rule("GTE262", Severity.WARNING, requires=_FINITE, only_with=_VALUES, most=SHOWN)
def all_zero(subject: Subject) -> Iterator[Observation]:
    """A weight is all zero.

    A zero matrix or a zero norm passes nothing on, and where two follow each other nothing trains either. Usually a
    save wrote memory that was never filled, or a sparse file lost its content in a copy. Biases may be zero, and so may
    the table of token types, which then adds nothing.
    """
    types = subject.canonical.get(subject.names.types)
    for tensor, seen in _measured(subject):
        if seen.constant == 0 and not tensor.name.endswith(".bias") and tensor.name != types:
            yield Observation(subject.at_tensor(tensor.name), f"all {counted(seen.count, 'number')} are zero")


@rule("GTE263", Severity.WARNING, requires=_FINITE, only_with=_VALUES, most=SHOWN)
def constant(subject: Subject) -> Iterator[Observation]:
    """All numbers of a tensor are the same.

    Training never makes this. The tensor was filled with a constant, or never loaded. Norm weights of one are how
    a network begins, and pass.
    """
    from gte_surgery.checks.block_reader import number_of

    for tensor, seen in _measured(subject):
        value = number_of(seen.constant, tensor.dtype) if seen.constant is not None and seen.count > 1 else 0.0
        is_norm = len(tensor.shape) == 1 and tensor.name.endswith(".weight")
        if value != 0.0 and not (is_norm and value == 1.0):
            yield Observation(subject.at_tensor(tensor.name), f"all {counted(seen.count, 'number')} are {value:g}")


@rule("GTE264", Severity.WARNING, requires=_FINITE, only_with=_VALUES, most=SHOWN)
def denormals(subject: Subject) -> Iterator[Observation]:
    """A matrix is flooded with denormals.

    Numbers too small for the dtype's full precision. GPUs may take them for zero, CPUs compute with them a hundred
    times slower, and a cast to a narrower dtype makes them zero. The weights have decayed to nothing, were scaled
    wrongly, or are other bytes read as floats. Counted as a flood: 1 % of the numbers, in F16 one half.
    """
    for tensor, seen in _measured(subject):
        if len(tensor.shape) > 1 and seen.subnormals > _FLOODED[tensor.dtype] * seen.count:
            share = f"{seen.subnormals:,} of {seen.count:,} numbers ({seen.subnormals / seen.count:.0%})"
            yield Observation(subject.at_tensor(tensor.name), f"{share} are denormal in {tensor.dtype}")


@rule("GTE265", Severity.WARNING, requires=_FINITE, only_with=_VALUES, most=SHOWN)
def beyond_half(subject: Subject) -> Iterator[Observation]:
    """Numbers are too large for float16.

    Loaded in half precision, as the examples of the releases do, they become infinite, and the outputs NaN. BF16 holds
    them; `gte-surgery convert --dtype F16` refuses them.
    """
    for tensor, seen in _measured(subject):
        if seen.overflowing:
            message = f"{counted(seen.overflowing, 'number')} beyond 65504, the largest {seen.largest:.4g}"
            yield Observation(subject.at_tensor(tensor.name), message)


@rule("GTE266", Severity.WARNING, requires=_FINITE, only_with=_VALUES, most=SHOWN)
def overflow_risk(subject: Subject) -> Iterator[Observation]:
    """What a layer computes may be too large for float16.

    Each weight fits, but a projection of a normed vector need not: |w·x| is at most the norm of a row times the norm
    of x, and after a norm that is at most the root of hidden_size times its largest weight, plus the norm of its bias.
    Here that bound exceeds 65504; in trained models it stays a hundred times below. Run it in BF16 or float32, or
    find out which training step blew it up.
    """
    for projection, bound in _bounds(subject):
        if bound > _HALF_LARGEST:
            message = f"its outputs may reach {bound:.3g}, float16 ends at 65504"
            yield Observation(subject.at_tensor(projection), message)


@rule(
    "GTE267", Severity.WARNING, requires=(*_FINITE, "GTE110", "GTE204", "GTE205", "GTE207", "GTE209"), only_with=_VALUES
)
def far_rows(subject: Subject) -> Iterator[Observation]:
    """Rows of the word embeddings have norms far outside the others'.

    Ten times the median or more, or a tenth or less (zero rows are for GTE231). Too large a row drowns what it is added
    to and makes the norm after it flatten all else; too small a one says next to nothing. Usual causes: rows added
    with another initializer_range, a learning rate of their own, damaged bytes. Tables of up to 4,194,304 rows are
    judged.
    """
    seen = subject.statistics.get(subject.canonical.get(subject.names.words, ""))
    median = seen.median_norm() if seen is not None else 0.0
    if seen is None or median == 0.0:
        return
    count, rows = seen.far_rows(median, _FAR, SHOWN)
    if rows:
        tokens = subject.tokenizer.tokens
        named = [f"{row}{f' (`{tokens[row]}`)' if row in tokens else ''} with norm {norm:.3g}" for row, norm in rows]
        message = f"{counted(count, 'row')} far outside the median norm {median:.3g}: {listed(named, count)}"
        yield Observation(subject.at_tensor(subject.canonical[subject.names.words]), message)


@rule("GTE268", Severity.ERROR, requires=_FINITE, only_with=_VALUES)
def scales_lost(subject: Subject) -> Iterator[Observation]:
    """The matrices have the range of 8-bit floats, not of weights.

    Quantised to fp8, each matrix is stretched until its largest number is 448 (e4m3) or 57344 (e5m2), and a scale puts
    it back. Here most matrices of the layers reach beyond 100, where trained ones end near 10: the numbers were cast to
    float without their scales, and every layer is thousands of times too large. Dequantise again, with the scales.
    """
    words = subject.canonical.get(subject.names.words)
    layers = [(t, seen) for t, seen in _measured(subject) if len(t.shape) > 1 and t.name != words]
    far = [(tensor, seen) for tensor, seen in layers if seen.largest > _BEYOND_WEIGHTS]
    if len(far) >= _FEW_MATRICES and 2 * len(far) > len(layers):
        tensor, seen = far[0]
        share = f"{len(far)} of {len(layers)} matrices exceed {_BEYOND_WEIGHTS:g}"
        message = f"the largest number is {seen.largest:g}; {share}"
        yield Observation(subject.at_tensor(tensor.name), message)


def _measured(subject: Subject) -> list[tuple[StoredTensor, TensorStatistics]]:
    statistics: Mapping[str, TensorStatistics] = subject.statistics
    return [(tensor, statistics[tensor.name]) for tensor in subject.model_tensors if tensor.name in statistics]


def _bounds(subject: Subject) -> Iterator[tuple[str, float]]:
    """Each projection that a norm feeds and that fits float16, by stored name, with the most that an output can be."""
    statistics = {name: subject.statistics.get(stored) for name, stored in subject.canonical.items()}
    for norm, projections in subject.family.fed_by_norms(subject.config.num_hidden_layers):
        length = _normed_length(subject, statistics.get(f"{norm}.weight"), statistics.get(f"{norm}.bias"))
        for name in projections:
            weight, bias = statistics.get(f"{name}.weight"), statistics.get(f"{name}.bias")
            if weight is not None and not weight.overflowing:
                yield subject.canonical[f"{name}.weight"], weight.widest * length + (bias.largest if bias else 0.0)


def _normed_length(subject: Subject, weight: TensorStatistics | None, bias: TensorStatistics | None) -> float:
    """The largest norm of a vector that comes out of a LayerNorm or an RMSNorm."""
    scaled = sqrt(subject.config.hidden_size) * weight.largest if weight is not None else 0.0
    return scaled + (bias.widest if bias is not None else 0.0)


def _index(tensor: StoredTensor, flat: int) -> str:
    """[row, column] of the number with this index in the flattened tensor."""
    place: list[int] = []
    for size in reversed(tensor.shape):
        flat, at = divmod(flat, size)
        place.append(at)
    return "[" + ", ".join(str(at) for at in reversed(place)) + "]"
