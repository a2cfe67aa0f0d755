#!/usr/bin/env bash
# Draws standard input as a terminal window in SVG: ./dev run 2>&1 | docs/terminal-svg.sh './dev run' >docs/first-light.svg
set -euo pipefail
awk -v title="${1:-terminal}" '
    function escaped(text) { gsub(/&/, "\\&amp;", text); gsub(/</, "\\&lt;", text); gsub(/>/, "\\&gt;", text); return text }
    { line[NR] = $0; if (length($0) > widest) widest = length($0) }
    END {
        width = 40 + widest * 8.4; height = 62 + NR * 19
        printf "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\">\n", width, height, width, height
        printf "<rect width=\"100%%\" height=\"100%%\" rx=\"8\" fill=\"#16181d\"/>\n"
        printf "<g fill=\"#3a3f4b\"><circle cx=\"18\" cy=\"17\" r=\"5\"/><circle cx=\"36\" cy=\"17\" r=\"5\"/><circle cx=\"54\" cy=\"17\" r=\"5\"/></g>\n"
        printf "<g font-family=\"DejaVu Sans Mono, Menlo, Consolas, monospace\" font-size=\"14\" xml:space=\"preserve\">\n"
        printf "<text x=\"20\" y=\"50\" fill=\"#8fd18f\">$ %s</text>\n", escaped(title)
        for (i = 1; i <= NR; ++i) {
            colour = line[i] ~ /^==/ ? "#e6c07b" : line[i] ~ /^Every byte/ ? "#8fd18f" : line[i] ~ /^  / ? "#aeb6c4" : "#e8eaf0"
            printf "<text x=\"20\" y=\"%d\" fill=\"%s\">%s</text>\n", 50 + i * 19, colour, escaped(line[i])
        }
        printf "</g>\n</svg>\n"
    }'
