# Names the open reading frames that end where a known gene ends, and draws where those genes lie.
#   sort -n orfs/*.tsv | awk -v size=48502 -f genes.awk genes.csv -
BEGIN { FS = "[,\t]" }
FILENAME != "-" {
    if (FNR > 1) { name[($4 == "+" ? $3 : $2) $4] = $1; product[($4 == "+" ? $3 : $2) $4] = $5; known++ }
    next
}
{
    n++
    key = ($3 == "+" ? $2 : $1) $3
    if (key in name) {
        found++
        for (column = int($1 / size * 70); column <= int($2 / size * 70) && column < 70; column++) mark[$3 column] = 1
    }
    line[n] = sprintf("%7d %7d  %s %6d", $1, $2, $3, $4)
    if (key in name) line[n] = line[n] sprintf("  %-6s %s", name[key], product[key])
}
END {
    printf "%d open reading frames of %d codons or more; %d of %d known genes are among them\n\n", n, codons, found, known
    for (row = 0; row < 2; row++) {
        strand = row ? "-" : "+"
        text = ""
        for (column = 0; column < 70; column++) text = text ((strand column) in mark ? (row ? "<" : ">") : ".")
        printf "  %s strand %s\n", row ? "reverse" : "forward", text
    }
    print "\n  start     end  strand codons gene   product"
    for (i = 1; i <= n; i++) print line[i]
}
