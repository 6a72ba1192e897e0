"""The outside of a batch: names, frameworks, devices, shapes and dtypes. Nothing here reads an element of a tensor.

What is sound so far goes on, as a `Frame`, to `verdict` and `rows`, which judge the values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gte_surgery.contract.batch.offences import HINTS
from gte_surgery.contract.codes import CODES
from gte_surgery.contract.frameworks import Member, UnreadableError, greatest, member
from gte_surgery.contract.terms import Terms
from gte_surgery.findings import Finding, Location
from gte_surgery.gte.wording import shape

IDS, MASK, TYPES, POSITIONS, LABELS, EMBEDS = NAMES = (
    "input_ids",
    "attention_mask",
    "token_type_ids",
    "position_ids",
    "labels",
    "inputs_embeds",
)


@dataclass
class Frame:
    """A batch under judgement: the members whose values can be judged, and what was found on the way there.

    `grid` is (rows, columns), (0, 0) where nothing tells. `has_mask`: there is an attention_mask, sound or not.
    """

    members: dict[str, Member] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    grid: tuple[int, int] = (0, 0)
    has_mask: bool = False

    def found(self, code: str, name: str, message: str, hint: str = "") -> None:
        """Add a finding about a member as a whole."""
        self.findings.append(CODES[code].found(Location(pointer=f"/{name}" if name else ""), message, hint))

    def reject(self, code: str, name: str, message: str) -> None:
        """Add a finding that leaves the values of a member without meaning."""
        self.found(code, name, message)
        del self.members[name]


def framed(batch: object, contract: Terms, allow_int32: bool) -> Frame:
    """What of a batch can be judged further, and what is wrong with it from outside."""
    frame = Frame()
    if not isinstance(batch, Mapping):
        frame.found("GTE400", "", f"a batch that is a {type(batch).__name__}, must map names to tensors")
        return frame
    present = {name: value for name in NAMES if (value := batch.get(name)) is not None}
    frame.has_mask = MASK in present
    _judge_names(frame, batch, present)
    _read_members(frame, present)
    _judge_company(frame)
    _judge_grid(frame, contract)
    if not any(frame.grid):
        frame.members.clear()
        return frame
    for name, code in ((MASK, "GTE421"), (TYPES, "GTE440"), (POSITIONS, "GTE460"), (LABELS, "GTE450")):
        _judge_shape(frame, name, code)
    _judge_integers(frame, contract, allow_int32)
    return frame


def _judge_names(frame: Frame, batch: Mapping[object, object], present: Mapping[str, object]) -> None:
    ids, embeds = IDS in present, EMBEDS in present
    if not ids and not embeds:
        frame.found("GTE401", "", "no input_ids and no inputs_embeds, one of them is needed")
    if ids and embeds:
        frame.found("GTE402", EMBEDS, "beside input_ids, must be one of the two")
    strange = [name for name in batch if isinstance(name, str) and name not in NAMES]
    for name in strange:
        wanted = next((each for each in NAMES if each not in present and _simplified(each) == _simplified(name)), None)
        if wanted is not None:
            frame.found("GTE403", name, f"not a name that the model takes, {wanted} is", f"call it {wanted}")


def _simplified(name: str) -> str:
    """The letters of a name without a plural's s; "label", as many call the class of a row, is not taken for labels."""
    letters = "".join(filter(str.isalnum, name)).lower()
    return letters if letters == "labels" else letters.removesuffix("s")


def _read_members(frame: Frame, present: Mapping[str, object]) -> None:
    for name, value in present.items():
        try:
            frame.members[name] = member(name, value)
        except UnreadableError as error:
            frame.found("GTE405" if error.is_ragged else "GTE404", name, str(error))


def _judge_company(frame: Frame) -> None:
    """All members of one framework, on one device."""
    members = list(frame.members.values())
    if any(each.framework != members[0].framework for each in members):
        told = ", ".join(f"{each.name} of {each.framework}" for each in members)
        frame.found("GTE407", "", f"{told}, must be of one framework")
    devices = [each for each in members if each.device is not None]
    if devices and any(each.device != devices[0].device for each in devices):
        told = ", ".join(f"{each.name} on {each.device}" for each in devices)
        frame.found("GTE408", "", f"{told}, must be on one device")


def _judge_grid(frame: Frame, contract: Terms) -> None:
    """Shapes of input_ids and inputs_embeds, and the grid that the first of them makes."""
    for name, code, sides, wanted in (
        (IDS, "GTE410", 2, "[rows, columns]"),
        (EMBEDS, "GTE470", 3, "[rows, columns, hidden]"),
    ):
        each = frame.members.get(name)
        if each is None:
            continue
        if 0 in each.shape:
            frame.grid = (0, 0)
            frame.found("GTE406", name, f"shape {shape(each.shape)}, must have a row and a column")
            return
        if len(each.shape) != sides:
            frame.reject(code, name, f"shape {shape(each.shape)}, must be {wanted}")
        elif not any(frame.grid):
            frame.grid = (each.shape[0], each.shape[1])
            if frame.grid[1] > contract.max_length:
                frame.found(
                    "GTE415", name, f"{each.shape[1]} columns, must be at most max_length {contract.max_length}"
                )
    _judge_embeds(frame, contract)


def _judge_embeds(frame: Frame, contract: Terms) -> None:
    embeds = frame.members.get(EMBEDS)
    if embeds is None:
        return
    if contract.hidden_size not in (None, embeds.shape[2]):
        frame.found("GTE471", EMBEDS, f"width {embeds.shape[2]}, must be hidden_size {contract.hidden_size}")
    if embeds.kind != "floats":
        frame.reject("GTE472", EMBEDS, f"{embeds.dtype}, must be floating point")
    elif embeds.shape[:2] != frame.grid:
        frame.reject("GTE470", EMBEDS, f"shape {shape(embeds.shape)}, must begin as that of input_ids")


def _judge_shape(frame: Frame, name: str, code: str) -> None:
    """Whether a member has the shape of the grid, or another that its name allows."""
    each = frame.members.get(name)
    if each is None:
        return
    if name == LABELS and each.shape[:1] == frame.grid[:1] and (len(each.shape) == 1 or each.kind == "floats"):
        del frame.members[name]  # the class or the score of each row is none of the vocabulary's business
    elif name == POSITIONS and each.shape == (1, frame.grid[1]):
        return
    elif name == MASK and len(each.shape) != 2:
        frame.reject("GTE422", MASK, f"shape {shape(each.shape)}, must be [rows, columns] = {shape(frame.grid)}")
    elif each.shape != frame.grid:
        frame.reject(code, name, f"shape {shape(each.shape)}, must be {shape(frame.grid)} as the ids'")


def _judge_integers(frame: Frame, contract: Terms, allow_int32: bool) -> None:
    allowed = ("int64", "int", "int32") if allow_int32 else ("int64", "int")
    for each in [frame.members[name] for name in (IDS, TYPES, POSITIONS, LABELS) if name in frame.members]:
        if each.kind != "integers":
            frame.reject("GTE411", each.name, f"{each.dtype}, must be int64")
        elif each.name in (IDS, LABELS) and greatest(each.dtype) < contract.vocab_size - 1:
            frame.found(
                "GTE417", each.name, f"{each.dtype}, must hold every id below {contract.vocab_size}", HINTS["GTE417"]
            )
        elif each.dtype not in allowed:
            hint = "allow_int32 lets it pass" if each.dtype == "int32" else ""
            frame.found("GTE412", each.name, f"{each.dtype}, must be int64", hint)
