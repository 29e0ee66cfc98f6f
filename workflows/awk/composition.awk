# Counts bases in windows of a genome: start, length, A, C, G, T. Does one part of the windows of `parts`.
#   awk -v part=1 -v parts=10 -v window=700 -f composition.awk genome.seq
{
    windows = int((length($0) + window - 1) / window)
    for (w = int((part - 1) * windows / parts); w < int(part * windows / parts); w++) {
        piece = substr($0, w * window + 1, window)
        # gsub returns how many it replaced: a count, faster than looking at every base.
        a = gsub(/A/, "A", piece); c = gsub(/C/, "C", piece); g = gsub(/G/, "G", piece); t = gsub(/T/, "T", piece)
        printf "%d\t%d\t%d\t%d\t%d\t%d\n", w * window + 1, length(piece), a, c, g, t
    }
}
