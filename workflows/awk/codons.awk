# Counts codons over open reading frames: a table of 64, per thousand.
#   cat orfs/*.tsv | awk -f codons.awk
{
    for (at = 1; at + 2 <= length($5); at += 3) { count[substr($5, at, 3)]++; total++ }
}
END {
    split("T C A G", base, " ")
    split("F F L L S S S S Y Y * * C C * W L L L L P P P P H H Q Q R R R R I I I M T T T T N N K K S S R R V V V V A A A A D D E E G G G G", acid, " ")
    printf "%d codons; amino acid, codon, per thousand\n\n", total
    for (first = 1; first <= 4; first++) {
        for (third = 1; third <= 4; third++) {
            text = ""
            for (second = 1; second <= 4; second++) {
                codon = base[first] base[second] base[third]
                text = text sprintf("   %s %s %6.1f", acid[(first - 1) * 16 + (second - 1) * 4 + third], codon, 1000 * count[codon] / total)
            }
            print text
        }
        print ""
    }
}
