# Integrates the SIR equations with the classical Runge-Kutta method: beta, gamma, day, infected, recovered (shares of all).
#   awk -v beta=0.4 -v gamma=0.1 -v days=160 -v step=0.05 -f sir.awk
function ds(s, i) { return -beta * s * i }
function di(s, i) { return beta * s * i - gamma * i }
BEGIN {
    s = 0.999; i = 0.001
    per_day = int(1 / step + 0.5)
    for (day = 0; day <= days; day++) {
        printf "%s\t%s\t%d\t%.6f\t%.6f\n", beta, gamma, day, i, 1 - s - i
        for (k = 0; k < per_day; k++) {
            s1 = ds(s, i); i1 = di(s, i)
            s2 = ds(s + step / 2 * s1, i + step / 2 * i1); i2 = di(s + step / 2 * s1, i + step / 2 * i1)
            s3 = ds(s + step / 2 * s2, i + step / 2 * i2); i3 = di(s + step / 2 * s2, i + step / 2 * i2)
            s4 = ds(s + step * s3, i + step * i3); i4 = di(s + step * s3, i + step * i3)
            s += step / 6 * (s1 + 2 * s2 + 2 * s3 + s4)
            i += step / 6 * (i1 + 2 * i2 + 2 * i3 + i4)
        }
    }
}
