"""A smoke run as torchrun starts it, whose processes do not share their gradients: for test_ranks."""

from __future__ import annotations

import json
import sys

from torch import nn

from gte_surgery.smoke import ranks
from gte_surgery.smoke.options import SmokeOptions
from gte_surgery.smoke.run import smoke


class Alone(nn.Module):
    """Takes the place of DistributedDataParallel and spreads nothing."""

    def __init__(self, module: nn.Module, device_ids: object = None) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: object) -> object:
        return self.module(*inputs)


if __name__ == "__main__":
    setattr(ranks, "DistributedDataParallel", Alone)  # noqa: B010
    result = smoke(sys.argv[1], SmokeOptions(device="cpu", batch=4, max_length=12, train=2))
    with open(f"{sys.argv[2]}.{result.proofs[-1].rank}.json", "w", encoding="utf-8") as file:
        json.dump(sorted({finding.code for finding in result.findings if finding.code != "GTE502"}), file)
    sys.exit(0)
