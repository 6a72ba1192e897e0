"""What is raised on purpose comes whole out of another process: pickled, it keeps class, words and report."""

from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from gte_surgery import IdContract
from gte_surgery.errors import BatchError, FetchError, GteSurgeryError, HeaderError, JsonError, UsageError

CONTRACT = IdContract(vocab_size=9, pad_token_id=0, type_vocab_size=1, max_length=8)


def judge() -> None:
    CONTRACT.check_batch({"input_ids": [[9]]}, raise_on_error=True)


@pytest.mark.parametrize(
    "error",
    [
        BatchError(CONTRACT.check_batch({"input_ids": [[9]]})),
        JsonError("config.json", 3, 4, "not JSON", "mend it"),
        HeaderError("overlap", "lies over another", "a.weight", "save it again"),
        UsageError("pad: 9", "choose", "--pad 9", "--pad 0"),
        FetchError("answered 500"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_is_pickled_whole(error: GteSurgeryError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.__dict__) == (type(error), str(error), error.__dict__)


def test_a_worker_tells_its_bad_batch() -> None:
    with ProcessPoolExecutor(1, get_context("spawn")) as pool, pytest.raises(BatchError) as caught:
        pool.submit(judge).result()
    assert [finding.code for finding in caught.value.report.findings] == ["GTE414"]
