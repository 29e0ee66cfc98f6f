# Cuts a linear genome with one restriction enzyme: the lengths of the fragments, from left to right.
#   awk -v name=EcoRI -v site=GAATTC -v cut=1 -f digest.awk genome.seq
{
    last = 0
    from = 1
    while (at = index(substr($0, from), site)) {
        place = from + at - 2 + cut
        printf "%s\t%d\t%d\t%d\n", name, last + 1, place, place - last
        last = place
        from += at
    }
    printf "%s\t%d\t%d\t%d\n", name, last + 1, length($0), length($0) - last
}
