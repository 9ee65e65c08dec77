"""Ratios of what was measured, whether all did the same work, and the table that says both."""

import statistics

# Losses, and moments of samples, may differ by so much: other random numbers, on which training depends.
TOLERANCE = 0.1
# Costs of exact assignments of the same points, relatively: nothing but rounding.
ROUNDING = 1e-5


def spread(values):
    """Median, smallest and largest; None of nothing."""
    if not values:
        return None
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "rounds": len(values)}


def ratios(ours, theirs):
    """windfield ÷ peer, round by round; both are {round: rate}."""
    return spread([ours[turn] / theirs[turn] for turn in sorted(ours.keys() & theirs.keys())])


def agreement(values, tolerance=TOLERANCE):
    """{name: loss} as {name: whether it is near the median of all}. With one alone there is nothing to agree with."""
    middle = statistics.median(values.values()) if values else 0.0
    return {name: abs(value - middle) <= tolerance * abs(middle) for name, value in values.items()}


def digest(results):
    """Adds spreads, ratios and agreement to what was measured, in place."""
    for row in results["training"] + results["sampling"] + results["coupling"]:
        entries = row["contenders"]
        ours = entries.get("windfield", {}).get("rates", {})
        for name, entry in entries.items():
            entry["rate"] = spread(list(entry["rates"].values()))
            entry["ratio"] = None if name == "windfield" else ratios(ours, entry["rates"])
        if "data" in row:
            for entry in entries.values():
                if "moments" in entry:
                    entry["agrees"] = all(abs(a - b) <= TOLERANCE for a, b in zip(entry["moments"], row["data"]))
        else:
            near = agreement({name: entry["loss"] for name, entry in entries.items() if "loss" in entry})
            costs = {name: entry["cost"] for name, entry in entries.items() if "cost" in entry}
            near |= agreement(costs, ROUNDING)
            for name, agrees in near.items():
                entries[name]["agrees"] = agrees


def disagreeing(results):
    """(shape, name) of all who did not do the same work."""
    rows = results["training"] + results["sampling"] + results["coupling"]
    return [
        (row["shape"], name)
        for row in rows
        for name, entry in row["contenders"].items()
        if entry.get("agrees") is False
    ]


def number(value):
    """Three digits, and no exponent."""
    if value >= 100:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.3g}" if value >= 0.01 else f"{value:.4f}"


def spelled(figure):
    if figure is None:
        return "–"
    median, least, most = (number(figure[name]) for name in ("median", "min", "max"))
    return median if figure["rounds"] == 1 else f"{median} ({least} to {most})"


def size(row):
    """The shape of a row, without the network that assignments have not."""
    return row["shape"].replace(":1x1:", ":")


def table(head, rows):
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def markdown(results):
    """The report, in Markdown."""
    about, missing = results["about"], results["missing"]
    everyone = [name for name in about if name not in missing]
    # Each table has those that take part in it.
    of = lambda rows: [name for name in everyone if any(name in row["contenders"] for row in rows)]
    names = of(results["training"] + results["sampling"])
    machine = results["machine"]
    others = spread(results["others"])
    disturbed = ""
    if others:
        share = f"{others['median']:.0%} of the processor (at most {others['max']:.0%})"
        disturbed = f" Meanwhile other programs used {share}."
    parts = [
        f"# windfield and its peers: {results['device']}, {results['date']}",
        f"{machine['cpu']}, {machine['cores']} cores, of which {results['threads']} are used"
        + (f"; {machine['gpu']}" if machine["gpu"] else "")
        + f"; {machine['system']}. Up to {results['rounds']} rounds of about {number(results['seconds'])} s each."
        + disturbed,
        "\n".join(f"- **{name}**: {about[name]}; {results['versions'][name]}" for name in everyone),
    ]
    if missing:
        parts.append("Not measured:")
        parts.append("\n".join(f"- **{name}** ({about[name]}): {reason}" for name, reason in missing.items()))

    def columns(row, field, wanted):
        entries = row["contenders"]
        return [spelled(entries[name][field]) if name in entries else "–" for name in wanted]

    for what, unit in (("training", "steps"), ("sampling", "samples"), ("coupling", "assignments")):
        rows = results[what]
        if not rows:
            continue
        each = of(rows)
        peers = [name for name in each if name != "windfield"]
        if peers:
            parts.append(f"## {what.capitalize()}: windfield ÷ peer")
            parts.append("Above 1, windfield is faster. Median of the rounds' ratios (smallest to largest).")
            parts.append(table(["shape", *peers], [[size(row), *columns(row, "ratio", peers)] for row in rows]))
        parts.append(f"{unit.capitalize()} a second:")
        parts.append(table(["shape", *each], [[size(row), *columns(row, "rate", each)] for row in rows]))

    parts.append("## The same work")

    def shown(row, field, spell):
        cells = []
        for name in names:
            entry = row["contenders"].get(name, {})
            said = spell(entry[field]) if field in entry else "–"
            cells.append(said if entry.get("agrees", True) else f"**{said} ≠**")
        return cells

    rows = []
    for row in results["training"]:
        steps, last = row["steps"], row["last"]
        rows.append([f"{row['shape']}, steps {steps - last + 1} to {steps}", *shown(row, "loss", number)])
    if rows:
        parts.append(f"Mean loss, from fresh weights; further than {TOLERANCE:.0%} from the median of all is marked.")
        parts.append(table(["shape", *names], rows))
    moments = lambda pair: " / ".join(f"{value:.2f}" for value in pair)
    rows = [[row["shape"], moments(row["data"]), *shown(row, "moments", moments)] for row in results["sampling"]]
    if rows:
        parts.append(
            "Deviation and mean product of the first two coordinates, of the data and of samples after 1000 steps of "
            f"training; further than {TOLERANCE} from the data's is marked. Noise has 1.00 / 0.00."
        )
        parts.append(table(["shape", "data", *names], rows))
    if results["coupling"]:
        names = of(results["coupling"])
        rows = [[size(row), *shown(row, "cost", lambda cost: f"{cost:.6g}")] for row in results["coupling"]]
        parts.append(
            "Mean squared distance of the best pairs of the same points; further than rounding from the median of all is "
            "marked."
        )
        parts.append(table(["dimension:points", *names], rows))
    failures = [
        f"- {size(row)}, **{name}**: {entry['failed']}"
        for row in results["training"] + results["sampling"] + results["coupling"]
        for name, entry in row["contenders"].items()
        if "failed" in entry
    ]
    if failures:
        parts.append("What did not work:")
        parts.append("\n".join(failures))
    return "\n\n".join(parts) + "\n"
