r"""Compiled lanes of `meanfield.kernels.landscape`: many trajectories on a potential of the plane, side by side.

The loop over time is outside, the loops over `LANES` trajectories are inside, state stays in small arrays, and
exponentials are a branch-free polynomial, so that every inner loop compiles to vector code; the gradient, where the
time goes, is written in explicit vectors (`meanfield.kernels.lanes`). Each lane is computed by itself and no sum is
reassociated: a trajectory's bits do not depend on its neighbours.
"""

import math

import numba as nb
import numpy as np

from meanfield.kernels import lanes
from meanfield.kernels.exponentials import EXP2, LN_2, LOG2_E, exp2_pair, exp2_vectors
from meanfield.kernels.streams import _normal_pair

LANES = 64

# How a trajectory ended.
RUNNING = 0
CONVERGED = 1
LEFT_DOMAIN = 2

# What the noise is for: independent streams under one key.
STEP_NOISE = 0
INNER_NOISE = 1
COUPLED_NOISE = 2

# Where the gradient comes from.
PLAIN, LOCAL_ENTROPY, INNER_LANGEVIN, HOPF_LAX = range(4)

# How the gradient is used, and how momentum grows with the iterations since the last restart.
DESCENT, HEAVY_BALL, NESTEROV = range(3)
CONSTANT, RATIONAL, THETA = range(3)
NO_RESTART, FUNCTION, GRADIENT = range(3)

_MASK = np.uint64(0xFFFFFFFF)
_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_32 = np.uint64(32)

# Below this sum of weights the quadrature of the local entropy is redone in the log domain.
_TINY = 1e-250


# -- lanes: potential, normals --------------------------------------------------------------------------------------


@nb.njit(nogil=True)
def _copy(source, target):
    # Spelt out, because slice assignment brings numba's checks of shapes and their messages, and compiles slowly.
    for i in range(LANES):
        target[i] = source[i]


@nb.njit(nogil=True)
def _copy_all(source, target):
    for i in range(source.size):
        target[i] = source[i]


@nb.njit(nogil=True)
def _set(target, value):
    for i in range(LANES):
        target[i] = value


@nb.njit(nogil=True)
def _gradient_space(count):
    # What the gradient of `count` terms needs: half the exponents' derivatives in x and y, the exponents, `EXP2`.
    size = count * LANES
    return np.empty(size), np.empty(size), np.empty(size), np.array(EXP2)


@nb.njit(nogil=True, forceinline=True)
def _gradient(x, y, terms, gx, gy, space):
    # Rows of `terms`: x0, y0, log2(e) (a, b/2, c), 2 ln 2 A, A; an even number of them. Exponents first, then what is
    # made of them: a processor that looks a hundred instructions ahead finds enough independent ones in each pass, and
    # too few in the long chain of both. Wide registers are enough of them for exponentials and sums in one pass (a
    # seventh faster); others would be spilt (a third slower), and the exponentials have a pass of their own. Each way
    # the same bits.
    s, v, e, coefficients = space
    width = lanes.width(x)
    zero = lanes.splat(x.dtype.type(0))
    count = terms.shape[0]
    for i in range(0, LANES, width):
        xi, yi = lanes.load(x, i), lanes.load(y, i)
        for t in range(count):
            dx, dy = lanes.subtract(xi, lanes.splat(terms[t, 0])), lanes.subtract(yi, lanes.splat(terms[t, 1]))
            p, q, r = lanes.splat(terms[t, 2]), lanes.splat(terms[t, 3]), lanes.splat(terms[t, 4])
            st, vt = lanes.fma(q, dy, lanes.multiply(p, dx)), lanes.fma(r, dy, lanes.multiply(q, dx))
            place = i * count + t * width
            lanes.store(s, place, st)
            lanes.store(v, place, vt)
            lanes.store(e, place, lanes.fma(vt, dy, lanes.multiply(st, dx)))
    if not lanes.WIDE:
        for place in range(0, LANES * count, 2 * width):
            e0, e1 = exp2_vectors(lanes.load(e, place), lanes.load(e, place + width), coefficients)
            lanes.store(e, place, e0)
            lanes.store(e, place + width, e1)
    for i in range(0, LANES, width):
        gi, hi = zero, zero
        for t in range(0, count, 2):
            place = i * count + t * width
            e0, e1 = lanes.load(e, place), lanes.load(e, place + width)
            if lanes.WIDE:
                e0, e1 = exp2_vectors(e0, e1, coefficients)
            e0, e1 = lanes.multiply(lanes.splat(terms[t, 5]), e0), lanes.multiply(lanes.splat(terms[t + 1, 5]), e1)
            gi, hi = lanes.fma(e0, lanes.load(s, place), gi), lanes.fma(e0, lanes.load(v, place), hi)
            gi, hi = lanes.fma(e1, lanes.load(s, place + width), gi), lanes.fma(e1, lanes.load(v, place + width), hi)
        lanes.store(gx, i, gi)
        lanes.store(gy, i, hi)


@nb.njit(nogil=True, fastmath={"contract"})
def _value(x, y, terms, value):
    _set(value, 0.0)
    for t in range(0, terms.shape[0], 2):
        x0, y0, p0, q0, r0, c0 = terms[t, 0], terms[t, 1], terms[t, 2], terms[t, 3], terms[t, 4], terms[t, 6]
        x1, y1, p1, q1, r1, c1 = (
            terms[t + 1, 0], terms[t + 1, 1], terms[t + 1, 2], terms[t + 1, 3], terms[t + 1, 4], terms[t + 1, 6],
        )  # fmt: skip
        for i in range(LANES):
            dx0, dx1 = x[i] - x0, x[i] - x1
            dy0, dy1 = y[i] - y0, y[i] - y1
            e0, e1 = exp2_pair(
                (p0 * dx0 + q0 * dy0) * dx0 + (q0 * dx0 + r0 * dy0) * dy0,
                (p1 * dx1 + q1 * dy1) * dx1 + (q1 * dx1 + r1 * dy1) * dy1,
            )
            value[i] = value[i] + c0 * e0 + c1 * e1


@nb.njit(nogil=True, fastmath={"contract"})
def _derivatives(x, y, terms, out):
    # Rows of `out`: value, gradient (2), Hessian xx, xy, yy.
    for row in range(6):
        _set(out[row], 0.0)
    for t in range(terms.shape[0]):
        x0, y0, p, q, r, c = terms[t, 0], terms[t, 1], terms[t, 2], terms[t, 3], terms[t, 4], terms[t, 6]
        value, gx, gy, hxx, hxy, hyy = out[0], out[1], out[2], out[3], out[4], out[5]
        for i in range(LANES):
            dx, dy = x[i] - x0, y[i] - y0
            s, v = p * dx + q * dy, q * dx + r * dy
            e, _ = exp2_pair(s * dx + v * dy, 0.0)
            e *= c
            s, v = 2 * LN_2 * s, 2 * LN_2 * v
            value[i] += e
            gx[i] += e * s
            gy[i] += e * v
            hxx[i] += e * (s * s + 2 * LN_2 * p)
            hxy[i] += e * (s * v + 2 * LN_2 * q)
            hyy[i] += e * (v * v + 2 * LN_2 * r)


@nb.njit(nogil=True)
def _normals(numbers, half, purpose, key, z):
    # Normals of the iterations 2 half (rows 0, 1 of z) and 2 half + 1 (rows 2, 3), lane by lane: Philox-4x32-10 with
    # the counter (half, number of the trajectory, purpose), rounds outside and lanes inside. Words live in 64 bits
    # whose upper halves are not cleared, because the multiplications read the lower ones only.
    w = np.empty((4, LANES), np.uint64)
    w0, w1, w2, w3 = w[0], w[1], w[2], w[3]
    low, high, tag = np.uint64(half) & _MASK, np.uint64(half) >> _32, np.uint64(purpose)
    for i in range(LANES):
        w0[i] = low
        w1[i] = high
        w2[i] = np.uint64(numbers[i])
        w3[i] = tag
    a, b = np.uint64(key[0]), np.uint64(key[1])
    for _ in range(10):
        for i in range(LANES):
            p = _M0 * (w0[i] & _MASK)
            q = _M1 * (w2[i] & _MASK)
            w0[i] = (q >> _32) ^ w1[i] ^ a
            w2[i] = (p >> _32) ^ w3[i] ^ b
            w1[i] = q
            w3[i] = p
        a = (a + _W0) & _MASK
        b = (b + _W1) & _MASK
    z0, z1, z2, z3 = z[0], z[1], z[2], z[3]
    for i in range(LANES):
        z0[i], z1[i] = _normal_pair(np.uint32(w0[i] & _MASK), np.uint32(w1[i] & _MASK))
    for i in range(LANES):
        z2[i], z3[i] = _normal_pair(np.uint32(w2[i] & _MASK), np.uint32(w3[i] & _MASK))


@nb.njit(nogil=True, fastmath={"contract"})
def _clip(gx, gy, limit):
    for i in range(LANES):
        scale = limit / np.sqrt(gx[i] * gx[i] + gy[i] * gy[i] + 1e-300)
        scale = scale if scale < 1.0 else 1.0
        gx[i] *= scale
        gy[i] *= scale


# -- lanes: smoothed gradients --------------------------------------------------------------------------------------


@nb.njit(nogil=True, fastmath={"contract"})
def _tile(weights, e, out):
    # out[i, lane] = sum_j weights[i, j] e[j, lane]: four rows by four columns at a time. Sizes are multiples of 4.
    for i in range(0, weights.shape[0], 4):
        o0, o1, o2, o3 = out[i], out[i + 1], out[i + 2], out[i + 3]
        w0, w1, w2, w3 = weights[i], weights[i + 1], weights[i + 2], weights[i + 3]
        for lane in range(LANES):
            o0[lane] = 0
            o1[lane] = 0
            o2[lane] = 0
            o3[lane] = 0
        for j in range(0, weights.shape[1], 4):
            e0, e1, e2, e3 = e[j], e[j + 1], e[j + 2], e[j + 3]
            a0, a1, a2, a3 = w0[j], w0[j + 1], w0[j + 2], w0[j + 3]
            b0, b1, b2, b3 = w1[j], w1[j + 1], w1[j + 2], w1[j + 3]
            c0, c1, c2, c3 = w2[j], w2[j + 1], w2[j + 2], w2[j + 3]
            d0, d1, d2, d3 = w3[j], w3[j + 1], w3[j + 2], w3[j + 3]
            for lane in range(LANES):
                f0, f1, f2, f3 = e0[lane], e1[lane], e2[lane], e3[lane]
                o0[lane] += a0 * f0 + a1 * f1 + a2 * f2 + a3 * f3
                o1[lane] += b0 * f0 + b1 * f1 + b2 * f2 + b3 * f3
                o2[lane] += c0 * f0 + c1 * f1 + c2 * f2 + c3 * f3
                o3[lane] += d0 * f0 + d1 * f1 + d2 * f2 + d3 * f3


@nb.njit(nogil=True, fastmath={"contract"})
def _kernel_rows(x, nodes, rate, e):
    # e[j, lane] = 2^(-rate (x - node_j)^2)
    for j in range(0, nodes.size, 2):
        n0, n1 = nodes[j], nodes[j + 1]
        e0, e1 = e[j], e[j + 1]
        for i in range(LANES):
            d0, d1 = x[i] - n0, x[i] - n1
            e0[i], e1[i] = exp2_pair(-rate * d0 * d0, -rate * d1 * d1)


@nb.njit(nogil=True, fastmath={"contract"})
def _local_entropy(x, y, gx, gy, value, time, beta, grid, work):
    # Gibbs averages on a grid: <Y> of the weights exp(-beta V(Y) - beta |x - Y|^2 / (2 time)), by products of
    # matrices because the Gaussian factorises. gradient = (x - <Y>) / time; value = -log(sum) / beta, up to a constant.
    xs, ys, heights, weights = grid
    ex, ey, sums, total, mean_x, mean_y = work
    rate = beta * LOG2_E / (2 * time)
    _kernel_rows(x, xs, rate, ex)
    _kernel_rows(y, ys, rate, ey)
    _set(total, 0.0)
    _set(mean_x, 0.0)
    _set(mean_y, 0.0)
    _tile(weights, ey, sums)
    for i in range(xs.size):
        node, e, s = xs[i], ex[i], sums[i]
        for lane in range(LANES):
            part = e[lane] * s[lane]
            total[lane] += part
            mean_x[lane] += node * part
    for j in range(ys.size):
        node, e = ys[j], ey[j]
        for lane in range(LANES):
            e[lane] *= node
    _tile(weights, ey, sums)
    for i in range(xs.size):
        e, s = ex[i], sums[i]
        for lane in range(LANES):
            mean_y[lane] += e[lane] * s[lane]
    for lane in range(LANES):
        gx[lane] = (x[lane] - mean_x[lane] / total[lane]) / time
        gy[lane] = (y[lane] - mean_y[lane] / total[lane]) / time
        value[lane] = -math.log(total[lane] + 1e-300) / beta
    for lane in range(LANES):
        if not total[lane] > _TINY and math.isfinite(x[lane]) and math.isfinite(y[lane]):
            gx[lane], gy[lane], value[lane] = _log_domain(x[lane], y[lane], time, beta, xs, ys, heights)


@nb.njit(nogil=True)
def _log_domain(x, y, time, beta, xs, ys, heights):
    # The same averages for one point where all weights underflow: exponents first, their largest taken out.
    least = np.inf
    for i in range(xs.size):
        for j in range(ys.size):
            h = heights[i, j] + ((x - xs[i]) ** 2 + (y - ys[j]) ** 2) / (2 * time)
            least = min(least, h)
    total = mean_x = mean_y = 0.0
    for i in range(xs.size):
        for j in range(ys.size):
            h = heights[i, j] + ((x - xs[i]) ** 2 + (y - ys[j]) ** 2) / (2 * time)
            w = math.exp(-beta * (h - least))
            total += w
            mean_x += w * xs[i]
            mean_y += w * ys[j]
    return (x - mean_x / total) / time, (y - mean_y / total) / time, least - math.log(total) / beta


@nb.njit(nogil=True, fastmath={"contract"})
def _inner_langevin(x, y, gx, gy, settings, averaging, terms, noise, first, clip, work, space):
    # Mean of Y along Y <- Y - delta (V'(Y) + (Y - x) / time) + sqrt(2 delta / beta) xi, from Y = x.
    time, amplitude, step = settings
    numbers, key, z = noise
    u, v, hx, hy = work
    _copy(x, gx)
    _copy(y, gy)
    _copy(x, u)
    _copy(y, v)
    for m in range(averaging.size):
        _gradient(u, v, terms, hx, hy, space)
        if clip > 0:
            _clip(hx, hy, clip)
        for i in range(LANES):
            u[i] -= step * (hx[i] + (u[i] - x[i]) / time)
            v[i] -= step * (hy[i] + (v[i] - y[i]) / time)
        if amplitude > 0:
            now = first + m
            if m == 0 or now % 2 == 0:
                _normals(numbers, now // 2, INNER_NOISE, key, z)
            zx, zy = z[2 * (now % 2)], z[2 * (now % 2) + 1]
            for i in range(LANES):
                u[i] += amplitude * zx[i]
                v[i] += amplitude * zy[i]
        weight = averaging[m]
        for i in range(LANES):
            gx[i] += weight * (u[i] - gx[i])
            gy[i] += weight * (v[i] - gy[i])
    for i in range(LANES):
        gx[i] = (x[i] - gx[i]) / time
        gy[i] = (y[i] - gy[i]) / time


@nb.njit(nogil=True, fastmath={"contract"})
def _hopf_lax(x, y, gx, gy, value, time, iterations, terms, grid, work):
    # The minimiser of V(Y) + |x - Y|^2 / (2 time): the best node of a grid or x itself, then damped Newton steps, each
    # kept only if it descends. gradient = (x - Y) / time.
    xs, ys, heights, _ = grid
    best, px, py, u, v, damping, out, sx, sy = work
    _derivatives(x, y, terms, out)
    _copy(out[0], best)
    _copy(x, px)
    _copy(y, py)
    half = 1 / (2 * time)
    for i in range(xs.size):
        node = xs[i]
        for lane in range(LANES):
            u[lane] = half * (x[lane] - node) * (x[lane] - node)
        for j in range(ys.size):
            height, other = heights[i, j], ys[j]
            for lane in range(LANES):
                d = y[lane] - other
                candidate = height + u[lane] + half * d * d
                better = candidate < best[lane]
                best[lane] = candidate if better else best[lane]
                px[lane] = node if better else px[lane]
                py[lane] = other if better else py[lane]
    # `best` may hold the height of a node as the grid has it; the objective is evaluated afresh from here on.
    _set(damping, 1.0)
    _copy(px, u)
    _copy(py, v)
    _set(best, np.inf)
    f, fx, fy, hxx, hxy, hyy = out[0], out[1], out[2], out[3], out[4], out[5]
    for _ in range(iterations):
        _derivatives(u, v, terms, out)
        for i in range(LANES):
            dx, dy = u[i] - x[i], v[i] - y[i]
            objective = f[i] + half * (dx * dx + dy * dy)
            kept = objective <= best[i]
            best[i] = objective if kept else best[i]
            px[i] = u[i] if kept else px[i]
            py[i] = v[i] if kept else py[i]
            damping[i] = min(1.0, 2 * damping[i]) if kept else 0.25 * damping[i]
            # Newton's step with the Hessian's smallest eigenvalue lifted to a positive number.
            a, b, c = hxx[i] + 1 / time, hxy[i], hyy[i] + 1 / time
            mean, radius = 0.5 * (a + c), np.sqrt(0.25 * (a - c) * (a - c) + b * b)
            least = mean - radius
            floor = 1e-3 * (abs(mean) + radius) + 1e-12
            shift = floor - least if least < floor else 0.0
            a, c = a + shift, c + shift
            det = a * c - b * b
            rx, ry = fx[i] + dx / time, fy[i] + dy / time
            sx[i] = (c * rx - b * ry) / det if kept else sx[i]
            sy[i] = (a * ry - b * rx) / det if kept else sy[i]
            u[i] = px[i] - damping[i] * sx[i]
            v[i] = py[i] - damping[i] * sy[i]
    for i in range(LANES):
        gx[i] = (x[i] - px[i]) / time
        gy[i] = (y[i] - py[i]) / time
        value[i] = best[i]


@nb.njit(nogil=True, fastmath={"contract"})
def _smoothed(x, y, gx, gy, value, stage, averaging, noise, step, clip, work):
    # Gradient of the stage's smoothed potential at (x, y), and its value where the method has one.
    source, settings, terms, xs, ys, heights, weights = stage
    pool, ex, ey, sums, space = work
    if source == LOCAL_ENTROPY:
        _local_entropy(
            x, y, gx, gy, value, settings[0], settings[1], (xs, ys, heights, weights),
            (ex, ey, sums, pool[0], pool[1], pool[2]),
        )  # fmt: skip
    elif source == INNER_LANGEVIN:
        _inner_langevin(
            x, y, gx, gy, (settings[0], settings[1], settings[2]), averaging, terms, noise,
            step * averaging.size, clip, (pool[0], pool[1], pool[2], pool[3]), space,
        )  # fmt: skip
    else:
        _hopf_lax(
            x, y, gx, gy, value, settings[0], int(settings[1]), terms, (xs, ys, heights, weights),
            (pool[0], pool[1], pool[2], pool[3], pool[4], pool[5], pool[6:12], pool[12], pool[13]),
        )  # fmt: skip


# -- descent --------------------------------------------------------------------------------------------------------


@nb.njit(nogil=True, fastmath={"contract"})
def _descend_plainly(x, y, terms, gx, gy, step_size, count, space):
    # Gradient descent with nothing to look after: a tenth faster than the general loop, and the same bits.
    for _ in range(count):
        _gradient(x, y, terms, gx, gy, space)
        for i in range(LANES):
            x[i] -= step_size * gx[i]
            y[i] -= step_size * gy[i]


@nb.njit(nogil=True, fastmath={"contract"})
def _extrapolate(state, gx, gy, value, active, step_size, second, momentum, growth, restart, step_back):
    # One step of Nesterov or MaSS from the query point (u, v); gradient descent is the momentum zero.
    x, y, u, v, age, theta, height, _, _ = state
    inverse_condition = momentum if growth == THETA else 0.0
    for i in range(LANES):
        wx = u[i] - step_size * gx[i]
        wy = v[i] - step_size * gy[i]
        dx, dy = wx - x[i], wy - y[i]
        b = theta[i] * theta[i] - inverse_condition
        ahead = 0.5 * (np.sqrt(b * b + 4 * theta[i] * theta[i]) - b)
        if growth == CONSTANT:
            m = momentum
        elif growth == RATIONAL:
            m = age[i] / (age[i] + 3)
        else:
            m = theta[i] * (1 - theta[i]) / (theta[i] * theta[i] + ahead)
        again = False
        if restart == GRADIENT:
            again = gx[i] * dx + gy[i] * dy > 0
        elif restart == FUNCTION:
            again = value[i] > height[i]
        back = again and step_back
        wx = x[i] if back else wx
        wy = y[i] if back else wy
        ux = wx if again else wx + m * dx + second * gx[i]
        uy = wy if again else wy + m * dy + second * gy[i]
        live = active[i] > 0
        x[i] = wx if live else x[i]
        y[i] = wy if live else y[i]
        u[i] = ux if live else u[i]
        v[i] = uy if live else v[i]
        age[i] = 0.0 if again else age[i] + 1
        theta[i] = 1.0 if again else ahead
        if restart == FUNCTION:
            height[i] = height[i] if back or not live else value[i]


@nb.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def descend_block(start, numbers, stages, rule, stop, key, every, out, work):
    """Run one block of lanes through all stages; see `meanfield.kernels.landscape.descend`, which packs the tuples."""
    rules, momentum, second = rule
    method, growth, restart, step_back = rules
    watch, gradient_bound, step_bound, domain, clip = stop
    ends, taken, evaluations, outcome, records = out
    sources, steps, sizes, noises, settings, tables, xs, ys, heights, weights, averaging, costs = stages
    rows, z, pool, ex, ey, sums = work
    state = (rows[0], rows[1], rows[2], rows[3], rows[4], rows[5], rows[6], rows[7], rows[8])
    x, y, u, v, age, theta, height, px, py = state
    gx, gy, value, active, wx, wy, ignored_x, ignored_y = (
        rows[9], rows[10], rows[11], rows[12], rows[13], rows[14], rows[15], rows[16],
    )  # fmt: skip
    _copy(start[0], x)
    _copy(start[1], y)
    _set(taken, 0.0)
    _set(evaluations, 0.0)
    space = _gradient_space(tables.shape[1])
    scratch = (pool, ex, ey, sums, space)
    noise = (numbers, key, z)
    for i in range(LANES):
        outcome[i] = RUNNING
    # Views are made outside the loop over time: each costs a count of references.
    query_x, query_y = (u, v) if method == NESTEROV else (x, y)
    done = 0
    for s in range(steps.size):
        stage = (sources[s], settings[s], tables[s], xs, ys, heights[s], weights[s])
        size, sigma, table = sizes[s], noises[s], tables[s]
        for i in range(LANES):
            outcome[i] = LEFT_DOMAIN if outcome[i] == LEFT_DOMAIN else RUNNING
            active[i] = 0.0 if outcome[i] == LEFT_DOMAIN else 1.0
            age[i] = 0
            theta[i] = 1
        _copy(x, u)
        _copy(y, v)
        _copy(x, px)
        _copy(y, py)
        if restart == FUNCTION:
            if sources[s] == PLAIN:
                _value(x, y, table, height)
            else:
                _smoothed(x, y, rows[17], rows[18], height, stage, averaging, noise, done, clip, scratch)
        idle = False
        plain = sources[s] == PLAIN and method == DESCENT and sigma == 0 and clip == 0 and not watch
        k = -1
        while k + 1 < steps[s]:
            k += 1
            now = done + k
            if every > 0 and now % every == 0:
                _copy(x, records[now // every, 0])
                _copy(y, records[now // every, 1])
            if idle:
                continue
            if plain:
                count = steps[s] - k
                count = min(count, every - now % every) if every > 0 else count
                _descend_plainly(x, y, table, gx, gy, size, count, space)
                k += count - 1
                continue
            if watch and k % 64 == 0:
                most = 0.0
                for i in range(LANES):
                    most = max(most, active[i])
                idle = most == 0
            if sources[s] == PLAIN:
                _gradient(query_x, query_y, table, gx, gy, space)
            else:
                _smoothed(query_x, query_y, gx, gy, value, stage, averaging, noise, now, clip, scratch)
            if clip > 0:
                _clip(gx, gy, clip)
            if watch:
                for i in range(LANES):
                    evaluations[i] += costs[s] * active[i]
                    small = gx[i] * gx[i] + gy[i] * gy[i] < gradient_bound
                    stopping = small and active[i] > 0
                    outcome[i] = CONVERGED if stopping else outcome[i]
                    active[i] = 0.0 if stopping else active[i]
            if sigma > 0:
                if k == 0 or now % 2 == 0:
                    _normals(numbers, now // 2, STEP_NOISE, key, z)
                zx, zy = z[2 * (now % 2)], z[2 * (now % 2) + 1]
                for i in range(LANES):
                    gx[i] += sigma * zx[i]
                    gy[i] += sigma * zy[i]
            if watch:
                _copy(x, wx)
                _copy(y, wy)
            if method == DESCENT:
                for i in range(LANES):
                    x[i] = x[i] - size * gx[i] if active[i] > 0 else x[i]
                    y[i] = y[i] - size * gy[i] if active[i] > 0 else y[i]
            elif method == HEAVY_BALL:
                for i in range(LANES):
                    nx = x[i] - size * gx[i] + momentum * (x[i] - px[i])
                    ny = y[i] - size * gy[i] + momentum * (y[i] - py[i])
                    live = active[i] > 0
                    px[i] = x[i] if live else px[i]
                    py[i] = y[i] if live else py[i]
                    x[i] = nx if live else x[i]
                    y[i] = ny if live else y[i]
            else:
                if restart == FUNCTION:
                    # The value at the point about to be reached; the gradient there is not used.
                    for i in range(LANES):
                        ignored_x[i] = u[i] - size * gx[i]
                        ignored_y[i] = v[i] - size * gy[i]
                    if sources[s] == PLAIN:
                        _value(ignored_x, ignored_y, tables[s], value)
                    else:
                        _smoothed(
                            ignored_x,
                            ignored_y,
                            rows[17],
                            rows[18],
                            value,
                            stage,
                            averaging,
                            noise,
                            now,
                            clip,
                            scratch,
                        )
                _extrapolate(state, gx, gy, value, active, size, second, momentum, growth, restart, step_back)
            if watch:
                for i in range(LANES):
                    live = active[i] > 0
                    inside = x[i] >= domain[0] and x[i] <= domain[1] and y[i] >= domain[2] and y[i] <= domain[3]
                    leaving = live and not inside
                    x[i] = wx[i] if leaving else x[i]
                    y[i] = wy[i] if leaving else y[i]
                    dx, dy = x[i] - wx[i], y[i] - wy[i]
                    small = dx * dx + dy * dy < step_bound and live and not leaving
                    taken[i] += active[i]
                    outcome[i] = LEFT_DOMAIN if leaving else (CONVERGED if small else outcome[i])
                    active[i] = 0.0 if leaving or small else active[i]
        done += steps[s]
        if not watch:
            for i in range(LANES):
                taken[i] += steps[s]
                evaluations[i] += costs[s] * steps[s]
    if every > 0 and done % every == 0:
        _copy(x, records[done // every, 0])
        _copy(y, records[done // every, 1])
    _copy(x, ends[0])
    _copy(y, ends[1])


# -- coupled agents -------------------------------------------------------------------------------------------------


@nb.njit(nogil=True, fastmath={"contract"})
def _micro_steps(x, y, fast, numbers, terms, inner, key, first, clip, mean, work, space):
    # The fast variables of one block: burn-in, then the average of the rest. `fast` is carried over by the caller.
    step, beta, gamma, burn_in, average = inner
    gx, gy, z = work[0], work[1], work[2:6]
    u, v = fast[0], fast[1]
    amplitude = math.sqrt(2 * step / beta)
    _set(mean[0], 0.0)
    _set(mean[1], 0.0)
    for m in range(burn_in + average):
        _gradient(u, v, terms, gx, gy, space)
        if clip > 0:
            _clip(gx, gy, clip)
        now = first + m
        if m == 0 or now % 2 == 0:
            _normals(numbers, now // 2, INNER_NOISE, key, z)
        zx, zy = z[2 * (now % 2)], z[2 * (now % 2) + 1]
        for i in range(LANES):
            u[i] += amplitude * zx[i] - step * (gx[i] + (u[i] - x[i]) / gamma)
            v[i] += amplitude * zy[i] - step * (gy[i] + (v[i] - y[i]) / gamma)
        if m >= burn_in:
            mx, my = mean[0], mean[1]
            for i in range(LANES):
                mx[i] += u[i]
                my[i] += v[i]
    for i in range(LANES):
        mean[0, i] /= average
        mean[1, i] /= average


@nb.njit(cache=True, nogil=True, error_model="numpy")
def homogenised_group(x, y, agents, count, numbers, schedule, clip, key, every, records):
    """Run `count` ensembles of coupled agents, one after the other in the blocks of x and y, (block, lane)."""
    macro, tables, steps, betas, gammas, couplings, macro_sizes, macro_noises, burn_in, average = schedule
    blocks = x.shape[0]
    fast = np.empty((blocks, 2, LANES))
    mean = np.zeros((blocks, 2, LANES))
    work = np.zeros((6, LANES))
    space = _gradient_space(tables.shape[1])
    z = np.zeros((blocks, 4, LANES))
    fx, fy = x.reshape(-1), y.reshape(-1)
    for b in range(blocks):
        _copy(x[b], fast[b, 0])
        _copy(y[b], fast[b, 1])
    done = 0
    for s in range(macro.size):
        inner = (steps[s], betas[s], gammas[s], burn_in, average)
        gamma, eta, h = gammas[s], couplings[s], macro_sizes[s]
        for _ in range(macro[s]):
            if every > 0 and done % every == 0:
                _copy_all(fx, records[done // every, 0])
                _copy_all(fy, records[done // every, 1])
            for b in range(blocks):
                _micro_steps(
                    x[b], y[b], fast[b], numbers[b], tables[s], inner, key, done * (burn_in + average), clip,
                    mean[b], work, space,
                )  # fmt: skip
                if macro_noises[s] > 0:
                    _normals(numbers[b], done // 2, COUPLED_NOISE, key, z[b])
            row = 2 * (done % 2)
            for e in range(count):
                sum_x = sum_y = 0.0
                for a in range(e * agents, (e + 1) * agents):
                    sum_x += fx[a]
                    sum_y += fy[a]
                sum_x /= agents
                sum_y /= agents
                for a in range(e * agents, (e + 1) * agents):
                    b, i = a // LANES, a % LANES
                    fx[a] -= h * ((fx[a] - mean[b, 0, i]) / gamma + eta * (fx[a] - sum_x))
                    fy[a] -= h * ((fy[a] - mean[b, 1, i]) / gamma + eta * (fy[a] - sum_y))
                    if macro_noises[s] > 0:
                        fx[a] += macro_noises[s] * z[b, row, i]
                        fy[a] += macro_noises[s] * z[b, row + 1, i]
            done += 1
    if every > 0 and done % every == 0:
        _copy_all(fx, records[done // every, 0])
        _copy_all(fy, records[done // every, 1])


@nb.njit(cache=True, nogil=True, error_model="numpy")
def affine_group(x, y, agents, count, numbers, schedule, correction, clip, key, every, records):
    """Run `count` ensembles of affine-invariant Langevin dynamics, laid out as in `homogenised_group`."""
    stage_steps, tables, sizes, betas = schedule
    blocks = x.shape[0]
    z = np.zeros((blocks, 4, LANES))
    g = np.zeros((2, blocks, LANES))
    space = _gradient_space(tables.shape[1])
    fx, fy = x.reshape(-1), y.reshape(-1)
    gx, gy = g[0].reshape(-1), g[1].reshape(-1)
    done = 0
    for s in range(stage_steps.size):
        h, beta = sizes[s], betas[s]
        spread = math.sqrt(2 * h)
        for k in range(stage_steps[s]):
            if every > 0 and done % every == 0:
                _copy_all(fx, records[done // every, 0])
                _copy_all(fy, records[done // every, 1])
            for b in range(blocks):
                _gradient(x[b], y[b], tables[s], g[0, b], g[1, b], space)
                if clip > 0:
                    _clip(g[0, b], g[1, b], clip)
                if k == 0 or done % 2 == 0:
                    _normals(numbers[b], done // 2, STEP_NOISE, key, z[b])
            row = 2 * (done % 2)
            for e in range(count):
                first, last = e * agents, (e + 1) * agents
                mx = my = 0.0
                for a in range(first, last):
                    mx += fx[a]
                    my += fy[a]
                mx /= agents
                my /= agents
                cxx = cxy = cyy = 0.0
                for a in range(first, last):
                    dx, dy = fx[a] - mx, fy[a] - my
                    cxx += dx * dx
                    cxy += dx * dy
                    cyy += dy * dy
                cxx /= agents
                cxy /= agents
                cyy /= agents
                # Cholesky factor of the covariance; a rank-one covariance is a legitimate limit.
                lxx = math.sqrt(cxx)
                lxy = cxy / lxx if lxx > 0 else 0.0
                lyy = math.sqrt(max(cyy - lxy * lxy, 0.0))
                drift = correction * 3.0 / agents
                for a in range(first, last):
                    b, i = a // LANES, a % LANES
                    zx, zy = z[b, row, i], z[b, row + 1, i]
                    px, py = beta * gx[a], beta * gy[a]
                    dx, dy = fx[a] - mx, fy[a] - my
                    fx[a] += h * (drift * dx - cxx * px - cxy * py) + spread * lxx * zx
                    fy[a] += h * (drift * dy - cxy * px - cyy * py) + spread * (lxy * zx + lyy * zy)
            done += 1
    if every > 0 and done % every == 0:
        _copy_all(fx, records[done // every, 0])
        _copy_all(fy, records[done // every, 1])


@nb.njit(cache=True, nogil=True)
def fill_normals(numbers, first, purpose, key, out):
    """Fill `out`, (block, iteration, 2, lane), with the normals of iterations `first` … of the numbered lanes."""
    z = np.zeros((4, LANES))
    for b in range(numbers.shape[0]):
        for k in range(out.shape[1]):
            now = first + k
            _normals(numbers[b], now // 2, purpose, key, z)
            _copy(z[2 * (now % 2)], out[b, k, 0])
            _copy(z[2 * (now % 2) + 1], out[b, k, 1])
