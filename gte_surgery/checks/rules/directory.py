"""GTE001 to GTE029 and GTE060 to GTE079: the directory, its files, its index, and what surgeries leave behind.

`gte_surgery.checkpoint` finds the faults; here each kind gets its code, its severity and its explanation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from gte_surgery.checkpoint.faults import FaultKind
from gte_surgery.checkpoint.printable import shown
from gte_surgery.checks.registry import Observation, add_fault_rules, rule
from gte_surgery.checks.subject import Subject
from gte_surgery.findings import Location, Severity
from gte_surgery.gte.wording import SHOWN

_SHARD = re.compile(r"model(-\d+-of-\d+)?\.safetensors", re.ASCII)

add_fault_rules(
    FaultKind,
    """
GTE001 error NOT_A_CHECKPOINT The path holds no checkpoint
A checkpoint is a directory with a config.json and weights in safetensors files, or one .safetensors file with its
config.json beside it. Check the path; after a training run, look one folder further down.

GTE002 error CONFIG_MISSING config.json is missing
Without it nothing says how many layers, heads or tokens the weights are for, and no loader opens the directory.
Copy it from the checkpoint that the weights were trained from.

GTE003 error CONFIG_UNREADABLE config.json is not strict JSON
Python's lenient reader lets the last of two equal keys win and accepts NaN; other loaders stop. A config that two
programs read differently gives two different models, so here it is an error. The message has the line and column.

GTE004 error WEIGHTS_MISSING There are no safetensors weights
Wanted: model.safetensors, or model.safetensors.index.json with the shards that it lists. Only pytorch_model.bin?
That is a pickle, which can run code when opened and is never opened here: convert it once, where you trust it
(load it in transformers, `save_pretrained`).

GTE005 error NOT_SAFETENSORS A weight file is something other than safetensors
Judged by content, not by name. A Git LFS pointer means that the download fetched the stub: run `git lfs pull`. An
HTML page is an error page saved under the file's name: download again. A pickle or zip is a torch file that was
renamed: convert it where you trust it, renaming converts nothing.

GTE006 error UNREADABLE A file cannot be read
The operating system refused: permissions, a disk error, a file that vanished or shrank while it was read, or
something that is not a plain file (a pipe, a device), which is never opened. Nor is a link that leads out of the
checkpoint, unless into the blobs of its own hub cache: put the file itself in its place.

GTE010 error INDEX_UNREADABLE model.safetensors.index.json is not a strict index
It must be a strict JSON object whose `weight_map` maps every tensor name to the shard that holds it. Loaders find
the shards by it and nothing else. Save the model again, or take the index from the same source as the shards.

GTE011 error INDEX_MISSING_FILE The index names a shard that does not exist
A part of the network is absent, most often because a download or a copy stopped early. Fetch the named file again.

GTE012 error INDEX_UNSAFE_PATH The index leads out of the checkpoint
A `weight_map` value is an absolute path, contains "..", or is a link that ends outside. transformers and mergekit
follow such paths, so a hostile index makes them read any file that you can read. It is never followed here. Shards
belong in the checkpoint's own directory, named by their bare file names.

GTE013 error INDEX_TENSOR_ABSENT The index promises a tensor that its shard lacks
Index and shards come from different saves. Loaders either stop or leave the tensor at random values. Take all of
them from one save.

GTE014 error INDEX_TENSOR_UNLISTED A shard holds a tensor that the index does not list
Loaders that go by the index pass it over and leave that part of the network at random values; loaders that read
whole shards take it. Two programs, two models. Take index and shards from one save.

GTE015 warning STALE_INDEX An index lies beside a single model.safetensors
transformers reads model.safetensors and ignores the index; vLLM trusts the index and drops files that it does not
name. Usually an earlier, sharded save was overwritten. Remove model.safetensors.index.json and the old shards.

GTE016 warning WRONG_TOTAL_SIZE The index states a wrong total_size
`metadata.total_size` must be the sum of all tensors' bytes. Programs that plan memory by it plan wrongly, and it
hints that index and shards come from different saves.

GTE017 error DUPLICATE_TENSOR Two shards hold a tensor of the same name
Which one is loaded depends on the order in which a program opens the files. Remove the one that is not meant: save
the model again, or take all shards from one save.

GTE018 warning NOT_CARRIED A file is a link that leads out, or no regular file
It is never opened: a link may lead to a private key, a pipe may wait for ever. A copy of the checkpoint would lack
it, and --out refuses to make one. Put a file of its own in its place, or remove it. Links of a hub cache into its
own blobs are fine.

GTE020 error INDEX_METADATA The index has no metadata
transformers reads `metadata` of model.safetensors.index.json without a default and stops with a KeyError
[transformers 4.57.6 and 5.24, utils/hub.py, get_checkpoint_shard_files]. `gte-surgery check CKPT --fix` writes it.

GTE021 warning INDEX_DOTTED The index writes "./" before a file name
transformers opens ./model-00001-of-00002.safetensors as it opens the bare name; programs that compare the names
with a listing do not find the file. `gte-surgery check CKPT --fix` writes the bare names.

GTE060 warning LEFTOVER A temporary file was left behind
Left by a save or a download that was killed; it can be as large as the weights themselves. If no program is
writing here now, remove it.

GTE061 error INTERRUPTED_SURGERY A surgery was interrupted after its commit
Some files are already new, some still old: config and weights may disagree. `gte-surgery recover PATH` finishes
it in moments, from files that are complete and on disk. Do not load or train from the directory before that.

GTE062 warning UNFINISHED_STAGING A surgery was interrupted before its commit
The checkpoint itself is untouched; only the staged files waste space. `gte-surgery recover PATH` removes them.

GTE063 warning RECEIPT_UNREADABLE The receipt of earlier surgeries cannot be read
gte-surgery.json is not a strict receipt, so nothing can be verified by it. The weights are not affected. Restore
the file from a backup or remove it.

GTE064 warning RECEIPT_MISMATCH A file is not the one that the last surgery wrote
Its size or its header differs from the receipt: it was replaced since, perhaps by training or by an incomplete
copy. If you replaced it on purpose, nothing is wrong; otherwise copy the checkpoint again.
""",
    requires={
        "GTE016": ("GTE005", "GTE006", "GTE010", "GTE011", "GTE012", "GTE013", "GTE014", "GTE017", "GTE03", "GTE04"),
        "GTE064": ("GTE002", "GTE003", "GTE004", "GTE005", "GTE006", "GTE01", "GTE03", "GTE04"),
    },
)


@rule(
    "GTE066",
    Severity.WARNING,
    requires=("GTE001", "GTE004", "GTE006", "GTE010", "GTE011", "GTE012", "GTE013", "GTE014"),
    most=SHOWN,
)
def shards_passed_over(subject: Subject) -> Iterator[Observation]:
    """Weight files lie here that nothing names.

    Shards of an older save, or shards that the index forgot. transformers passes them over; programs that read every
    *.safetensors of the directory take them for weights. Remove them if they are old; if the index is what is wrong,
    `gte-surgery check CKPT --fix` makes a new one from whole shards.
    """
    if subject.faults(FaultKind.STALE_INDEX):
        return  # GTE015 says it all
    read = {shard.file.name for shard in subject.checkpoint.shards}
    index = subject.checkpoint.index
    read |= set(index.shard_names) if index is not None else set()
    for file in subject.checkpoint.files:
        if _SHARD.fullmatch(file.name) and file.name not in read:
            yield Observation(Location(file=shown(file.name)), "a shard that no index names")
