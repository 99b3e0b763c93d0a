"use strict";
// From the points of a file to those that enter the network: the same ones as in Python, whose
// draws (NumPy's Generator over PCG64) are made again here, number by number.

const WIDE = (1n << 64n) - 1n, WIDER = (1n << 128n) - 1n;
const STEP = 0x2360ed051fc65da44385df649fccf645n;
const UPRIGHT = { x: [[2, 1, 0], [-1, 1, 1]], y: [[0, 2, 1], [1, -1, 1]], z: [[0, 1, 2], [1, 1, 1]] };
const POOL = 8; // times as many as are wanted, from which spread points are picked
const LOOKED_AT = 200_000, FAR_AWAY = 64, BLUR = 1e-6;

class Draws {
  constructor({ state, inc }) {
    this.state = BigInt(state);
    this.inc = BigInt(inc);
    this.half = null;
  }

  next64() {
    this.state = (this.state * STEP + this.inc) & WIDER;
    const turn = this.state >> 122n, x = (this.state >> 64n) ^ (this.state & WIDE);
    return ((x >> turn) | (x << (64n - turn))) & WIDE;
  }

  next32() {
    if (this.half !== null) {
      const kept = this.half;
      this.half = null;
      return kept;
    }
    const both = this.next64();
    this.half = both >> 32n;
    return both & 0xffffffffn;
  }

  // A number from 0 to 1, without 1.
  real() {
    return Number(this.next64() >> 11n) / 2 ** 53;
  }

  // A whole number from 0 to `most` (Lemire 2019).
  below(most) {
    if (!most) return 0;
    const range = BigInt(most) + 1n, least = (0x100000000n - range) % range;
    let product = this.next32() * range;
    while ((product & 0xffffffffn) < least) product = this.next32() * range;
    return Number(product >> 32n);
  }

  // The end of `values`, from `first` on, shuffled.
  shuffle(values, first) {
    for (let i = values.length - 1; i >= first; i--) {
      const j = this.below(i);
      [values[i], values[j]] = [values[j], values[i]];
    }
    return values;
  }

  // `n` different numbers below `count`.
  choice(count, n) {
    if (count > 10000 && n > Math.floor(count / 50)) {
      const all = Array.from({ length: count }, (_, k) => k);
      return this.shuffle(all, Math.max(count - n, 1)).slice(count - n);
    }
    const found = new Set(); // Floyd's way
    for (let j = count - n; j < count; j++) {
      const value = this.below(j);
      found.add(found.has(value) ? j : value);
    }
    return this.shuffle([...found], 1);
  }
}

const pointAt = (points, k) => [points[3 * k], points[3 * k + 1], points[3 * k + 2]];
const taken = (points, index) => points.constructor.from(index.flatMap((k) => pointAt(points, k)));

// {whole, chosen}: Float32Arrays, z up; the network gets the chosen ones, traits are of the whole.
function prepared(cloud, how) {
  let { points, faces } = finite(cloud, how.nan);
  if (!points.length) throw new Error("has no points");
  if (!faces && points.length < 3 * how.min_points) {
    throw new Error(`has ${points.length / 3} points, fewer than ${how.min_points}`);
  }
  const draws = new Draws(how.draws);
  points = placed(points);
  if (faces) points = surface(points, faces, how.sampling === "fps" ? how.points * POOL : how.points, draws);
  const whole = new Float32Array(points);
  if (whole.every((x, k) => x === whole[k % 3])) throw new Error("all of its points are the same");
  const chosen = taken(whole, sampleIndex(whole, how.points, draws, how.sampling));
  return { whole: upright(whole, how.up), chosen: upright(chosen, how.up) };
}

function finite(cloud, nan) {
  const { points, faces } = cloud, kept = [], place = new Map();
  for (let k = 0; k < points.length / 3; k++) {
    if (pointAt(points, k).every(Number.isFinite)) place.set(k, kept.push(k) - 1);
  }
  if (kept.length === points.length / 3) return cloud;
  if (nan !== "drop") throw new Error("has NaN or infinite coordinates");
  const whole = [];
  for (let k = 0; faces && k < faces.length; k += 3) {
    const corners = [...faces.slice(k, k + 3)].map((c) => place.get(c));
    if (!corners.includes(undefined)) whole.push(...corners);
  }
  return { points: taken(points, kept), faces: whole.length ? whole : null };
}

// Moved to the median where 32 bits would blur the cloud, as those of map coordinates would.
function placed(points) {
  const step = 3 * Math.ceil(points.length / 3 / LOOKED_AT), different = new Map();
  let extent = 0, most = 0, blur = 0;
  for (const k of [0, 1, 2]) {
    let low = Infinity, high = -Infinity;
    for (let i = k; i < points.length; i += 3) {
      low = Math.min(low, points[i]);
      high = Math.max(high, points[i]);
      blur = Math.max(blur, Math.abs(Math.fround(points[i]) - points[i]));
    }
    extent = Math.max(extent, high - low);
    most = Math.max(most, Math.abs(low), Math.abs(high));
  }
  if (extent * FAR_AWAY >= most && blur <= BLUR * extent) return points;
  for (let i = 0; i < points.length; i += step) {
    const point = [points[i], points[i + 1], points[i + 2]];
    different.set(point.join(), point);
  }
  const middle = [0, 1, 2].map((k) => median([...different.values()].map((p) => p[k])));
  return points.map((x, i) => x - middle[i % 3]);
}

function median(values) {
  const sorted = Float64Array.from(values).sort(), half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

// `n` points drawn evenly from the triangles of a mesh.
function surface(points, faces, n, draws) {
  const corners = [], sums = [];
  let sum = 0;
  for (let k = 0; k < faces.length; k += 3) {
    const [a, b, c] = [0, 1, 2].map((j) => pointAt(points, faces[k + j]));
    const [u, v] = [b, c].map((p) => p.map((x, j) => x - a[j]));
    corners.push([a, u, v]);
    sums.push(sum += Math.hypot(
      u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]));
  }
  if (!(sum > 0)) return taken(points, sampleIndex(points, n, draws, "random"));
  const chosen = Array.from({ length: n }, () => firstAbove(sums, draws.real() * sum));
  const [us, vs] = [0, 1].map(() => Array.from({ length: n }, () => draws.real()));
  return Float64Array.from(chosen.flatMap((face, k) => {
    const flip = us[k] + vs[k] > 1, [a, u, v] = corners[face];
    const [s, t] = flip ? [1 - us[k], 1 - vs[k]] : [us[k], vs[k]];
    return a.map((x, j) => x + s * u[j] + t * v[j]);
  }));
}

function firstAbove(sums, value) {
  let low = 0, high = sums.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sums[middle] > value) high = middle;
    else low = middle + 1;
  }
  return low;
}

// Of more than `n` points `n` different ones; of fewer all, and then repetitions.
function sampleIndex(points, n, draws, sampling) {
  const count = points.length / 3;
  if (count <= n) {
    const all = Array.from({ length: count }, (_, k) => k);
    return all.concat(Array.from({ length: n - count }, () => draws.below(count - 1)));
  }
  const pool = draws.choice(count, sampling === "fps" ? Math.min(count, POOL * n) : n);
  return sampling === "fps" ? farthest(taken(points, pool), n).map((k) => pool[k]) : pool;
}

// Farthest point sampling from the first point on, each step rounded to 32 bits as in Python.
function farthest(points, n) {
  const round = Math.fround, nearest = new Float32Array(points.length / 3).fill(Infinity);
  const picked = [0];
  while (picked.length < n) {
    const [x, y, z] = pointAt(points, picked.at(-1));
    let best = 0;
    for (let k = 0; k < nearest.length; k++) {
      const a = round(points[3 * k] - x), b = round(points[3 * k + 1] - y);
      const c = round(points[3 * k + 2] - z);
      const away = round(round(round(a * a) + round(b * b)) + round(c * c));
      if (away < nearest[k]) nearest[k] = away;
      if (nearest[k] > nearest[best]) best = k;
    }
    picked.push(best);
  }
  return picked;
}

function upright(points, up) {
  const [columns, signs] = UPRIGHT[up];
  return points.map((_, i) => signs[i % 3] * points[i - (i % 3) + columns[i % 3]]);
}
