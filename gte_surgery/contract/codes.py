"""GTE400 to GTE499: what can be wrong with ids and masks, one code for each.

The table only documents. `structure` and `rows` find these in a batch, `scan` in a corpus, `fuzz` in what an encoder
returns; a finding is made by `CODES["GTE414"].found(location, message)`.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from gte_surgery.findings import documented

_TABLE = """
GTE400 error The batch does not map names to tensors
The model takes input_ids, attention_mask and the like by name: a dict, or what a tokenizer returns.

GTE401 error The batch has neither input_ids nor inputs_embeds
The model needs one of them and raises ValueError without. A member that is None counts as absent.

GTE402 error The batch has both input_ids and inputs_embeds
The model takes exactly one of them and raises ValueError for both.

GTE403 warning A member has nearly the name of one that the model takes
attention_masks beside no attention_mask is most often a slip: the model then attends to every pad, or stops
with a TypeError. Other names, such as text or length, are left alone.

GTE404 error A member is not a tensor, an array or nested lists of numbers
Strings, objects, sparse tensors and tensors on the meta device hold no ids to judge or to look up.

GTE405 error Nested lists have rows of unequal lengths
They make no tensor: the rows have not been padded. `gte_surgery.collate` makes batches that are right in this.

GTE406 error The batch has no rows or no columns
There is no position 0 to pool, and kernels that pack tokens fail on nothing. Leave the batch out.

GTE407 error Members come from different frameworks
Some are torch tensors, others numpy arrays or lists. The model takes tensors alone, so a conversion was
forgotten on the way.

GTE408 error Tensors lie on different devices
The model raises RuntimeError when it brings them together. Move the whole batch, not just input_ids.

GTE410 error input_ids are not [rows, columns]
The model takes a batch of rows, even of one: a single sequence must be wrapped once more.

GTE411 error A member that holds ids does not hold integers
An embedding table is indexed by integers. Floats come from numpy's default dtype or from a data frame with
missing values, and lose ids above 2²⁴ in float32; booleans come from a comparison.

GTE412 error A member that holds ids is not int64
torch looks up int32 ids as well, but losses, position arithmetic and other runtimes want int64. int32
passes where it is allowed (allow_int32); a dtype that ends before the vocabulary does is GTE417.

GTE413 error An id is negative
On a CPU an IndexError, on CUDA a device-side assert that poisons the whole process. −100 in input_ids means
that labels were fed as ids; −1 is what some encoders return for an unknown token.

GTE414 error An id is beyond the embedding table
On a CPU an IndexError, on CUDA a device-side assert that poisons the whole process. The encoder makes more
ids than the checkpoint has rows: `gte-surgery resize CKPT --vocab N --pad ID` gives it more.

GTE415 error Rows are longer than the model's positions
Rotary angles beyond max_length were never trained, and a table of absolute positions ends there. Truncate
where the loss of text can be seen, not here.

GTE416 error A row does not begin with the CLS id
The sentence vector is taken from the first token of the row. Without the CLS token there, it is some word's
vector, and nothing fails. Encode with add_special_tokens=True.

GTE417 error Ids are of a dtype that cannot hold the vocabulary
int16 ends at 32767 and uint16 at 65535, a multilingual vocabulary at 250047: ids that did not fit have
wrapped around into other ids or below 0, and most of them cannot be told from sound ones. What was stored
so must be made anew from the texts, as int32 or int64.

GTE420 error There are pads but no attention_mask
Without a mask the model attends to every position, so each row's vector depends on how far it was padded.

GTE421 error attention_mask has not the shape of the ids
One value for each position: [rows, columns], as input_ids.

GTE422 error attention_mask is not [rows, columns]
A mask of three or four dimensions has been expanded for one attention already. The model expands it itself,
and finds the real tokens for unpadding in the two-dimensional form.

GTE423 error attention_mask holds neither integers nor booleans
A floating-point mask makes the rows' lengths floating point in the reference code, which fails on them.

GTE424 error attention_mask is additive
0 for tokens and a huge negative number for pads is what is added to attention scores. Read as a mask of 0
and 1 it means the opposite: pads are kept and tokens dropped. Pass (mask == 0).

GTE425 error attention_mask has values other than 0 and 1
Whatever is not 0 counts as a token, so that document numbers of packed rows, or a mask added to itself,
lose their meaning silently.

GTE426 error attention_mask is inverted
It is 1 exactly where the pads are: a padding mask, as torch.nn.Transformer takes it. Pass its negation.

GTE427 error The mask keeps a pad
The pad's row is zero and never trains, yet the position takes part in every attention of its row: outputs
then depend on how far the row was padded. Or the pad id of the encoder is not that of the model.

GTE428 error The mask drops a token
A token that is not padding is invisible. Often the mask is off by one at the end of a row, or belongs to
another batch.

GTE429 error A row has no token
It has no CLS position, so its vector is made of padding; a softmax over nothing is NaN in some backends. An
empty text still has its special tokens.

GTE430 error A row's tokens have a hole
Unpadding closes the gap and counts positions on: the tokens behind it move, and packed and padded runs
disagree.

GTE431 error A row is padded on the wrong side
The sentence vector is taken from position 0. With padding on the left that is a pad, for every row but the
longest.

GTE440 error token_type_ids have not the shape of the ids
One value for each position: [rows, columns], as input_ids.

GTE441 error A token type is negative
An IndexError on a CPU, on CUDA a device-side assert that poisons the whole process.

GTE442 error A token type is beyond the type table
An IndexError on a CPU, on CUDA a device-side assert that poisons the whole process; the published remote
code with one type replaces all types by 0 instead, and segments are lost silently.
`gte-surgery resize CKPT --vocab N --pad ID --type-vocab T` enlarges the table.

GTE443 warning Token types are given to a model that has none
type_vocab_size is 0: the model ignores token_type_ids, and what the segments should tell is lost. Types
that are all 0 tell nothing and pass.

GTE450 error labels have not the shape of the ids
Labels of tokens are [rows, columns], as input_ids; labels of rows have one entry for each row.

GTE451 error A label is negative but not the ignored one
Cross-entropy raises on a CPU and asserts on CUDA, which poisons the process. −1 is often meant as −100.

GTE452 error A label is beyond the vocabulary
Cross-entropy raises on a CPU and asserts on CUDA, which poisons the process.

GTE453 error A pad has a label
The loss then trains the model to predict words, or pads, from padding, and is diluted by the share of pads.

GTE454 error No position has a label
The mean over no label is NaN, and one such step turns every weight into NaN. Short batches come out so when
each token is hidden with a probability; `gte_surgery.MaskedLmCollator` hides at least one.

GTE460 error position_ids have not the shape of the ids
[rows, columns], as input_ids, or [1, columns] for all rows.

GTE461 error A position is negative
Positions count from 0.

GTE462 error A position is beyond max_length
Rotary angles there were never trained, and a table of absolute positions ends before.

GTE463 warning Positions do not count a row's tokens from 0
The model was trained so, and counts so itself where position_ids are left out. Other positions change every
distance that attention sees, unless they are shifted as a whole.

GTE470 error inputs_embeds are not [rows, columns, hidden]
One vector in place of each id's row of the embedding table.

GTE471 error inputs_embeds have the wrong width
Each vector must be as wide as the model, hidden_size.

GTE472 error inputs_embeds are not floating point
They stand for rows of the embedding table.

GTE473 error inputs_embeds hold NaN or infinity
One such value makes its whole row of the batch NaN, and by the loss every weight.

GTE480 error A file of the corpus cannot be read
It is cut off, damaged, or not what its name says: a Git LFS pointer, an HTML error page, a JSON array. Rows
before the damage are counted; the scan goes on with the next file.

GTE481 error A file has no such column
The ids, or a column that was asked for by name, are not in it. `--ids NAME` and its like say where to look.

GTE482 error A row cannot be read
A line that is no JSON object, ids that are null, or a null among the values of a row. It is left out of all
other counts.

GTE483 error Offsets do not cut the ids into rows
Offsets begin with 0, never fall, and end with the number of ids, as cu_seqlens of packed attention do.

GTE484 warning A file has no rows
Nothing is wrong with it, but somebody may have expected rows: a job that wrote nothing, an empty split.

GTE485 error The corpus has no rows
Every file was read, and none has a row: nothing was judged, so nothing is known to be right. A job wrote
nothing, or a pattern leads elsewhere.

GTE490 error The encoder raised
On sequences that an encoder meets in training. A clean ValueError on what it need not take (an empty
sequence, one without room for special tokens, the pad id inside) counts only with --strict-exceptions.

GTE491 error The encoder returned another number of rows
Every sequence must come back as one row, in order: otherwise texts and vectors no longer belong together.

GTE492 error The encoder lost tokens silently
A row has fewer tokens than its sequence, though there was room. What is cut must be cut by max_length, and
so that the caller can know.

GTE493 error The encoder changed tokens
A row's tokens are not those of its sequence, apart from special tokens at its ends.

GTE494 error The encoder is not repeatable
The same sequences gave another batch the second time. An encoder must keep no state and draw no numbers.
"""

_BATCHES, _ENCODERS = "IdContract.check_batch, GteAdapter, scan and fuzz", "fuzz and verify"

CODES = MappingProxyType(
    {
        code: replace(each, only_with=_ENCODERS if code >= "GTE490" else _BATCHES)
        for code, each in documented(_TABLE).items()
    }
)
"""Every code of this room, in order."""
