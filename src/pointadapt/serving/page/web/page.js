"use strict";
// The page that `pointadapt export --to web` writes: the network runs here, by onnxruntime-web.

const VIEWED = 20_000, TOP = 5, MUCH = 5; // points drawn, classes told, times another size
const RUNTIME = document.querySelector("script[src*=ort]").src.replace(/[^/]*$/, "");
const sessions = new Map();
let adapters = [], last = null, answered = null;

async function list() {
  try {
    adapters = await (await fetch("adapters.json")).json();
    ort.env.wasm.numThreads = 1; // more need headers that few servers send
    ort.env.wasm.wasmPaths = RUNTIME;
    fill($("adapter"), adapters.map((a) => a.name));
    await opened(chosen());
  } catch (error) {
    fail(error);
  }
}

function chosen() {
  return adapters.find((a) => a.name === $("adapter").value);
}

// The network of an adapter, loaded once.
function opened(adapter) {
  if (!sessions.has(adapter.name)) {
    const options = { executionProviders: ["wasm"] };
    const loading = ort.InferenceSession.create(adapter.file, options);
    loading.catch(() => sessions.delete(adapter.name));
    sessions.set(adapter.name, loading);
  }
  return sessions.get(adapter.name);
}

async function send(file) {
  if (!file || !chosen()) return;
  last = file;
  $("error").hidden = true;
  $("result").hidden = false;
  $("more").replaceChildren();
  $("answer").textContent = "…";
  try {
    const began = performance.now(), adapter = chosen();
    const cloud = prepared(readCloud(file.name, await file.arrayBuffer(), adapter.columns), adapter);
    const answer = await answerOf(adapter, cloud);
    if (file !== last || adapter !== chosen()) return; // another one is wanted by now
    answered = { ...answer, milliseconds: performance.now() - began };
    showClass(answer);
    drawByHeight(someOf(cloud.whole));
  } catch (error) {
    $("result").hidden = true;
    fail(new Error(`${file.name}: ${error.message}`));
  }
}

async function answerOf(adapter, cloud) {
  const session = await opened(adapter), traits = traitsOf(cloud.whole);
  const given = { points: new ort.Tensor("float32", cloud.chosen, [1, cloud.chosen.length / 3, 3]) };
  if (adapter.inputs.includes("traits")) given.traits = new ort.Tensor("float32", traits, [1, traits.length]);
  const probabilities = [...(await session.run(given)).probabilities.data];
  const top = probabilities.map((p, k) => [adapter.classes[k], p]).sort((a, b) => b[1] - a[1]);
  const note = sizeDoubt(traits[RADIUS], adapter.sizes);
  return { label: top[0][0], top: top.slice(0, TOP), note, probabilities };
}

// What is said of a cloud that is far larger or smaller than all training clouds.
function sizeDoubt(radius, sizes) {
  if (!sizes) return "";
  const beyond = Math.max(radius - sizes[1], sizes[0] - radius);
  if (beyond < Math.log(MUCH)) return "";
  return `${Math.exp(beyond).toFixed(0)} times as ${radius > sizes[1] ? "large" : "small"} as any ` +
    "training cloud: in another unit?";
}

function someOf(points) {
  const count = points.length / 3, step = Math.max(1, Math.ceil(count / VIEWED));
  return Array.from({ length: Math.ceil(count / step) }, (_, k) => pointAt(points, k * step));
}

for (const id of ["token"]) $(id).parentElement.hidden = true; // there is no server to ask
$("adapter").addEventListener("change", () => send(last));
onFile(send);
list();
