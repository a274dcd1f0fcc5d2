"""Turns measured rows into a page: what each operation took, and how this project stands beside the best peer."""
import statistics

# By which factor this project is to be ahead of the best peer, by operation and corpus.
GOALS = {
    "full": {"src": 1.6, "mix": 1.2, "many": 1.3},
    "nochange": {"src": 1.5, "many": 1.5},
    "incr": {"src": 1.5, "mix": 2.0, "many": 1.5},
    "restore": {"src": 1.5, "mix": 1.5, "many": 1.5},
    "check": {"src": 1.5, "mix": 1.25, "many": 1.5},
    "dirty": {"many": 10.0},
}

# Beside restic, on a full backup.
RESTIC_GOAL = 2.3

# A peer that is in no package registry stands in by its ratio to restic, both measured on one machine (November 2026).
VYKAR_TO_RESTIC = {
    "full": {"src": 4.2 / 6.2, "mix": 6.8 / 10.0, "many": 9.1 / 13.8},
    "nochange": {"src": 1.1 / 2.8, "mix": 0.13 / 0.70, "many": 5.0 / 8.8},
    "incr": {"src": 1.3 / 2.9, "mix": 1.2 / 2.4, "many": 5.1 / 8.7},
    "restore": {"src": 4.9 / 6.3, "mix": 2.7 / 5.8, "many": 7.7 / 20.0},
    "check": {"src": 1.5 / 2.8, "mix": 2.3 / 3.5, "many": 3.5 / 7.0},
}
PEAK_MB_MAX = 150
OPERATIONS = ["full", "nochange", "incr", "dirty", "restore", "check"]
TOOLS = ["backupd", "restic", "rustic", "borg", "bupstash"]


def report(rows, machine, versions):
    """Returns the page."""
    good = [row for row in rows if row["code"] == 0]
    corpora = list(dict.fromkeys(row["corpus"] for row in rows))
    lines = ["# Measured", "", f"{machine}. " + "; ".join(f"{name}: {text}" for name, text in versions.items()) + ".", "",
             "Wall seconds, medians of the runs; in brackets the lowest and highest. `vykar` is restic's time in the same",
             "cell times a ratio that was measured once elsewhere. `ahead` is how many times faster than the best peer.", ""]
    for corpus in corpora:
        lines += ratios(good, corpus)
    lines += ["## All that was measured", "",
              "| corpus | operation | tool | runs | seconds | CPU s | peak MB | repository MB | other CPU s | verified |",
              "|---|---|---|---|---|---|---|---|---|---|"]
    for corpus in corpora:
        for operation in OPERATIONS:
            for tool in TOOLS:
                found = cell(good, corpus, operation, tool)
                if found:
                    lines.append(f"| {corpus} | {operation} | {tool} | {len(found)} | {spread(found)} | {median(found, 'cpu'):.2f} | "
                                 f"{median(found, 'peak_mb'):.0f} | {median(found, 'repository_mb'):.0f} | "
                                 f"{median(found, 'other_cpu'):.1f} | {verified(found)} |")
    failed = [row for row in rows if row["code"]]
    lines += [""] + [f"Failed: {row['tool']} {row['operation']} on {row['corpus']}: {row['error']}" for row in failed]
    return "\n".join(lines) + "\n"


def ratios(rows, corpus):
    lines = [f"## {corpus}", "", "| operation | backupd | restic | rustic | borg | bupstash | vykar | ahead of the best | goal |"
             " | ahead of restic |", "|---|---|---|---|---|---|---|---|---|---|---|"]
    for operation in OPERATIONS:
        times = {tool: median(cell(rows, corpus, operation, tool), "wall") for tool in TOOLS}
        ours, restic = times.pop("backupd"), times["restic"]
        if operation == "dirty":
            # No peer can be told what changed: it is beside the same small change in a full scan.
            times = {tool: median(cell(rows, corpus, "incr", tool), "wall") for tool in TOOLS[1:]}
        if restic and corpus in VYKAR_TO_RESTIC.get(operation, {}):
            times["vykar"] = restic * VYKAR_TO_RESTIC[operation][corpus]
        if ours is None:
            continue
        best = min((time for time in times.values() if time), default=None)
        goal = GOALS.get(operation, {}).get(corpus)
        beside_restic = restic / ours if restic else None
        word = "" if beside_restic is None or operation != "full" else (" met" if beside_restic >= RESTIC_GOAL else " not met")
        ahead = best / ours if best else None
        met = "" if goal is None or ahead is None else ("met" if ahead >= goal else "not met")
        words = [f"{times[tool]:.2f}" if times.get(tool) else "" for tool in [*TOOLS[1:], "vykar"]]
        lines.append(f"| {operation} | **{ours:.2f}** | " + " | ".join(words) + f" | {factor(ahead)} | {factor(goal)} | {met} | "
                     f"{factor(beside_restic)}{word} |")
    sizes = {tool: median(cell(rows, corpus, "full", tool), "repository_mb") for tool in ("backupd", "restic")}
    if all(sizes.values()):
        lines += ["", f"Repository: {sizes['backupd'] / sizes['restic'] * 100 - 100:+.1f} % beside restic's (goal: at most +3 %)."]
    peak = max((row["peak_mb"] for row in rows if (row["corpus"], row["tool"]) == (corpus, "backupd")), default=0)
    lines += ["", f"Peak of the daemon and its command: {peak:.0f} MB (goal: under {PEAK_MB_MAX}). A full backup is to be"
              f" {RESTIC_GOAL}× ahead of restic."]
    return lines + [""]


def cell(rows, corpus, operation, tool):
    return [row for row in rows if (row["corpus"], row["operation"], row["tool"]) == (corpus, operation, tool)]


def median(rows, field):
    return statistics.median(row[field] for row in rows) if rows else None


def spread(rows):
    walls = [row["wall"] for row in rows]
    return f"{statistics.median(walls):.2f} ({min(walls):.2f}–{max(walls):.2f})"


def verified(rows):
    seen = [row["verified"] for row in rows if "verified" in row]
    return "" if not seen else ("yes" if all(seen) else "NO")


def factor(number):
    return "" if number is None else f"{number:.2f}×"
