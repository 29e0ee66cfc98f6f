# Draws peaks.tsv as a map and the curves beside it, as SVG.
#   awk -v days=160 -f plot.awk peaks.tsv curves/*.tsv
function color(share,    cold, warm) {
    # From pale yellow over orange to dark red.
    cold = share < 0.5 ? share * 2 : 1
    warm = share < 0.5 ? 0 : (share - 0.5) * 2
    return sprintf("rgb(%d,%d,%d)", 255 - 105 * warm, 245 - 120 * cold - 105 * warm, 205 - 165 * cold - 20 * warm)
}
FILENAME ~ /peaks\.tsv$/ {
    if (!($1 in beta)) { beta[$1] = betas++; beta_name[betas] = $1 }
    if (!($2 in gamma)) { gamma[$2] = gammas++; gamma_name[gammas] = $2 }
    peak[$1, $2] = $3
    next
}
FNR == 1 { curves++; of[curves] = peak[$1, $2] }
{ points[curves] = points[curves] sprintf("%.1f,%.1f ", 560 + $3 / days * 400, 350 - $4 * 300) }
END {
    print "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1000\" height=\"420\" font-family=\"sans-serif\" font-size=\"12\">"
    print "<rect width=\"1000\" height=\"420\" fill=\"white\"/>"
    print "<text x=\"60\" y=\"30\" font-size=\"15\">Largest share infected at once</text>"
    print "<text x=\"560\" y=\"30\" font-size=\"15\">Infected over time</text>"
    width = 420 / betas; height = 300 / gammas
    for (b = 1; b <= betas; b++) for (g = 1; g <= gammas; g++) {
        share = peak[beta_name[b], gamma_name[g]]
        x = 60 + (b - 1) * width; y = 50 + (g - 1) * height
        printf "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\"/>\n", x, y, width - 2, height - 2, color(share)
        printf "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%.0f %%</text>\n", x + width / 2, y + height / 2 + 4, 100 * share
    }
    for (b = 1; b <= betas; b++) printf "<text x=\"%.1f\" y=\"366\" text-anchor=\"middle\">%s</text>\n", 60 + (b - 0.5) * width, beta_name[b]
    for (g = 1; g <= gammas; g++) printf "<text x=\"52\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n", 54 + (g - 0.5) * height, gamma_name[g]
    print "<text x=\"270\" y=\"390\" text-anchor=\"middle\">infection rate beta, per day</text>"
    print "<text x=\"16\" y=\"200\" text-anchor=\"middle\" transform=\"rotate(-90 16 200)\">recovery rate gamma, per day</text>"
    for (c = 1; c <= curves; c++) printf "<polyline fill=\"none\" stroke=\"%s\" points=\"%s\"/>\n", color(0.2 + 0.8 * of[c]), points[c]
    print "<path d=\"M560 50 V350 H960\" fill=\"none\" stroke=\"black\"/>"
    for (t = 0; t <= 4; t++) {
        printf "<text x=\"552\" y=\"%.1f\" text-anchor=\"end\">%d %%</text>\n", 354 - t * 75, t * 25
        printf "<text x=\"%.1f\" y=\"366\" text-anchor=\"middle\">%d</text>\n", 560 + t * 100, t * days / 4
    }
    print "<text x=\"760\" y=\"390\" text-anchor=\"middle\">day</text>"
    print "</svg>"
}
