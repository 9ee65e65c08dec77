#!/usr/bin/env python3
"""Makes Inter-*.ttf from the full fonts.

    npm pack inter-ui@4.1.1 && tar xzf inter-ui-4.1.1.tgz
    pip install fonttools brotli
    python3 subset.py package/web
"""

import sys
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont, newTable
from fontTools.ttLib.tables._k_e_r_n import KernTable_format_0

SIGNS = "\u2009\u202f‐‑‒–—‘’“”•…′⁰⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿ₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎€←↑→↓∂∅∆∏∑−√∞∫≈≠≤≥⊗‖"
CHARACTERS = [*range(0x20, 0x7F), *range(0xA0, 0x180), *range(0x391, 0x3D6), *map(ord, SIGNS)]
KERNED = [*range(0x21, 0x7F), *map(ord, "−’–")]


def pair_kerning(font, glyphs):
    """The horizontal kerning between `glyphs` as GPOS has it: {(left, right): units}."""
    table = font["GPOS"].table
    features = [r.Feature for r in table.FeatureList.FeatureRecord if r.FeatureTag == "kern"]
    kerning = {}
    for index in sorted({i for f in features for i in f.LookupListIndex}):
        done = set()  # the first subtable of a lookup that covers a pair decides

        def keep(left, right, value):
            if (left, right) not in done:
                done.add((left, right))
                kerning[left, right] = getattr(value, "XAdvance", 0) or 0

        for sub in table.LookupList.Lookup[index].SubTable:
            sub = sub.ExtSubTable if sub.LookupType == 9 else sub
            if sub.LookupType != 2:
                continue
            for row, left in enumerate(sub.Coverage.glyphs):
                if left not in glyphs:
                    continue
                if sub.Format == 1:
                    for record in sub.PairSet[row].PairValueRecord:
                        if record.SecondGlyph in glyphs:
                            keep(left, record.SecondGlyph, record.Value1)
                else:
                    classes = sub.Class1Record[sub.ClassDef1.classDefs.get(left, 0)].Class2Record
                    for right in sorted(glyphs):
                        keep(left, right, classes[sub.ClassDef2.classDefs.get(right, 0)].Value1)
    return kerning


def main(folder):
    for style in ("Regular", "SemiBold"):
        font = TTFont(folder / f"Inter-{style}.woff2")
        font.flavor = None
        options = subset.Options()
        options.layout_features = ["kern"]
        options.hinting = False
        options.notdef_outline = True
        options.name_IDs = [0, 1, 2, 3, 4, 5, 6, 13, 14]
        options.drop_tables += ["STAT", "GDEF", "meta", "DSIG"]
        subsetter = subset.Subsetter(options)
        subsetter.populate(unicodes=CHARACTERS)
        subsetter.subset(font)

        names = font.getBestCmap()
        kerning = pair_kerning(font, {names[c] for c in KERNED if c in names})
        least = font["head"].unitsPerEm * 0.008
        table = KernTable_format_0(apple=False)
        table.version, table.coverage, table.format, table.length, table.tupleIndex = 0, 1, 0, 0, None
        table.kernTable = {pair: units for pair, units in kerning.items() if abs(units) >= least}
        for tag in ("GPOS", "GSUB"):
            if tag in font:
                del font[tag]
        font["kern"] = newTable("kern")
        font["kern"].version = 0
        font["kern"].kernTables = [table]
        font["head"].modified = font["head"].created
        font.recalcTimestamp = False
        out = Path(__file__).parent / f"Inter-{style}.ttf"
        font.save(out)
        print(out, out.stat().st_size, "bytes,", len(table.kernTable), "kerned pairs")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
