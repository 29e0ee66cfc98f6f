# Lists the open reading frames of one frame: start, end (1-based, on the forward strand), strand, codons, sequence.
# A frame is open from the first ATG, GTG or TTG after a stop to the next stop.
#   awk -v strand=forward -v frame=1 -v codons=100 -f orfs.awk genome.seq
BEGIN {
    complement["A"] = "T"; complement["C"] = "G"; complement["G"] = "C"; complement["T"] = "A"
    starts["ATG"]; starts["GTG"]; starts["TTG"]
    stops["TAA"]; stops["TAG"]; stops["TGA"]
}
function turned(text,    i, out) {
    for (i = length(text); i > 0; i--) out = out complement[substr(text, i, 1)]
    return out
}
{
    size = length($0)
    # Pieces are joined once: a text that grows base by base would be copied every time.
    if (strand == "reverse") {
        text = ""
        for (at = size; at > 0; at -= 500) text = text turned(substr($0, at > 500 ? at - 499 : 1, at > 500 ? 500 : at))
    } else text = $0
    open = 0
    for (at = frame; at + 2 <= size; at += 3) {
        codon = substr(text, at, 3)
        if (!open && codon in starts) open = at
        else if (open && codon in stops) {
            if ((at - open) / 3 >= codons) {
                from = strand == "reverse" ? size - (at + 2) + 1 : open
                to = strand == "reverse" ? size - open + 1 : at + 2
                printf "%d\t%d\t%s\t%d\t%s\n", from, to, strand == "reverse" ? "-" : "+", (at - open) / 3, substr(text, open, at - open)
            }
            open = 0
        }
    }
}
