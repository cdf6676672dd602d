"""A comparison as a table for readers (`comparison.md`) and for programs (`comparison.csv`)."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from typing import Any

from metarl.compare.results import Compared
from metarl.stats import normalised_score

Row = dict[str, Any]
MARK = "**"


def rows(compared: Compared) -> list[Row]:
    """Rows for every method and k, flat, with plain numbers."""
    return [row(summary, k) for summary in compared.methods for k in summary["steps"]]


def row(summary: dict[str, Any], k: int) -> Row:
    """The numbers of a method at one k."""
    versus, scores = summary["above_reference"], summary.get("normalised_score")
    return {
        "method": summary["method"],
        "num_seeds": summary["num_seeds"],
        "num_tasks": summary["num_tasks"],
        "k": k,
        "k_counts": summary["axis"],
        "episodes_of_experience": summary["experience"][k],
        "return_mean": summary["return_mean"][k],
        **_ends("return_mean", summary["return_mean_ci95"][k]),
        "return_iqm": summary["return_iqm"][k],
        **_ends("return_iqm", summary["return_iqm_ci95"][k]),
        "success_rate": summary["success_rate"][k] if "success_rate" in summary else None,
        "percent_improved": summary["percent_improved"][k],
        "percentile20": summary["percentile20"][k],
        "length_mean": summary["length_mean"][k],
        "length_ratio": summary["length_ratio"][k],
        "normalised_score": scores[k] if scores else None,
        **_difference("above_start", summary["above_start"][k] if k else None),
        **_difference("above_reference", versus[k] if versus else None),
        "env_steps": summary["env_steps"],
        "cpu_seconds": summary["cpu_seconds"],
    }


def as_csv(compared: Compared) -> bytes:
    """Table of all rows, and of one for each method that failed."""
    failed = [{"method": method, "num_seeds": 0} for method in compared.failed_methods]
    found = rows(compared)
    return csv_of(list(found[0]), [*found, *failed])


def as_markdown(compared: Compared, title: str) -> str:
    """The methods at the end of adaptation, best first, and then step by step."""
    last = [row(summary, summary["steps"][-1]) for summary in compared.methods]
    last.sort(key=lambda r: -r["return_mean"])
    lines = [
        f"# {title}",
        "",
        f"Unseen tasks: {last[0]['num_tasks']}, the same for all. {scale(compared)}",
        "",
        "## At the end of adaptation",
        "",
        *table(last, compared.reference, compared.failed_methods),
        "",
        *notes(compared),
        "",
        "## Step by step",
        "",
        *table(rows(compared), compared.reference),
    ]
    return "\n".join(lines) + "\n"


def scale(compared: Compared) -> str:
    """The ends of the normalised score, in words."""
    if len(compared.anchors) < 2:
        return "What is to be earned at worst and at best is not known: there is no score."
    (floor, low), (oracle, high) = compared.anchors.items()
    if normalised_score(low, low, high) is None:
        return f"{floor.capitalize()} and {oracle} earn the same, {low:.3g}: there is no score."
    return f"{floor.capitalize()}: {low:.3g} (score 0), {oracle}: {high:.3g} (score 1)."


def table(found: Sequence[Row], reference: str | None, failed: Sequence[str] = ()) -> list[str]:
    """Markdown; methods that failed have a row that says so, at the end."""
    heads = [
        *("method", "seeds", "k", "episodes seen", "return [95 %]", "IQM [95 %]", "P20"),
        *("success", "length", "improved", "score", "above k = 0"),
        *([] if reference is None else [f"above {reference}"]),
        *("training steps", "CPU s"),
    ]
    lines = [f"| {' | '.join(heads)} |", f"|---|{'---:|' * (len(heads) - 1)}"]
    for r in found:
        cells = [
            r["method"],
            str(r["num_seeds"]),
            str(r["k"]),
            str(r["episodes_of_experience"]),
            interval(r, "return_mean"),
            interval(r, "return_iqm"),
            _number(r["percentile20"], ".2f"),
            _number(r["success_rate"], ".0%"),
            _number(r["length_mean"], ".1f"),
            _number(r["percent_improved"] / 100 if r["k"] else None, ".0%"),
            _number(r["normalised_score"], ".2f"),
            interval(r, "above_start", "+"),
            *([] if reference is None else [interval(r, "above_reference", "+")]),
            _number(r["env_steps"], ",.0f"),
            _number(r["cpu_seconds"], ",.0f"),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    for method in failed:
        cells = [method, "failed", *["–"] * (len(heads) - 2)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def notes(compared: Compared) -> list[str]:
    """Notes below a table: what its columns are, and what is not in them."""
    versus = ""
    if compared.reference is not None:
        versus = f", and with the return of {compared.reference} at its last k"
    found = [
        "k counts steps of adaptation: gradient steps, or episodes of a trial; *episodes seen* is "
        "the experience on the task behind it. IQM: interquartile mean over tasks and seeds. "
        "*P20*: 20th percentile of the tasks, and *improved*: tasks with a higher return than at "
        "k = 0, both of their means over the seeds. *Length*: steps until success or end."
        + (f" *Score*: 0 is {compared.floor}, 1 the oracle." if compared.floor else ""),
        f"Differences are paired by task, with the method's own return at k = 0{versus}; "
        f"{MARK}bold{MARK} where the interval excludes 0. All intervals are 95 % bootstraps over "
        "tasks and seeds, not corrected for the number of comparisons; with a few seeds they are "
        "too narrow. Training steps and CPU seconds are means over the seeds.",
    ]
    if any(summary["num_tasks"] < 2 for summary in compared.methods):
        found.append("No intervals: one task is no sample of tasks.")
    if compared.missing:
        found.append(f"Not there: {', '.join(compared.missing)}.")
    if compared.failures:
        failed = "; ".join(f"{name}: {why}" for name, why in compared.failures.items())
        found.append(f"Failed: {failed}.")
    return "\n\n".join(found).split("\n")


def interval(found: Row, name: str, sign: str = "") -> str:
    """An estimate with its interval, bold where it is marked; a dash where there is none."""
    if found[name] is None:
        return "–"
    low, high = found[f"{name}_low"], found[f"{name}_high"]
    ends = "–" if low is None else f"{low:.2f}, {high:.2f}"
    text = f"{found[name]:{sign}.2f} [{ends}]"
    return f"{MARK}{text}{MARK}" if found.get(f"{name}_marked") else text


def _ends(name: str, ends: Sequence[float] | None) -> Row:
    low, high = ends or (None, None)
    return {f"{name}_low": low, f"{name}_high": high}


def _difference(name: str, found: dict[str, Any] | None) -> Row:
    values = found or dict.fromkeys(("estimate", "low", "high", "marked"))
    names = {"estimate": name, **{part: f"{name}_{part}" for part in ("low", "high", "marked")}}
    return {names[part]: value for part, value in values.items()}


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def csv_of(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    """A table for programs; what a row lacks is empty."""
    text = StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
