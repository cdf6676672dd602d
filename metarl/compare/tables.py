"""A comparison as a table for readers (`comparison.md`) and for programs (`comparison.csv`)."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from io import StringIO
from typing import Any

from metarl.compare.results import Compared
from metarl.evaluate.measures import Measure
from metarl.evaluate.references import or_dash
from metarl.stats import normalised_score

Row = dict[str, Any]
MARK = "**"


def rows(compared: Compared) -> list[Row]:
    """Rows for every method and k, flat, with plain numbers."""
    of = compared.measure
    return [row(summary, k, of) for summary in compared.methods for k in summary["steps"]]


def row(summary: dict[str, Any], k: int, of: Measure) -> Row:
    """The numbers of a method at one k."""
    versus, scores = summary["above_reference"], summary.get("normalised_score")
    name, last = of.name, k == summary["steps"][-1]
    tail = f"percentile{of.percentile}"
    return {
        "method": summary["method"],
        "num_seeds": summary["num_seeds"],
        "num_tasks": summary["num_tasks"],
        "k": k,
        "k_counts": summary["axis"],
        of.column: summary["experience"][k],
        f"{name}_mean": summary[f"{name}_mean"][k],
        **_ends(f"{name}_mean", summary[f"{name}_mean_ci95"][k]),
        f"{name}_iqm": summary[f"{name}_iqm"][k],
        **_ends(f"{name}_iqm", summary[f"{name}_iqm_ci95"][k]),
        "success_rate": summary["success_rate"][k] if "success_rate" in summary else None,
        "percent_improved": summary["percent_improved"][k],
        tail: summary[tail][k],
        "length_mean": summary["length_mean"][k] if "length_mean" in summary else None,
        "length_ratio": summary["length_ratio"][k] if "length_ratio" in summary else None,
        "normalised_score": scores[k] if scores else None,
        **_difference("above_start", summary["above_start"][k] if k else None),
        **_difference("above_reference", versus[k] if versus else None),
        **_difference("better_than_reference", summary["better_than_reference"] if last else None),
        of.counter: summary[of.counter],
        "cpu_seconds": summary["cpu_seconds"],
    }


def as_csv(compared: Compared) -> bytes:
    """Table of all rows, and of one for each method that failed."""
    failed = [{"method": method, "num_seeds": 0} for method in compared.failed_methods]
    found = rows(compared)
    return csv_of(list(found[0]), [*found, *failed])


def as_markdown(compared: Compared, title: str) -> str:
    """The methods at the end of adaptation, best first, and then step by step."""
    of = compared.measure
    last = [row(summary, summary["steps"][-1], of) for summary in compared.methods]
    last.sort(key=lambda r: -of.sign * r[f"{of.name}_mean"])
    split = "" if compared.split is None else f", of the split {compared.split}"
    tasks = f"{last[0]['num_tasks']}{split}"
    lines = [
        f"# {title}",
        "",
        f"Unseen tasks: {tasks}, the same for all. {scale(compared)}".rstrip(),
        "",
        "## At the end of adaptation",
        "",
        *table(last, compared, compared.failed_methods),
        "",
        *notes(compared),
        "",
        "## Step by step",
        "",
        *table(rows(compared), compared),
    ]
    return "\n".join(lines) + "\n"


def scale(compared: Compared) -> str:
    """The ends of the normalised score, in words."""
    if len(compared.anchors) < 2:
        unknown = "What is to be earned at worst and at best is not known: there is no score."
        return unknown if compared.measure.episodic else ""
    (floor, low), (oracle, high) = compared.anchors.items()
    if normalised_score(low, low, high) is None:
        return f"{floor.capitalize()} and {oracle} earn the same, {low:.3g}: there is no score."
    return f"{floor.capitalize()}: {low:.3g} (score 0), {oracle}: {high:.3g} (score 1)."


def table(found: Sequence[Row], compared: Compared, failed: Sequence[str] = ()) -> list[str]:
    """Markdown; methods that failed have a row that says so, at the end."""
    columns = columns_of(compared)
    heads = [head for head, _ in columns]
    lines = [f"| {' | '.join(heads)} |", f"|---|{'---:|' * (len(heads) - 1)}"]
    lines += [f"| {' | '.join(cell(r) for _, cell in columns)} |" for r in found]
    for method in failed:
        cells = [method, "failed", *["–"] * (len(heads) - 2)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


Column = tuple[str, Callable[[Row], str]]


def columns_of(compared: Compared) -> list[Column]:
    """Columns of the table: their heads, and what makes their cells of a row."""
    of, reference = compared.measure, compared.reference
    tail, digits = f"percentile{of.percentile}", of.digits

    def number(name: str, form: str) -> Callable[[Row], str]:
        return lambda r: or_dash(r[name], form)

    def ends(name: str, sign: str = "", digits: int = of.digits) -> Callable[[Row], str]:
        return lambda r: interval(r, name, sign, digits)

    episodes: list[Column] = [
        ("success", number("success_rate", ".0%")),
        ("length", number("length_mean", ".1f")),
    ]
    score: list[Column] = [("score", number("normalised_score", ".2f"))]
    versus: list[Column] = [
        (f"above {reference}", ends("above_reference", "+")),
        (f"better than {reference}", ends("better_than_reference", digits=2)),
    ]
    return [
        ("method", lambda r: str(r["method"])),
        ("seeds", lambda r: str(r["num_seeds"])),
        ("k", lambda r: str(r["k"])),
        (of.experience, lambda r: str(r[of.column])),
        (f"{of.name} [95 %]", ends(f"{of.name}_mean")),
        ("IQM [95 %]", ends(f"{of.name}_iqm")),
        (f"P{of.percentile}", number(tail, f".{digits}f")),
        *(episodes if of.episodic else ()),
        ("improved", lambda r: or_dash(r["percent_improved"] / 100 if r["k"] else None, ".0%")),
        *(score if of.episodic else ()),
        ("above k = 0", ends("above_start", "+")),
        *(versus if reference is not None else ()),
        (of.learned_from, number(of.counter, ",.0f")),
        ("CPU s", number("cpu_seconds", ",.0f")),
    ]


def notes(compared: Compared) -> list[str]:
    """Notes below a table: what its columns are, and what is not in them."""
    of, versus, chance = compared.measure, "", ""
    if compared.reference is not None:
        versus = f", and with the {of.name} of {compared.reference} at its last k"
        chance = (
            f" *Better than {compared.reference}*: how likely a run does better on a task than one "
            f"of {compared.reference}; 0.5 where neither is better."
        )
    improved = "higher" if of.higher_is_better else "lower"
    found = [
        f"k counts {of.looks}; *{of.experience}* is "
        "the experience on the task behind it. IQM: interquartile mean over tasks and seeds. "
        f"*P{of.percentile}*: {of.percentile}th percentile of the tasks, and *improved*: tasks with"
        f" {'an' if of.name[0] in 'ae' else 'a'} {of.name} that is {improved} than at k = 0, both "
        "of their means over the seeds."
        + (" *Length*: steps until success or end." if of.episodic else "")
        + (f" *Score*: 0 is {compared.floor}, 1 the {compared.best}." if compared.floor else ""),
        f"Differences are paired by task, with the method's own {of.name} at k = 0{versus}; "
        f"{MARK}bold{MARK} where the interval excludes 0.{chance} All intervals are 95 % bootstraps"
        " over tasks and seeds, not corrected for the number of comparisons; with a few seeds they "
        f"are too narrow. {of.learned_from.capitalize()} and CPU seconds are means over the seeds.",
    ]
    if any(summary["num_tasks"] < 2 for summary in compared.methods):
        found.append("No intervals: one task is no sample of tasks.")
    if compared.missing:
        found.append(f"Not there: {', '.join(compared.missing)}.")
    if compared.failures:
        failed = "; ".join(f"{name}: {why}" for name, why in compared.failures.items())
        found.append(f"Failed: {failed}.")
    return "\n\n".join(found).split("\n")


def interval(found: Row, name: str, sign: str = "", digits: int = 2) -> str:
    """An estimate with its interval, bold where it is marked; a dash where there is none."""
    if found[name] is None:
        return "–"
    low, high = found[f"{name}_low"], found[f"{name}_high"]
    ends = "–" if low is None else f"{low:.{digits}f}, {high:.{digits}f}"
    text = f"{found[name]:{sign}.{digits}f} [{ends}]"
    return f"{MARK}{text}{MARK}" if found.get(f"{name}_marked") else text


def _ends(name: str, ends: Sequence[float] | None) -> Row:
    low, high = ends or (None, None)
    return {f"{name}_low": low, f"{name}_high": high}


def _difference(name: str, found: dict[str, Any] | None) -> Row:
    values = found or dict.fromkeys(("estimate", "low", "high", "marked"))
    names = {"estimate": name, **{part: f"{name}_{part}" for part in ("low", "high", "marked")}}
    return {names[part]: value for part, value in values.items()}


def csv_of(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    """A table for programs; what a row lacks is empty."""
    text = StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
