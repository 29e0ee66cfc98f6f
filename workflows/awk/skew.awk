# Draws GC content and cumulative GC skew along the genome, from windows sorted by start.
#   sort -n composition/*.tsv | awk -f skew.awk
{
    n++
    start[n] = $1; bases += $2; gc += $4 + $5
    size[n] = $2; strong[n] = $4 + $5
    content[n] = 100 * ($4 + $5) / $2
    sum += $5 - $4
    skew[n] = sum
}
function draw(title, values, rows,    i, r, lo, hi, line, row) {
    lo = hi = values[1]
    for (i = 1; i <= n; i++) { if (values[i] < lo) lo = values[i]; if (values[i] > hi) hi = values[i] }
    print title
    for (r = rows; r >= 1; r--) {
        line = ""
        for (i = 1; i <= n; i++) {
            row = 1 + int((values[i] - lo) / (hi - lo) * (rows - 1) + 0.5)
            line = line (row == r ? "*" : row > r ? "." : " ")
        }
        sub(/ +$/, "", line)
        printf "%7.0f |%s\n", lo + (hi - lo) * (r - 1) / (rows - 1), line
    }
    line = ""
    for (i = 1; i <= n; i++) line = line (i % 10 == 1 ? "+" : "-")
    printf "        +%s\n         ", line
    for (i = 1; i <= n; i += 10) printf "%-10s", sprintf("%.0fk", start[i] / 1000)
    print "\n"
}
END {
    printf "%d bases, %.2f %% G+C\n\n", bases, 100 * gc / bases
    draw("GC content of each window, percent", content, 10)
    draw("Cumulative GC skew: G minus C, summed from the left end", skew, 12)
    for (i = 1; i <= n; i++) { half = i <= n / 2 ? 1 : 2; of[half] += size[i]; strong_of[half] += strong[i] }
    printf "Left half: %.2f %% G+C, right half: %.2f %%.\n", 100 * strong_of[1] / of[1], 100 * strong_of[2] / of[2]
}
