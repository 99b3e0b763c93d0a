"use strict";
// What both pages share, that of `pointadapt serve` and that of `pointadapt export --to web`: the
// cloud in 3D, lines of the answer, and files that are dropped.

const $ = (id) => document.getElementById(id);

function fail(error) {
  $("error").textContent = error.message;
  $("error").hidden = false;
}

function fill(select, names) {
  select.replaceChildren(...names.map((name) => new Option(name, name)));
}

// Colours of labels: hues a golden angle apart, so that neighbours differ.
function hue(label) {
  const h = (label * 137.508) % 360;
  const f = (n) => {
    const k = (n + h / 30) % 12;
    return 0.6 - 0.35 * Math.max(-1, Math.min(k - 3, 9 - k, 1));
  };
  return [f(0), f(8), f(4)];
}

function css(rgb) {
  return `rgb(${rgb.map((c) => Math.round(255 * c)).join(",")})`;
}

function line(text, colour) {
  const item = document.createElement("li");
  if (colour) {
    const dot = document.createElement("i");
    dot.style.setProperty("background", css(colour));
    item.append(dot);
  }
  item.append(text);
  return item;
}

function percent(share) {
  return `${(100 * share).toFixed(1)} %`;
}

// The most probable classes; `answer` has label, top and perhaps note and notes.
function showClass(answer) {
  $("answer").textContent = answer.label;
  const top = (answer.top || []).map(([label, p]) => line(`${label} ${percent(p)}`));
  top.push(...[answer.note, ...(answer.notes || [])].filter(Boolean).map((note) => line(note)));
  $("more").replaceChildren(...top);
}

// The cloud, lower points darker.
function drawByHeight(points) {
  const heights = points.map((p) => p[2]);
  const low = heights.reduce((a, b) => Math.min(a, b));
  const high = heights.reduce((a, b) => Math.max(a, b));
  draw(points, heights.map((z) => {
    const t = (z - low) / (high - low || 1);
    return [0.25 + 0.7 * t, 0.45 + 0.35 * t, 0.95 - 0.5 * t];
  }));
}

// Gives each file that is chosen or dropped to `take`.
function onFile(take) {
  $("file").addEventListener("change", () => take($("file").files[0]));
  for (const kind of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      $("drop").classList.toggle("over", kind === "dragover");
      if (kind === "drop") take(event.dataTransfer.files[0]);
    });
  }
}

// ---- the cloud, in WebGL: points, turned by dragging

const VERTEX = `
attribute vec3 place, colour; uniform vec2 turn; uniform float zoom, aspect; varying vec3 tint;
void main() {
  float a = turn.x, b = turn.y;
  vec3 p = vec3(cos(a) * place.x - sin(a) * place.y, sin(a) * place.x + cos(a) * place.y, place.z);
  vec3 q = vec3(p.x, cos(b) * p.z - sin(b) * p.y, sin(b) * p.z + cos(b) * p.y);
  float depth = 3.0 + q.z;
  gl_Position = vec4(zoom * q.x / aspect, zoom * q.y, q.z * 0.3, depth * 0.5);
  gl_PointSize = clamp(14.0 / depth, 1.0, 9.0);
  tint = colour * clamp(1.35 - 0.25 * q.z, 0.6, 1.4);
}`;
const FRAGMENT = `
precision mediump float; varying vec3 tint;
void main() {
  vec2 d = gl_PointCoord - 0.5;
  if (dot(d, d) > 0.25) discard;
  gl_FragColor = vec4(tint, 1.0);
}`;
const canvas = $("view");
const gl = canvas.getContext("webgl", { preserveDrawingBuffer: true });
const scene = { count: 0, turn: [0.6, 0.4], zoom: 1.2 };

function program() {
  const made = gl.createProgram();
  for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(made, shader);
  }
  gl.linkProgram(made);
  gl.useProgram(made);
  return made;
}

function upload(name, rows) {
  const where = gl.getAttribLocation(scene.program, name);
  gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ARRAY_BUFFER, new Float32Array(rows.flat()), gl.STATIC_DRAW);
  gl.enableVertexAttribArray(where);
  gl.vertexAttribPointer(where, 3, gl.FLOAT, false, 0, 0);
}

// Into the unit ball around the middle, whatever the file's unit.
function centred(points) {
  const middle = [0, 1, 2].map((k) => points.reduce((sum, p) => sum + p[k], 0) / points.length);
  const moved = points.map((p) => p.map((x, k) => x - middle[k]));
  const reach = moved.reduce((most, p) => Math.max(most, Math.hypot(...p)), 0) || 1;
  return moved.map((p) => p.map((x) => x / reach));
}

function draw(points, colours) {
  if (!gl) return fail(new Error("this browser has no WebGL, so the cloud is not drawn"));
  scene.program ||= program();
  upload("place", centred(points));
  upload("colour", colours);
  scene.count = points.length;
  paint();
}

function paint() {
  gl.viewport(0, 0, canvas.width, canvas.height);
  gl.clearColor(0.08, 0.095, 0.12, 1);
  gl.enable(gl.DEPTH_TEST);
  gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
  const at = (name) => gl.getUniformLocation(scene.program, name);
  gl.uniform2f(at("turn"), ...scene.turn);
  gl.uniform1f(at("zoom"), scene.zoom);
  gl.uniform1f(at("aspect"), canvas.width / canvas.height);
  gl.drawArrays(gl.POINTS, 0, scene.count);
  canvas.dataset.drawn = String(scene.count);
}

canvas.addEventListener("pointermove", (event) => {
  if (!event.buttons || !scene.count) return;
  scene.turn[0] += event.movementX / 150;
  scene.turn[1] = Math.max(-1.6, Math.min(1.6, scene.turn[1] + event.movementY / 150));
  paint();
});
canvas.addEventListener("wheel", (event) => {
  if (!scene.count) return;
  event.preventDefault();
  scene.zoom = Math.max(0.3, Math.min(8, scene.zoom * Math.exp(-event.deltaY / 800)));
  paint();
}, { passive: false });
