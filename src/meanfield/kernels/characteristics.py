r"""Compiled characteristics: tabulated features of all nodes, drift and risk of weighted atoms, adaptive integration.

The drift of an atom at the norm r is a sum over nodes of :math:`F_q'(r)`, the risk one of means of
:math:`F_q(r)`; see `meanfield.limits.potentials`. The features of all nodes are tabulated together, as one polynomial
of degree five per interval in the compressed norm :math:`x = r/(r + b)`: an atom finds its interval once and then
reads the coefficients of all nodes in a row, values and derivatives from the same six. Nodes come in blocks of
`LANES`, innermost, so that loops over them compile to vector code; sums over atoms keep their order, and no sum is
reassociated, hence the bits do not depend on the vector width.

The integrator is the embedded Runge-Kutta pair 5(4) of Dormand & Prince (1980, *J. Comput. Appl. Math.* 6, 19-26)
with its continuous extension of order four (Hairer, Norsett & Wanner 1993, *Solving Ordinary Differential Equations
I*, section II.6), so that records choose no steps. Its definition in plain numpy is
`meanfield.kernels.reference.dormand_prince`; tests compare the two.
"""

import numba as nb
import numpy as np

LANES = 16

_L = np.uintp(LANES)
_L2, _L3, _L4, _L5 = np.uintp(2 * LANES), np.uintp(3 * LANES), np.uintp(4 * LANES), np.uintp(5 * LANES)

# What `integrate` returns.
FINISHED = 0
OUTGROWN = 1  # a norm left the table
NOT_FINITE = 2
STALLED = 3  # the error asks for steps below rounding

# The tableau: row n holds the weights of the stages before stage n + 1; the last row is the solution of order five.
STAGES = np.array(
    [
        [1 / 5, 0, 0, 0, 0, 0],
        [3 / 40, 9 / 40, 0, 0, 0, 0],
        [44 / 45, -56 / 15, 32 / 9, 0, 0, 0],
        [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729, 0, 0],
        [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656, 0],
        [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84],
    ]
)
# Fifth order minus fourth, and the fourth-order term of the continuous extension.
ERROR = np.array([71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40])
DENSE = np.array(
    [
        -12715105075 / 11282082432,
        0,
        87487479700 / 32700410799,
        -10690763975 / 1880347072,
        701980252875 / 199316789632,
        -1453857185 / 822651844,
        69997945 / 29380423,
    ]
)


@nb.njit(cache=True, nogil=True, fastmath={"contract"})
def evaluate(rows, bend, width, at, value, slope):
    """Fill value and derivative of one tabulated function, shape (point,), for at >= 0.

    Parameters
    ----------
    rows : array, shape (interval, 6)
        Coefficients of each interval, lowest degree first, in units of the interval.
    bend, width : float
        b of the compressed argument x = s/(s + b), and the width of an interval in x [1].
    at : array, shape (point,)
        Arguments [1]; the last interval serves beyond the table's end too.
    value, slope : array, shape (point,)
        Overwritten [1].

    """
    last = rows.shape[0] - 1
    for n in range(at.size):
        s = at[n]
        inverse = 1 / (s + bend)
        x = s * inverse / width
        i = np.uintp(x if x < last else last)  # what is not a number fails the comparison and stays one in t
        t = x - i
        c = rows[i]
        v = c[5] * t + c[4]
        d = c[5] * t + v
        v = v * t + c[3]
        d = d * t + v
        v = v * t + c[2]
        d = d * t + v
        v = v * t + c[1]
        d = d * t + v
        value[n] = v * t + c[0]
        slope[n] = d * (bend * inverse * inverse / width)


@nb.njit(nogil=True, fastmath={"contract"})
def _locate(r, intervals, bend, width, index, place, gain):
    # Interval of each atom, place in it, and twice the derivative of that place in the norm. Norms below zero count
    # as zero; what is not a number fails both comparisons and stays one in `place`.
    per = 1 / width
    last = intervals - 1
    for j in range(r.size):
        s = 0.0 if r[j] < 0 else r[j]
        inverse = 1 / (s + bend)
        x = s * inverse * per
        i = np.int32(x if x < last else last)
        index[j] = i
        place[j] = x - i
        gain[j] = 2 * bend * per * (inverse * inverse)


@nb.njit(nogil=True, fastmath={"contract"})
def _read(index, place, mass, rows, block, slopes, prediction):
    # Derivatives of the features of one block of nodes for each atom, shape (atom, LANES), and their means.
    prediction[:] = 0
    for j in range(index.size):
        t, m = place[j], mass[j]
        c, f = rows[index[j], block], slopes[j]
        for q in range(_L):
            v = c[q + _L5] * t + c[q + _L4]
            d = c[q + _L5] * t + v
            v = v * t + c[q + _L3]
            d = d * t + v
            v = v * t + c[q + _L2]
            d = d * t + v
            v = v * t + c[q + _L]
            f[q] = d * t + v
            prediction[q] += m * (v * t + c[q])


@nb.njit(nogil=True, fastmath={"contract"})
def _add_drift(slopes, error, out):
    # out[j] += sum_q slopes[j, q] error[q]; four atoms at a time, as one sum would wait for itself.
    atoms = np.uintp(out.size)
    whole = atoms // np.uintp(4) * np.uintp(4)
    for j in range(np.uintp(0), whole, np.uintp(4)):
        f = slopes[j : j + np.uintp(4)]
        a = b = c = d = 0.0
        for q in range(_L):
            a += f[0, q] * error[q]
            b += f[1, q] * error[q]
            c += f[2, q] * error[q]
            d += f[3, q] * error[q]
        out[j] += a
        out[j + np.uintp(1)] += b
        out[j + np.uintp(2)] += c
        out[j + np.uintp(3)] += d
    for j in range(whole, atoms):
        a = 0.0
        for q in range(_L):
            a += slopes[j, q] * error[q]
        out[j] += a


@nb.njit(nogil=True, fastmath={"contract"})
def _scratch(atoms):
    # index, place, gain and slopes of `_drift`
    return np.empty(atoms, np.int32), np.empty(atoms), np.empty(atoms), np.empty((atoms, LANES))


@nb.njit(nogil=True, fastmath={"contract"})
def _drift(r, mass, table, scratch, out):
    # Drift of each atom per unit of the clock into `out`; returns the risk.
    rows, bend, width, targets, residual = table
    index, place, gain, slopes = scratch
    _locate(r, rows.shape[0], bend, width, index, place, gain)
    mean, error = np.empty(LANES), np.empty(LANES)
    risk = residual
    out[:] = 0
    for b in range(rows.shape[1]):
        _read(index, place, mass, rows, b, slopes, mean)
        for q in range(LANES):
            e = targets[b, q] - mean[q]
            error[q] = e
            risk += e * e
        _add_drift(slopes, error, out)
    for j in range(r.size):
        out[j] *= gain[j]
    return risk


@nb.njit(cache=True, nogil=True, fastmath={"contract"})
def drift(r, mass, table, out):
    """Fill the drift of each atom per unit of the clock, shape (atom,) [1], and return the risk [1].

    Parameters
    ----------
    r, mass : array, shape (atom,)
        Norm and mass of each atom [1]; norms below zero count as zero.
    table : tuple
        rows, shape (interval, block, 6 LANES): coefficients of all features in each interval of r/(r + b), lowest
        degree first; b and the width of an interval [1]; targets, shape (block, LANES), of the features' means [1];
        the risk left when all means meet their targets [1].
    out : array, shape (atom,)
        Overwritten.

    """
    return _drift(r, mass, table, _scratch(r.size), out)


@nb.njit(nogil=True, fastmath={"contract"})
def _combine(base, h, weights, stages, count, out):
    # out = base + h sum_n weights[n] stages[n]; the sum runs over the first `count` stages.
    out[:] = weights[0] * stages[0]
    for n in range(1, count):
        w, k = weights[n], stages[n]
        if w != 0:
            for j in range(out.size):
                out[j] += w * k[j]
    for j in range(out.size):
        out[j] = base[j] + h * out[j]


@nb.njit(cache=True, nogil=True, fastmath={"contract"})
def integrate(radius, mass, clock, first, now, step, tolerance, largest, table, records, risks):
    """Move atoms along characteristics from `now` until every record is filled, or as far as possible.

    Parameters
    ----------
    radius : array, shape (atom,)
        Norms at `now` [1]; on return those at the returned time.
    mass : array, shape (atom,)
        Masses, which sum to one [1].
    clock : array, shape (record,)
        Increasing clock of the records [1].
    first : int
        Records before this one are filled already.
    now, step : float
        Clock of `radius`, and the size of the first step to try; 0 to choose one [1].
    tolerance : float
        Local error per step in the mean-square norm of the law, relative to its root mean square norm.
    largest : float
        Norms up to here are in the table [1].
    table : tuple
        See `drift`.
    records, risks : array, shape (record, atom) and (record,)
        Norms [1] and population risk [1] at the records; filled from `first` on.

    Returns
    -------
    status, first, now, step, evaluations
        `FINISHED`, or why not: `OUTGROWN` (go on from here with a larger table), `NOT_FINITE` or `STALLED`; the first
        record not filled; the clock of `radius`; the next step size; evaluations of the right-hand side.

    """
    atoms = radius.size
    scratch = _scratch(atoms)
    stages = np.empty((7, atoms))
    point, work = np.empty(atoms), np.empty(atoms)
    risk = _drift(radius, mass, table, scratch, stages[0])
    evaluations = 1
    while first < clock.size and clock[first] <= now:
        records[first] = radius
        risks[first] = risk
        first += 1
    if step == 0:
        step = 1e-3 * radius.max() / max(np.abs(stages[0]).max(), 1e-9)
    while first < clock.size:
        for n in range(6):
            _combine(radius, step, STAGES[n], stages, n + 1, point)
            risk = _drift(point, mass, table, scratch, stages[n + 1])
        evaluations += 6
        # An atom that rests at zero has the error of its clipped solutions, or resting would cost small steps. One that
        # arrives there has its full error: it bounds the time of arrival, which the records in between show.
        _combine(point, -step, ERROR, stages, 7, work)
        error, size = 0.0, 0.0
        for j in range(atoms):
            new = max(point[j], 0.0)
            gap = point[j] - work[j] if radius[j] > 0 else new - max(work[j], 0.0)
            error += mass[j] * (gap * gap)
            size += mass[j] * (new * new)
        error = np.sqrt(error) / (tolerance * max(np.sqrt(size), 0.1))
        if not np.isfinite(error):
            return NOT_FINITE, first, now, step, evaluations
        if error <= 1:
            if point.max() > largest:
                return OUTGROWN, first, now, step, evaluations
            end = now + step
            if clock[first] <= end:
                evaluations += _fill(
                    radius, point, mass, clock, first, now, step, table, stages, scratch, work, records, risks
                )
                while first < clock.size and clock[first] <= end:
                    first += 1
            now = end
            for j in range(atoms):
                radius[j] = max(point[j], 0.0)
            stages[0] = stages[6]  # the last stage sits at the new point
        step *= min(5.0, max(0.2, 0.9 * max(error, 1e-10) ** -0.2))
        if error > 1 and now + step == now:
            return STALLED, first, now, step, evaluations
    return FINISHED, first, now, step, evaluations


@nb.njit(nogil=True, fastmath={"contract"})
def _fill(radius, point, mass, clock, first, now, step, table, stages, scratch, work, records, risks):
    # Fill the records within the step from `radius` to `point`; returns how many there were.
    end = now + step
    fourth = np.empty(radius.size)
    _combine(np.zeros(radius.size), step, DENSE, stages, 7, fourth)
    count = 0
    for n in range(first, clock.size):
        if clock[n] > end:
            break
        a = (clock[n] - now) / step
        for j in range(radius.size):
            gap = point[j] - radius[j]
            bend_left = step * stages[0, j] - gap
            bend_right = gap - step * stages[6, j] - bend_left
            records[n, j] = max(
                radius[j] + a * (gap + (1 - a) * (bend_left + a * (bend_right + (1 - a) * fourth[j]))), 0.0
            )
        risks[n] = _drift(records[n], mass, table, scratch, work)
        count += 1
    return count
