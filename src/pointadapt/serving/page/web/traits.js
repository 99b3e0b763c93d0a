"use strict";
// The 29 traits of a cloud, as pointadapt.ops.cloud_traits has them: size, shape, profile.

const FLAT = 1e-3, PICKED = 128, PAIR_EDGES = [0.4, 0.7, 1.0, 1.3], RADIUS = 3;
const equalBins = (bins) => Array.from({ length: bins - 1 }, (_, k) => (k + 1) / bins);
const flat = (x) => Math.max(x, FLAT);
const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;

// Float32Array of 29, of x, y, z one after another, z up, in the file's own unit.
function traitsOf(points) {
  const count = points.length / 3, { unit, radius } = inUnitBall(points);
  const z = axis(unit, 2), low = least(z), height = most(z) - low;
  const [length, width] = topView(unit);
  const spread = Math.sqrt(unit.reduce((sum, x) => sum + x * x, 0) / count);
  const logs = [height, length, width, 1, spread, spacing(unit)].map(flat)
    .map((x) => Math.log(x) + Math.log(radius));
  const [h, l, w] = [height, length, width].map(flat);
  const shape = [...axes(unit), Math.log(w / l), Math.log(h / l),
    Math.min(1, Math.max(0, -low / h)), -Math.log(flat(spread))];
  const density = Math.log(count) - (logs[0] + logs[1] + logs[2]);
  return Float32Array.from([...logs, Math.log(count), density, ...shape, ...profile(unit, low)]);
}

const least = (values) => values.reduce((a, b) => Math.min(a, b));
const most = (values) => values.reduce((a, b) => Math.max(a, b));

function axis(points, k) {
  const values = new Float32Array(points.length / 3);
  for (let i = 0; i < values.length; i++) values[i] = points[3 * i + k];
  return values;
}

function inUnitBall(points) {
  const middle = [0, 1, 2].map((k) => mean(axis(points, k)));
  const centred = new Float64Array(points).map((x, i) => x - middle[i % 3]);
  let far = 0;
  for (let i = 0; i < centred.length; i += 3) {
    far = Math.max(far, centred[i] ** 2 + centred[i + 1] ** 2 + centred[i + 2] ** 2);
  }
  const radius = Math.max(Math.sqrt(far), 1e-12);
  return { unit: new Float32Array(centred.map((x) => x / radius)), radius };
}

// The sum of products of two axes.
function product(unit, a, b) {
  let sum = 0;
  for (let i = 0; i < unit.length; i += 3) sum += unit[i + a] * unit[i + b];
  return sum;
}

// Extents along the two main axes of the top view, the larger one first.
function topView(unit) {
  const [xx, xy, yy] = [product(unit, 0, 0), product(unit, 0, 1), product(unit, 1, 1)];
  const turn = 0.5 * Math.atan2(2 * xy, xx - yy), c = Math.cos(turn), s = Math.sin(turn);
  const x = axis(unit, 0), y = axis(unit, 1);
  const extents = [[c, s], [-s, c]].map(([a, b]) => {
    const along = x.map((value, k) => a * value + b * y[k]);
    return most(along) - least(along);
  });
  return [Math.max(...extents), Math.min(...extents)];
}

// middle, least, axis_up, normal_up
function axes(unit) {
  const count = unit.length / 3;
  const matrix = [0, 1, 2].map((a) => [0, 1, 2].map((b) => product(unit, a, b) / count));
  const { values, ups } = eigen(matrix);
  const order = [0, 1, 2].sort((a, b) => values[b] - values[a]);
  const [first, second, third] = order.map((k) => Math.sqrt(Math.max(0, values[k])));
  return [second / flat(first), third / flat(first), Math.abs(ups[order[0]]), Math.abs(ups[order[2]])];
}

// Jacobi's rotations of a symmetric 3 by 3 matrix: its values, and z of each vector.
function eigen(m) {
  const ups = [0, 0, 1];
  for (let sweep = 0; sweep < 12; sweep++) {
    for (const [p, q] of [[0, 1], [0, 2], [1, 2]]) {
      if (Math.abs(m[p][q]) < 1e-300) continue;
      const theta = (m[q][q] - m[p][p]) / (2 * m[p][q]);
      const t = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.hypot(theta, 1));
      const c = 1 / Math.hypot(t, 1), s = t * c;
      for (const row of m) [row[p], row[q]] = [c * row[p] - s * row[q], s * row[p] + c * row[q]];
      for (let k = 0; k < 3; k++) {
        [m[p][k], m[q][k]] = [c * m[p][k] - s * m[q][k], s * m[p][k] + c * m[q][k]];
      }
      [ups[p], ups[q]] = [c * ups[p] - s * ups[q], s * ups[p] + c * ups[q]];
    }
  }
  return { values: [0, 1, 2].map((k) => m[k][k]), ups };
}

// Numbers of at most 128 points, evenly over their order; as torch.linspace rounds them.
function pickedOf(count) {
  const round = Math.fround, n = Math.min(count, PICKED), step = round((count - 1) / (n - 1));
  return Array.from({ length: n }, (_, k) => {
    const x = k < n >> 1 ? round(step * k) : round(count - 1 - round(step * (n - 1 - k)));
    return x % 1 === 0.5 ? 2 * Math.round(x / 2) : Math.round(x);
  });
}

function distance2(points, i, j) {
  let sum = 0;
  for (let k = 0; k < 3; k++) sum += (points[3 * i + k] - points[3 * j + k]) ** 2;
  return sum;
}

// Mean distance from a picked point to its nearest neighbour.
function spacing(unit) {
  return mean(pickedOf(unit.length / 3).map((i) => {
    const x = unit[3 * i], y = unit[3 * i + 1], z = unit[3 * i + 2];
    let near = Infinity;
    for (let j = 0; j < unit.length; j += 3) { // written out: the slowest step of large clouds
      const a = unit[j] - x, b = unit[j + 1] - y, c = unit[j + 2] - z, away = a * a + b * b + c * c;
      if (away < near && j !== 3 * i) near = away;
    }
    return near === Infinity ? 0 : Math.sqrt(near);
  }));
}

// Shares in layers and rings, and of pairs by distance.
function profile(unit, low) {
  const round = Math.fround, z = axis(unit, 2), x = axis(unit, 0), y = axis(unit, 1);
  const height = flat(round(most(z) - low));
  const layers = z.map((value) => round(value - low) / height);
  const off = x.map((value, k) => Math.hypot(value, y[k])), reach = flat(most(off));
  const picked = pickedOf(unit.length / 3), pairs = [];
  for (let a = 0; a < picked.length; a++) {
    for (let b = a + 1; b < picked.length; b++) pairs.push(Math.sqrt(distance2(unit, picked[a], picked[b])));
  }
  const usual = flat(pairs.length ? mean(pairs) : 0);
  return [...shares(layers, equalBins(5)), ...shares(off.map((d) => d / reach), equalBins(3)),
    ...shares(pairs.map((d) => d / usual), PAIR_EDGES)];
}

function shares(values, edges) {
  const below = edges.map((edge) =>
    values.reduce((n, x) => n + (x < Math.fround(edge)), 0) / (values.length || 1));
  return [...below, values.length ? 1 : 0].map((share, k) => share - (k ? below[k - 1] : 0));
}
