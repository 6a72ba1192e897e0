"""GTE500 to GTE599: what a smoke run can find, one code for each proof and each way to break.

The table only documents; the proofs themselves are in `proofs`, `training`, `ranks`, `reference` and `remote`.
"""

from __future__ import annotations

from gte_surgery.findings import documented

_TABLE = """
GTE500 error The checkpoint does not load completely
A tensor that the model needs is missing, one that it does not know is there, or a shape differs from
what config.json says. Loaders that only warn would leave random weights in its place. `gte-surgery
check` lists every such tensor.

GTE501 error The native model cannot express the checkpoint
RMS norm, absolute positions, a question answering head or a foreign rope exist only in the remote code.
Prove it with `--runtime remote --trust-remote-code`, on a transformers that still runs that code.

GTE502 note An attention backend cannot serve here
The message says why: another dtype, another device, a package or a library that is missing. The backends
that can serve were proved.

GTE503 error The tokenizer makes ids that the table does not have
On a CPU such an id is an IndexError, on CUDA a device-side assert that poisons the process. Measured on
real encodings where the tokenizers package is here, in a process of its own; else by what the files say.
Use the tokenizer that belongs to the checkpoint, or grow the table:
`gte-surgery resize CKPT --vocab N --pad ID`.

GTE504 error `gte-surgery check` finds errors
A lost rope or a wrong type vocabulary gives finite, plausible, wrong numbers, which no forward can tell
from right ones. So the rules for config and tensors are judged first; `gte-surgery check` shows all they
found.

GTE505 error The rotary frequencies of the model are not those of config.json
They are computed when the model is made, not stored. Frequencies that differ from the formula mean that
a loader left the buffer uninitialised, rounded it to the model's dtype, or read the rope otherwise.

GTE506 warning The tokenizer was left behind by a surgery that moved the ids
Its ids mean other rows now, so texts give vectors of other words. As GTE316 of `gte-surgery check`: install
the tokenizer that the rows were chosen for, or remove the files if you feed ids of your own.

GTE510 error Outputs are not finite
NaN or infinity among the hidden states of real tokens: a NaN in the weights, or an overflow of float16,
whose largest number is 65504. `gte-surgery check --values` finds the weights; bfloat16 does not overflow
so soon.

GTE511 error Embeddings are not of length 1
Normalised vectors of another length mean zero or non-finite CLS states.

GTE512 error Packed tokens give other outputs than the padded batch
Rows see each other's tokens, or positions do not restart: unpadding is unsafe here. Compare with
`--attention eager --dtype fp32`: where that passes, a kernel or a dtype is at fault.

GTE513 error More padding changes the outputs
The mask does not keep attention from the pads, so a text's embedding depends on its batch. Compare with
`--attention eager --dtype fp32`: where that passes, a kernel or a dtype is at fault.

GTE514 error The order of the rows changes the outputs
Rows are mixed up, or influence each other. Compare with `--attention eager --dtype fp32`: where that
passes, a kernel or a dtype is at fault.

GTE515 error Low precision is far from float32
The relative error of the hidden states is beyond what rounding explains. Typical are 1.5e-3 in float16
and 1.2e-2 in bfloat16.

GTE516 error The pad row gets a gradient
padding_idx should keep it at zero gradient; a trained pad row changes what masks are meant to hide.

GTE517 error The pad row is not zero after a training step
It was not zero to begin with, or the optimiser moved it. `gte-surgery resize CKPT --pad ID` zeroes it.
Masked-LM training moves it where the decoder is tied to the table: then a row that is not zero is left
to GTE230.

GTE518 error inputs_embeds gives other outputs than input_ids
Looking the rows up outside and handing them in must change nothing; external tables rely on it.

GTE519 error An attention backend disagrees with eager attention
In the same dtype on the same batch, the relative difference is beyond rounding. Do not use that backend
here.

GTE520 error The device ran out of memory
The message holds the batch. Take a smaller --batch or --max-length, or a backend that packs; training
takes several times the memory of a forward.

GTE521 error A device-side assert or an index out of range
Most often an id at or beyond vocab_size, or a position beyond the table. After a device-side assert no
more can be run in this process; the message holds the batch. CUDA_LAUNCH_BLOCKING=1 shows the place.

GTE522 error The driver or a kernel failed
Not a finding about the numbers: the run itself broke. The message holds the batch and what was said.

GTE530 error The training loss is not finite
It overflowed or divided by zero. Where float32 passes, train with bfloat16 or a loss scale.

GTE531 error A gradient is missing or not finite
The message names the parameters. A parameter without gradient does not train.

GTE532 error The training loss does not fall on a fixed batch
A few small steps on one batch must lower its loss, or the gradient is not the loss's.

GTE540 error Embeddings differ from the saved reference
The same ids gave other vectors when the reference was saved: the weights, the rope, the pooling or the
dtype changed. Where that was meant, save a new reference: --save-reference.

GTE541 error The saved reference does not fit the checkpoint
Its ids lie outside this vocabulary, or its vectors have another width: it was saved from another
checkpoint.

GTE550 error The checkpoint's own code does not run here
Published GTE code was written for transformers 4. On transformers 5 its position buffers stay
uninitialised, get_extended_attention_mask is gone (5.17), and its masked-LM decoder is left random
because _tied_weights_keys is a list. `gte-surgery convert CKPT --to native` removes all of these.

GTE551 error The checkpoint's own code gives other outputs than the native model
Both were given the same weights and batch. Either the code's buffers are not what they should be, or the
config means something else to it.

GTE560 error Processes have other losses after the same training
Under DistributedDataParallel every process must hold the same model after every step.

GTE561 error Processes have other weights after the same training
Gradients were not averaged over the processes, or they began from different weights.

GTE562 error The gradient of all processes is not that of the joined batch
Training on several devices is then not the training that one device would do.

GTE563 error A process failed
The other processes stopped where they would have waited for it. The finding of that process says why.

GTE570 error Compiling makes more than one graph
A graph for each batch size or length costs seconds of compilation every time one is met. One should
serve all.

GTE571 error Compiled training gives other gradients
One step of the compiled model, or of its layers replayed from captured graphs, is not the step of the
uncompiled one. Train without compile, and report it with the versions above.

GTE580 error The checkpoint does not preserve what it should
Rows, tensors, tokens, hidden states or outputs are not those of the checkpoint before, though a receipt or
--map says that they are. It was trained since, or what made it is wrong, or the map is another's. The
message holds the first difference.

GTE581 error Whether the checkpoint preserves what it should cannot be said
One of the two cannot be run here, or nothing is claimed that could be: the message says why. It is neither
proved nor refuted.

GTE590 error Embeddings of texts moved away
The mean cosine of the embeddings before and after is below --min-cosine. Another pooling, another pad or a
table under other ids gives this for every text; a trim for texts that hold cut tokens. The report shows the
ten worst.

GTE591 error Texts have other neighbours
Of the ten texts nearest to each, fewer than --min-neighbours are the same before and after: a search over
them finds other texts.

GTE592 error Neighbours come in another order
Kendall's tau over the ten texts that were nearest to each is below --min-tau: they are ranked otherwise.

GTE593 error Positives rank lower than before
nDCG@10 of the labelled queries fell by more than --max-loss.

GTE594 error Fewer positives are found than before
Recall among the ten nearest texts of the labelled queries fell by more than --max-loss.
"""

CODES = documented(_TABLE, only_with="smoke")
"""Every code of this room, in order."""
