"""What an ablation found, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from recsys.evaluation.ablation import HARMS, HELPS, NOTHING_SHOWN, Overlap, Worth
from recsys.evaluation.wording import fixed, p_value

REMOVAL = "its removal"


def sentence(
    worth: Worth, metric: str, alpha: float, what: str = REMOVAL, who: str = "it", one_seed: bool = False
) -> str:
    """Return the verdict in words: what is lost, how sure that is, with how many seeds, and so whether it helps.

    Args:
        worth: of the component.
        metric: that was compared.
        alpha: the verdict says nothing where the adjusted p is not below it.
        what: what was done to it.
        who: ``"together they"`` for several at once.
        one_seed: only one was asked for, so that nothing is known of how far seeds differ.
    """
    verdict = worth.verdict(alpha)
    seeds = ", one seed" if one_seed else ""
    if worth.loss == worth.low == worth.high == 0:
        return f"{worth.name}: {what} changes nobody's {metric}{seeds}: {verdict}"
    p = p_value(worth.p_holm)
    sure = f"p {p if p.startswith('<') else '= ' + p} after Holm{seeds}"
    if verdict == NOTHING_SHOWN:
        gain, low, high = (fixed(0.0 - end, sign=True) for end in (worth.loss, worth.high, worth.low))
        change = f"{what} changes {metric} by {gain} ({low} to {high})"
        return f"{worth.name}: {change}, {sure}: {verdict}"
    size, low, high = _size(worth)
    verb = "loses" if verdict == HELPS else "gains"
    change = f"{what} {verb} {fixed(size)} {metric} ({fixed(low)} to {fixed(high)})"
    said = f"{who} {verdict if who == 'it' else verdict.removesuffix('s')}"
    return f"{worth.name}: {change}, {sure}{_agreeing(worth)}: {said}"


def _agreeing(worth: Worth) -> str:
    """Say with how many of several seeds the loss has the sign of the mean."""
    same, n = sum(value * worth.loss > 0 for value in worth.by_seed), len(worth.by_seed)
    if n < 2:
        return ""
    return f", with {'each' if same == n else f'only {same}'} of {n} seeds"


def _size(worth: Worth) -> tuple[float, float, float]:
    """Return size and ends of a loss, or of a gain, as numbers that read upwards."""
    return (worth.loss, worth.low, worth.high) if worth.loss > 0 else (-worth.loss, -worth.high, -worth.low)


def overlap_sentence(one: Overlap, metric: str, alpha: float) -> str:
    """Return in words whether two components cover for each other."""
    told = f"{fixed(one.more, sign=True)} {metric} ({fixed(one.low, sign=True)} to {fixed(one.high, sign=True)})"
    said = "no interaction shown"
    if one.p_holm < alpha:
        said = "either covers for the other" if one.more > 0 else "each is worth less without the other"
    return f"{one.first} and {one.second}: both at once lose {told} beyond the sum of the two: {said}"


def headline(worths_of: Sequence[Worth], alpha: float, pairs: Mapping[Worth, tuple[str, str]] | None = None) -> str:
    """Return the finding in one sentence.

    Args:
        worths_of: of the components.
        alpha: of the verdicts.
        pairs: worth of two at once, and the two; named where neither shows that effect by itself.
    """
    by: dict[str, list[str]] = {verdict: [] for verdict in (HELPS, HARMS, NOTHING_SHOWN)}
    for one in sorted(worths_of, key=lambda one: -one.loss):
        by[one.verdict(alpha)].append(one.name)
    parts = [f"{_listed(by[HELPS])} {'helps' if len(by[HELPS]) == 1 else 'help'}"] if by[HELPS] else []
    parts += [f"{_listed(by[HARMS])} {'harms' if len(by[HARMS]) == 1 else 'harm'}"] if by[HARMS] else []
    parts += [f"no effect is shown of {_listed(by[NOTHING_SHOWN])}"] if by[NOTHING_SHOWN] else []
    for worth, names in (pairs or {}).items():
        verdict = worth.verdict(alpha)
        if verdict != NOTHING_SHOWN and not set(names) & set(by[verdict]):
            parts.append(f"together {_listed(names)} {verdict.removesuffix('s')}")
    return "; ".join(parts)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
