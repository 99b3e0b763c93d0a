"""What is seen inside an adapter in plain words, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...adapters.protocol import training_config
from ...core.config.inspect import InspectConfig
from ...core.console import command_line, invocation
from ...methods import Method
from .worth import best

IDLE = 10.0  # percent of the patches; a block that moves fewer moves almost none
BUSY = 90.0
SMALL = 0.01  # relative to what the frozen block adds
ERRORS = 2.0  # standard errors that a difference must have to be one
NEIGHBOURS = 5.0  # percentage points by which neighbours must do better than the head
POINT = 1.0  # percentage points that are nothing, in the range that a few clouds can tell


def summary(facts: Mapping[str, Any]) -> list[str]:
    """Sentences on what stands out."""
    parts = (_scales, _changes, *(_WORTH if says_something(facts) else (_nothing,)), _features)
    return [text for part in parts for text in part(facts)]


def says_something(facts: Mapping[str, Any]) -> bool:
    """Whether the adapter is better than always naming the commonest class, if it can be told."""
    score = facts.get("score", {})
    return score.get("value", 1.0) > score.get("commonest", 0.0)


def _nothing(facts: Mapping[str, Any]) -> list[str]:
    common = facts["score"]["commonest"]
    return [f"With {_whole(facts)} the adapter is no better than always naming the commonest class "
            f"({common:.1f} %): what prompts and inputs are worth cannot be told."]  # fmt: skip


def idle_blocks(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of the blocks whose scale leaves almost all patches as they are."""
    return [row for row in facts["scales"] if row["patches"]["moved"] < IDLE]


def _scales(facts: Mapping[str, Any]) -> list[str]:
    rows = facts["scales"]
    if not rows:
        return []
    said = [_idle(idle_blocks(facts))] if idle_blocks(facts) else []
    busy = [row["block"] for row in rows if row["patches"]["moved"] >= BUSY]
    if len(busy) == len(rows):
        said.append(f"Every block moves nearly all patches (the scale is above 0 on {BUSY:.0f} %).")
    top = max(rows, key=lambda row: row["patches"]["mean"])
    said.append(
        f"The scale is largest in block {top['block']}: {top['patches']['mean']:.2g} on average "
        f"over the patches, of which it moves {top['patches']['moved']:.0f} %."
    )
    return said


def _idle(rows: Sequence[Mapping[str, Any]]) -> str:
    """Which blocks leave almost all patches as they are."""
    idle = [100 - row["patches"]["moved"] for row in rows]
    what = "no patch" if min(idle) == 100 else "almost no patch"
    shares = _and(sorted({f"{share:.0f}" for share in idle}))
    blocks, verb, whose = _blocks([row["block"] for row in rows], "moves", "move")
    return f"{blocks} {verb} {what}: {whose} scale is 0 on {shares} % of them."


def _changes(facts: Mapping[str, Any]) -> list[str]:
    rows, said = facts["changes"], []
    still = [row["block"] for row in rows if row["own"] < SMALL]
    if len(still) == len(rows):
        said.append("No block does anything but what the frozen backbone does.")
    elif still:
        blocks, does, _ = _blocks(still, "does", "do")
        said.append(f"{blocks} {does} as the frozen backbone does (less than 1 % is new).")
    if len(still) < len(rows):
        top = max(rows, key=lambda row: row["own"])
        said.append(
            f"The adapter changes most in block {top['block']}: {100 * top['own']:.0f} % of what "
            "the frozen block would add to the same tokens."
        )
    if facts["entry"] >= SMALL:
        said.append(
            f"Before the first block the patches are {100 * facts['entry']:.0f} % away from those "
            "of the frozen backbone: what makes them has changed (BatchNorm's statistics, too)."
        )
    said.append(
        f"After the last block they are {100 * rows[-1]['apart']:.0f} % away from the frozen "
        "backbone's."
    )
    return said


def _blocks(numbers: Sequence[int], one: str, many: str) -> tuple[str, str, str]:
    """Blocks as a subject, with its verb and the word for what is theirs."""
    if len(numbers) == 1:
        return f"Block {numbers[0]}", one, "its"
    return f"Blocks {_and([str(k) for k in numbers])}", many, "their"


def _and(words: Sequence[str], last: str = "and") -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


def is_missed(row: Mapping[str, Any]) -> bool:
    """Whether the score is surely lower than the model's as it is."""
    return row["change"] < -max(ERRORS * (row["error"] or 0.0), POINT if row["error"] else 0.0)


def is_idle(row: Mapping[str, Any]) -> bool:
    """Whether the score is as good as the model's as it is."""
    return row["change"] >= (0.0 if row["error"] is None else -POINT)


def _prompts(facts: Mapping[str, Any]) -> list[str]:
    rows = facts["prompts"]
    if not rows:
        return []
    none, text = rows[0], _text(facts)
    both = f"{text(none)} without any, {_whole(facts)} with all {rows[-1]['prompts']}"
    if is_idle(none):
        return [f"The prompts show no use here: {both}."]
    if not is_missed(none):
        return [f"Too few clouds to tell what the prompts are worth: {both}."]
    enough = next(row for row in rows if is_idle(row))
    if enough is rows[-1]:
        return [f"The prompts are used, all of them: {both}."]
    return [f"The prompts are used: {both}; the newest {enough['prompts']} are enough."]


def _inputs(facts: Mapping[str, Any]) -> list[str]:
    rows = facts["inputs"]
    if len(rows) < 2:
        return []
    text, top = _text(facts), best(rows, "alone")
    worst = min(rows, key=lambda row: row["without"]["score"])
    said = [f"Of the head's inputs {top['input']} does best alone: {text(top['alone'])}, "
            f"{_whole(facts)} with all."]  # fmt: skip
    if is_missed(worst["without"]):
        without = text(worst["without"])
        said.append(f"{worst['input']} is missed most: {without} without it.")
    else:
        said.append("No input alone is surely missed.")
    idle = useless(rows)
    if idle:
        said.append(
            f"The score does not fall where {_and(idle, 'or')} is taken away"
            + (", one at a time." if len(idle) > 1 else ".")
        )
    return [" ".join(said)]


def useless(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Inputs of the head without which the score is no worse."""
    return [row["input"] for row in rows if is_idle(row["without"])]


def _text(facts: Mapping[str, Any]) -> Any:
    unit = facts["score"]["unit"]
    return lambda row: f"{row['score']:.1f} {unit}".strip()


def _whole(facts: Mapping[str, Any]) -> str:
    return _text(facts)({"score": facts["score"]["value"]})


_WORTH = (_prompts, _inputs)


def _features(facts: Mapping[str, Any]) -> list[str]:
    f = facts["features"]
    if "agree" not in f:
        return []
    ours, bare = f["agree"]["adapter"], f["agree"]["bare"]
    more = "more than" if ours > bare + 1 else "less than" if ours < bare - 1 else "as"
    said = [
        f"{ours:.0f} % of the clouds have one of their own class as nearest neighbour, {more} in "
        f"the frozen backbone's features ({bare:.0f} %)."
    ]
    score = facts["score"]["value"]
    if ours > score + NEIGHBOURS:
        said.append(
            f"That is more than the {_whole(facts)} that are predicted rightly: the features tell "
            "more than the head makes of them, or some clouds are nearly the same."
        )
    if f.get("errors"):
        said.append(
            f"{f['errors']} of {f['known']} clouds are predicted wrongly; {f['lost']} of these lie "
            "next to a cloud of the class that they are taken for."
        )
    return said


def next_steps(config: InspectConfig, facts: Mapping[str, Any], method: Method,
               about: Mapping[str, Any]) -> list[tuple[str, str]]:  # fmt: skip
    """Commands (why, command) to go on with."""
    steps, trained = [], training_config(dict(about))
    trained = None if trained is None else replace(trained, resume=False)
    options = method.when_idle()
    if trained is not None and options and len(idle_blocks(facts)) * 3 >= len(facts["scales"]) > 0:
        keys = {option.partition("=")[0] for option in options}
        kept = [o for o in trained.options if o.partition("=")[0] not in keys]
        again = replace(trained, options=(*kept, *options), out=_beside(trained.out, "scale"))
        steps.append(("Many blocks are idle; train again with a scale that moves every token",
                      invocation("train", again)))  # fmt: skip
    idle = useless(facts["inputs"]) if says_something(facts) else []
    idle.sort(key={row["input"]: -row["without"]["score"] for row in facts["inputs"]}.__getitem__)
    head = tuple(row["input"] for row in facts["inputs"] if row["input"] != (idle or [""])[0])
    if trained is not None and idle and head:
        again = replace(trained, head=head, out=_beside(trained.out, "head"))
        steps.append((f"The head does not need {idle[0]} here; train again without it",
                      invocation("train", again)))  # fmt: skip
    if facts["features"].get("errors") and not config.paths:
        page = command_line("pointadapt evaluate --adapter", config.adapter)
        steps.append(("See the clouds that are predicted wrongly", f"{page} --html report.html"))
    elif config.paths:
        steps.append(("See what each file is taken for", command_line(
            "pointadapt predict", *config.paths, "--adapter", config.adapter)))  # fmt: skip
    return steps


def _beside(out: Path, word: str) -> Path:
    return out.with_name(f"{out.name}-{word}")
