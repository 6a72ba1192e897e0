"""GTE400 to GTE499: what can be wrong with ids and masks, one code for each.

The table only documents. `structure` and `rows` find these in a batch, `scan` in a corpus, `fuzz` in what an encoder
returns; a finding is made by `CODES["GTE414"].found(location, message)`.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from gte_surgery.findings import Code, Severity

_ERROR, _WARNING = Severity.ERROR, Severity.WARNING
_COLLATE = "`gte_surgery.collate` makes batches that are right in this."

_TABLE = (
    Code(
        "GTE400",
        _ERROR,
        "The batch does not map names to tensors",
        "The model takes input_ids, attention_mask and the like by name: a dict, or what a tokenizer returns.",
    ),
    Code(
        "GTE401",
        _ERROR,
        "The batch has neither input_ids nor inputs_embeds",
        "The model needs one of them and raises ValueError without. A member that is None counts as absent.",
    ),
    Code(
        "GTE402",
        _ERROR,
        "The batch has both input_ids and inputs_embeds",
        "The model takes exactly one of them and raises ValueError for both.",
    ),
    Code(
        "GTE403",
        _WARNING,
        "A member has nearly the name of one that the model takes",
        "attention_masks beside no attention_mask is most often a slip: the model then attends to every pad, or stops\n"
        "with a TypeError. Other names, such as text or length, are left alone.",
    ),
    Code(
        "GTE404",
        _ERROR,
        "A member is not a tensor, an array or nested lists of numbers",
        "Strings, objects, sparse tensors and tensors on the meta device hold no ids to judge or to look up.",
    ),
    Code(
        "GTE405",
        _ERROR,
        "Nested lists have rows of unequal lengths",
        f"They make no tensor: the rows have not been padded. {_COLLATE}",
    ),
    Code(
        "GTE406",
        _ERROR,
        "The batch has no rows or no columns",
        "There is no position 0 to pool, and kernels that pack tokens fail on nothing. Leave the batch out.",
    ),
    Code(
        "GTE407",
        _ERROR,
        "Members come from different frameworks",
        "Some are torch tensors, others numpy arrays or lists. The model takes tensors alone, so a conversion was\n"
        "forgotten on the way.",
    ),
    Code(
        "GTE408",
        _ERROR,
        "Tensors lie on different devices",
        "The model raises RuntimeError when it brings them together. Move the whole batch, not just input_ids.",
    ),
    Code(
        "GTE410",
        _ERROR,
        "input_ids are not [rows, columns]",
        "The model takes a batch of rows, even of one: a single sequence must be wrapped once more.",
    ),
    Code(
        "GTE411",
        _ERROR,
        "A member that holds ids does not hold integers",
        "An embedding table is indexed by integers. Floats come from numpy's default dtype or from a data frame with\n"
        "missing values, and lose ids above 2²⁴ in float32; booleans come from a comparison.",
    ),
    Code(
        "GTE412",
        _ERROR,
        "A member that holds ids is not int64",
        "torch looks up int32 ids as well, but losses, position arithmetic and other runtimes want int64. int32\n"
        "passes where it is allowed (allow_int32); a dtype that ends before the vocabulary does is GTE417.",
    ),
    Code(
        "GTE413",
        _ERROR,
        "An id is negative",
        "On a CPU an IndexError, on CUDA a device-side assert that poisons the whole process. −100 in input_ids means\n"
        "that labels were fed as ids; −1 is what some encoders return for an unknown token.",
    ),
    Code(
        "GTE414",
        _ERROR,
        "An id is beyond the embedding table",
        "On a CPU an IndexError, on CUDA a device-side assert that poisons the whole process. The encoder makes more\n"
        "ids than the checkpoint has rows: `gte-surgery resize CKPT --vocab N --pad ID` gives it more.",
    ),
    Code(
        "GTE415",
        _ERROR,
        "Rows are longer than the model's positions",
        "Rotary angles beyond max_length were never trained, and a table of absolute positions ends there. Truncate\n"
        "where the loss of text can be seen, not here.",
    ),
    Code(
        "GTE416",
        _ERROR,
        "A row does not begin with the CLS id",
        "The sentence vector is taken from the first token of the row. Without the CLS token there, it is some word's\n"
        "vector, and nothing fails. Encode with add_special_tokens=True.",
    ),
    Code(
        "GTE417",
        _ERROR,
        "Ids are of a dtype that cannot hold the vocabulary",
        "int16 ends at 32767 and uint16 at 65535, a multilingual vocabulary at 250047: ids that did not fit have\n"
        "wrapped around into other ids or below 0, and most of them cannot be told from sound ones. What was stored\n"
        "so must be made anew from the texts, as int32 or int64.",
    ),
    Code(
        "GTE420",
        _ERROR,
        "There are pads but no attention_mask",
        "Without a mask the model attends to every position, so each row's vector depends on how far it was padded.",
    ),
    Code(
        "GTE421",
        _ERROR,
        "attention_mask has not the shape of the ids",
        "One value for each position: [rows, columns], as input_ids.",
    ),
    Code(
        "GTE422",
        _ERROR,
        "attention_mask is not [rows, columns]",
        "A mask of three or four dimensions has been expanded for one attention already. The model expands it itself,\n"
        "and finds the real tokens for unpadding in the two-dimensional form.",
    ),
    Code(
        "GTE423",
        _ERROR,
        "attention_mask holds neither integers nor booleans",
        "A floating-point mask makes the rows' lengths floating point in the reference code, which fails on them.",
    ),
    Code(
        "GTE424",
        _ERROR,
        "attention_mask is additive",
        "0 for tokens and a huge negative number for pads is what is added to attention scores. Read as a mask of 0\n"
        "and 1 it means the opposite: pads are kept and tokens dropped. Pass (mask == 0).",
    ),
    Code(
        "GTE425",
        _ERROR,
        "attention_mask has values other than 0 and 1",
        "Whatever is not 0 counts as a token, so that document numbers of packed rows, or a mask added to itself,\n"
        "lose their meaning silently.",
    ),
    Code(
        "GTE426",
        _ERROR,
        "attention_mask is inverted",
        "It is 1 exactly where the pads are: a padding mask, as torch.nn.Transformer takes it. Pass its negation.",
    ),
    Code(
        "GTE427",
        _ERROR,
        "The mask keeps a pad",
        "The pad's row is zero and never trains, yet the position takes part in every attention of its row: outputs\n"
        "then depend on how far the row was padded. Or the pad id of the encoder is not that of the model.",
    ),
    Code(
        "GTE428",
        _ERROR,
        "The mask drops a token",
        "A token that is not padding is invisible. Often the mask is off by one at the end of a row, or belongs to\n"
        "another batch.",
    ),
    Code(
        "GTE429",
        _ERROR,
        "A row has no token",
        "It has no CLS position, so its vector is made of padding; a softmax over nothing is NaN in some backends. An\n"
        "empty text still has its special tokens.",
    ),
    Code(
        "GTE430",
        _ERROR,
        "A row's tokens have a hole",
        "Unpadding closes the gap and counts positions on: the tokens behind it move, and packed and padded runs\n"
        "disagree.",
    ),
    Code(
        "GTE431",
        _ERROR,
        "A row is padded on the wrong side",
        "The sentence vector is taken from position 0. With padding on the left that is a pad, for every row but the\n"
        "longest.",
    ),
    Code(
        "GTE440",
        _ERROR,
        "token_type_ids have not the shape of the ids",
        "One value for each position: [rows, columns], as input_ids.",
    ),
    Code(
        "GTE441",
        _ERROR,
        "A token type is negative",
        "An IndexError on a CPU, on CUDA a device-side assert that poisons the whole process.",
    ),
    Code(
        "GTE442",
        _ERROR,
        "A token type is beyond the type table",
        "An IndexError on a CPU, on CUDA a device-side assert that poisons the whole process; the published remote\n"
        "code with one type replaces all types by 0 instead, and segments are lost silently.\n"
        "`gte-surgery resize CKPT --vocab N --pad ID --type-vocab T` enlarges the table.",
    ),
    Code(
        "GTE443",
        _WARNING,
        "Token types are given to a model that has none",
        "type_vocab_size is 0: the model ignores token_type_ids, and what the segments should tell is lost. Types\n"
        "that are all 0 tell nothing and pass.",
    ),
    Code(
        "GTE450",
        _ERROR,
        "labels have not the shape of the ids",
        "Labels of tokens are [rows, columns], as input_ids; labels of rows have one entry for each row.",
    ),
    Code(
        "GTE451",
        _ERROR,
        "A label is negative but not the ignored one",
        "Cross-entropy raises on a CPU and asserts on CUDA, which poisons the process. −1 is often meant as −100.",
    ),
    Code(
        "GTE452",
        _ERROR,
        "A label is beyond the vocabulary",
        "Cross-entropy raises on a CPU and asserts on CUDA, which poisons the process.",
    ),
    Code(
        "GTE453",
        _ERROR,
        "A pad has a label",
        "The loss then trains the model to predict words, or pads, from padding, and is diluted by the share of pads.",
    ),
    Code(
        "GTE454",
        _ERROR,
        "No position has a label",
        "The mean over no label is NaN, and one such step turns every weight into NaN. Short batches come out so when\n"
        "each token is hidden with a probability; `gte_surgery.MaskedLmCollator` hides at least one.",
    ),
    Code(
        "GTE460",
        _ERROR,
        "position_ids have not the shape of the ids",
        "[rows, columns], as input_ids, or [1, columns] for all rows.",
    ),
    Code("GTE461", _ERROR, "A position is negative", "Positions count from 0."),
    Code(
        "GTE462",
        _ERROR,
        "A position is beyond max_length",
        "Rotary angles there were never trained, and a table of absolute positions ends before.",
    ),
    Code(
        "GTE463",
        _WARNING,
        "Positions do not count a row's tokens from 0",
        "The model was trained so, and counts so itself where position_ids are left out. Other positions change every\n"
        "distance that attention sees, unless they are shifted as a whole.",
    ),
    Code(
        "GTE470",
        _ERROR,
        "inputs_embeds are not [rows, columns, hidden]",
        "One vector in place of each id's row of the embedding table.",
    ),
    Code(
        "GTE471",
        _ERROR,
        "inputs_embeds have the wrong width",
        "Each vector must be as wide as the model, hidden_size.",
    ),
    Code("GTE472", _ERROR, "inputs_embeds are not floating point", "They stand for rows of the embedding table."),
    Code(
        "GTE473",
        _ERROR,
        "inputs_embeds hold NaN or infinity",
        "One such value makes its whole row of the batch NaN, and by the loss every weight.",
    ),
    Code(
        "GTE480",
        _ERROR,
        "A file of the corpus cannot be read",
        "It is cut off, damaged, or not what its name says: a Git LFS pointer, an HTML error page, a JSON array. Rows\n"
        "before the damage are counted; the scan goes on with the next file.",
    ),
    Code(
        "GTE481",
        _ERROR,
        "A file has no such column",
        "The ids, or a column that was asked for by name, are not in it. `--ids NAME` and its like say where to look.",
    ),
    Code(
        "GTE482",
        _ERROR,
        "A row cannot be read",
        "A line that is no JSON object, ids that are null, or a null among the values of a row. It is left out of all\n"
        "other counts.",
    ),
    Code(
        "GTE483",
        _ERROR,
        "Offsets do not cut the ids into rows",
        "Offsets begin with 0, never fall, and end with the number of ids, as cu_seqlens of packed attention do.",
    ),
    Code(
        "GTE484",
        _WARNING,
        "A file has no rows",
        "Nothing is wrong with it, but somebody may have expected rows: a job that wrote nothing, an empty split.",
    ),
    Code(
        "GTE485",
        _ERROR,
        "The corpus has no rows",
        "Every file was read, and none has a row: nothing was judged, so nothing is known to be right. A job wrote\n"
        "nothing, or a pattern leads elsewhere.",
    ),
    Code(
        "GTE490",
        _ERROR,
        "The encoder raised",
        "On sequences that an encoder meets in training. A clean ValueError on what it need not take (an empty\n"
        "sequence, one without room for special tokens, the pad id inside) counts only with --strict-exceptions.",
    ),
    Code(
        "GTE491",
        _ERROR,
        "The encoder returned another number of rows",
        "Every sequence must come back as one row, in order: otherwise texts and vectors no longer belong together.",
    ),
    Code(
        "GTE492",
        _ERROR,
        "The encoder lost tokens silently",
        "A row has fewer tokens than its sequence, though there was room. What is cut must be cut by max_length, and\n"
        "so that the caller can know.",
    ),
    Code(
        "GTE493",
        _ERROR,
        "The encoder changed tokens",
        "A row's tokens are not those of its sequence, apart from special tokens at its ends.",
    ),
    Code(
        "GTE494",
        _ERROR,
        "The encoder is not repeatable",
        "The same sequences gave another batch the second time. An encoder must keep no state and draw no numbers.",
    ),
)


_BATCHES, _ENCODERS = "IdContract.check_batch, GteAdapter, scan and fuzz", "fuzz and verify"

CODES = MappingProxyType(
    {each.code: replace(each, only_with=_ENCODERS if each.code >= "GTE490" else _BATCHES) for each in _TABLE}
)
"""Every code of this room, in order."""
