# Reports on a merged VCF and the depth of its samples: counts, who shares what, where the variants lie.
#   awk -f variants.awk variants.vcf depth/*.tsv
BEGIN { FS = "\t" }
/^##/ { next }
/^#CHROM/ {
    samples = NF - 9
    for (s = 1; s <= samples; s++) sample[s] = $(s + 9)
    next
}
FILENAME ~ /\.vcf$/ {
    n++
    kind = $8 ~ /^INDEL/ ? "indels" : "substitutions"
    place[n] = $2
    carriers = 0
    for (s = 1; s <= samples; s++) {
        if ($(s + 9) ~ /^[1-9]/) { carriers++; count[s, kind]++ }
    }
    sharing[carriers]++
    if (carriers < samples && listed < 10) {
        names = ""
        for (s = 1; s <= samples; s++) if ($(s + 9) ~ /^[1-9]/) names = names " " sample[s]
        ref = length($4) > 12 ? substr($4, 1, 9) "..." : $4
        alt = length($5) > 12 ? substr($5, 1, 9) "..." : $5
        row[++listed] = sprintf("%7d  %-12s %-12s %6.1f %s", $2, ref, alt, $6, names)
    }
    next
}
{
    depth[$1] += $3; bases[$1]++
    if ($2 > size) size = $2
    column = int($2 / 700)
    along[column] += $3
}
END {
    printf "%d variants in %d samples\n\n", n, samples
    print "sample  mean depth  substitutions  indels"
    for (s = 1; s <= samples; s++) {
        name = sample[s]
        printf "%-7s %10.1f %14d %7d\n", name, bases[name] ? depth[name] / bases[name] : 0, count[s, "substitutions"], count[s, "indels"]
    }
    print ""
    for (k = samples; k >= 1; k--) printf "in %d of %d samples: %d\n", k, samples, sharing[k]
    print "\nvariants along the genome, in windows of 700 bp\n"
    for (i = 1; i <= n; i++) { column = int(place[i] / 700); here[column]++; if (here[column] > most) most = here[column] }
    for (r = most; r >= 1; r--) {
        line = ""
        for (column = 0; column <= int(size / 700); column++) line = line (here[column] >= r ? "#" : " ")
        sub(/ +$/, "", line)
        printf "%3d |%s\n", r, line
    }
    line = ""
    for (column = 0; column <= int(size / 700); column++) line = line (column % 10 == 0 ? "+" : "-")
    printf "    +%s\n     ", line
    line = ""
    for (column = 0; column <= int(size / 700); column += 10) line = line sprintf("%-10s", sprintf("%dk", column * 0.7))
    sub(/ +$/, "", line)
    print line
    print "\nthe first that not every sample shows\n\n  place  reference    instead   quality  in"
    for (i = 1; i <= listed; i++) print row[i]
}
