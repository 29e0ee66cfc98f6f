# Draws an agarose gel: a lane per enzyme, bands by the logarithm of their length, as they would run.
#   cat digest/*.tsv | awk -f gel.awk
{
    if (!($1 in lane)) { lane[$1] = ++lanes; title[lanes] = $1 }
    row = int((log(50000) - log($4)) / (log(50000) - log(100)) * 26 + 0.5)
    if (row > 26) row = 26
    band[lane[$1], row]++
    fragments[lanes]++
    lengths[lanes] = lengths[lanes] " " $4
}
END {
    line = "    bp  "
    for (l = 1; l <= lanes; l++) line = line sprintf("%-8s", title[l])
    print line
    for (row = 0; row <= 26; row++) {
        line = sprintf("%6d |", exp(log(50000) - row / 26 * (log(50000) - log(100))))
        for (l = 1; l <= lanes; l++) line = line sprintf(" %-7s", (band[l, row] > 1 ? "######" : band[l, row] ? "------" : ""))
        sub(/ +$/, "", line)
        print line
    }
    print "\nFragments, in bp, from left to right:\n"
    for (l = 1; l <= lanes; l++) printf "  %-8s %2d:%s\n", title[l], fragments[l], lengths[l]
}
