# A map of the peaks in letters: beta to the right, gamma downwards; then the figures.
#   awk -f heatmap.awk peaks.tsv
{
    if (!($1 in seen_beta)) { seen_beta[$1]; beta[++betas] = $1 }
    if (!($2 in seen_gamma)) { seen_gamma[$2]; gamma[++gammas] = $2 }
    peak[$1, $2] = $3; day[$1, $2] = $4; size[$1, $2] = $5
}
END {
    print "Largest share of people infected at once, percent\n"
    head = "gamma \\ beta"
    for (b = 1; b <= betas; b++) head = head sprintf("%7s", beta[b])
    print head
    for (g = 1; g <= gammas; g++) {
        line = sprintf("%12s", gamma[g])
        for (b = 1; b <= betas; b++) line = line sprintf("%7.1f", 100 * peak[beta[b], gamma[g]])
        print line
    }
    print "\nThe same as a map ('.' under 1, ':' 10, '+' 25, '*' 40, '#' above)\n"
    for (g = 1; g <= gammas; g++) {
        line = sprintf("%12s  ", gamma[g])
        for (b = 1; b <= betas; b++) {
            p = 100 * peak[beta[b], gamma[g]]
            sign = p < 1 ? "." : p < 10 ? ":" : p < 25 ? "+" : p < 40 ? "*" : "#"
            line = line sign sign sign sign
        }
        print line
    }
    print "\n  beta  gamma  beta/gamma  peak %  on day  infected in all %"
    for (b = 1; b <= betas; b++) for (g = 1; g <= gammas; g++) {
        at = beta[b] SUBSEP gamma[g]
        printf "%6s %6s %11.1f %7.1f %7d %18.1f\n", beta[b], gamma[g], beta[b] / gamma[g], 100 * peak[at], day[at], 100 * size[at]
    }
}
