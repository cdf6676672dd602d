"""Tables of the results page that no page of results prints itself."""

from __future__ import annotations

from collections.abc import Sequence

Rows = Sequence[dict[str, str]]


def comparison(rows: Rows) -> str:
    """One line per method of a comparison: return before adaptation and after each step of it.

    Args:
        rows: Of `comparison.csv`; a line per method and step.
    """
    steps = sorted({int(row["k"]) for row in rows})
    head = [
        "method",
        "seeds",
        "unseen tasks",
        "counts",
        *map(str, steps),
        "95 % interval of the last",
    ]
    lines = [head, ["---", "---:", "---:", "---", *(["---:"] * (len(steps) + 1))]]
    for name in dict.fromkeys(row["method"] for row in rows):
        own = {int(row["k"]): row for row in rows if row["method"] == name}
        last = own[max(own)]
        returns = [f"{float(own[k]['return_mean']):.2f}" if k in own else "" for k in steps]
        low, high = (float(last[f"return_mean_{side}"]) for side in ("low", "high"))
        counts = last["k_counts"]
        facts = [f"`{name}`", last["num_seeds"], last["num_tasks"], counts]
        lines.append([*facts, *returns, f"{low:.2f} to {high:.2f}"])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def bandits(rows: Rows) -> str:
    """One line per bandit: what RL² earns beside what is known."""
    head = "| pulls | arms | core | RL² | 95 % interval | Thompson | UCB1 | Gittins | published |"
    lines = [head, "|---:|---:|---|---:|---:|---:|---:|---:|---:|"]
    for row in rows:
        mean, low, high, thompson, ucb1, gittins = (
            float(row[name])
            for name in (
                *("return_mean", "return_mean_low", "return_mean_high"),
                *("thompson", "ucb1", "gittins"),
            )
        )
        lines.append(
            f"| {row['pulls']} | {row['arms']} | `{row['core']}` | {mean:.2f} "
            f"| {low:.2f} to {high:.2f} | {thompson:.2f} | {ucb1:.2f} | {gittins:.2f} "
            f"| {row['published']} |"
        )
    return "\n".join(lines)


def minigrid(rows: Rows) -> str:
    """One line per id and episode of a trial, means over seeds."""
    head = "| id | learner | episode | seeds | tasks | return | explorer | success | random |"
    lines = [head, "|---|---|---:|---:|---:|---:|---:|---:|---:|"]
    for key in dict.fromkeys((row["env_id"], row["learner"], row["episode"]) for row in rows):
        own = [row for row in rows if (row["env_id"], row["learner"], row["episode"]) == key]

        def mean(name: str, own: Rows = own) -> str:
            values = [float(row[name]) for row in own if row[name]]
            return f"{sum(values) / len(values):.3f}" if values else ""

        lines.append(
            f"| {key[0]} | `{key[1]}` | {key[2]} | {len(own)} | {own[0]['num_tasks']} "
            f"| {mean('return')} | {mean('explorer')} | {mean('success')} | {mean('random')} |"
        )
    return "\n".join(lines)
