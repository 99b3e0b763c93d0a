"use strict";
// The page of `pointadapt serve`: a file goes to /predict, its answer is shown, its points are drawn.

let adapters = [];
let last = null; // the file that was sent last

function headers() {
  const token = $("token").value.trim();
  return token ? { Authorization: `Bearer ${token}` } : {};
}

async function told(response) {
  if (response.ok) return response.json();
  const body = await response.json().catch(() => ({}));
  throw new Error(body.error || `the server answered ${response.status}`);
}

async function list() {
  $("error").hidden = true;
  try {
    adapters = await told(await fetch("/adapters", { headers: headers() }));
  } catch (error) {
    return fail(error);
  }
  fill($("adapter"), adapters.map((a) => a.name));
  choose();
}

function chosen() {
  return adapters.find((a) => a.name === $("adapter").value);
}

function choose() {
  const adapter = chosen();
  const asks = Boolean(adapter && adapter.task === "part_segmentation");
  $("category-box").hidden = !asks;
  if (asks) fill($("category"), adapter.classes);
}

function address(file, more) {
  const query = new URLSearchParams(more);
  if (!$("category-box").hidden) query.set("category", $("category").value);
  const where = [$("adapter").value, file.name].map(encodeURIComponent).join("/");
  return `/predict/${where}?${query}`;
}

async function send(file) {
  if (!file || !chosen()) return;
  last = file;
  $("error").hidden = true;
  $("result").hidden = false;
  $("save").hidden = true;
  $("more").replaceChildren();
  $("answer").textContent = "…";
  try {
    const request = { method: "PUT", headers: headers(), body: file };
    show(await told(await fetch(address(file, { view: "true" }), request)));
  } catch (error) {
    $("result").hidden = true;
    fail(error);
  }
}

function show(answer) {
  const { points, labels } = answer.view;
  if (labels) {
    const codes = answer.codes || {};
    const counts = new Map();
    for (const label of labels) counts.set(label, (counts.get(label) || 0) + 1);
    const name = (label) =>
      Object.keys(codes).find((key) => codes[key] === label) ?? answer.names[label] ?? String(label);
    $("answer").textContent = `${counts.size} labels`;
    const found = [...counts].sort((a, b) => b[1] - a[1]);
    $("more").replaceChildren(
      ...found.map(([label, n]) => line(`${name(label)} ${percent(n / labels.length)}`, hue(label))),
      ...(answer.notes || []).map((note) => line(note)),
    );
    $("save").hidden = false;
    draw(points, labels.map(hue));
  } else {
    showClass(answer);
    drawByHeight(points);
  }
}

async function save() {
  const request = { method: "PUT", headers: headers(), body: last };
  const response = await fetch(address(last, { form: "file" }), request);
  if (!response.ok) return told(response).catch(fail);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  const named = /filename="([^"]+)"/.exec(response.headers.get("content-disposition") || "");
  link.download = named ? named[1] : "labelled";
  link.click();
  URL.revokeObjectURL(link.href);
}

// ---- what people do

$("adapter").addEventListener("change", choose);
$("token").addEventListener("change", list);
onFile(send);
$("save").addEventListener("click", save);
list();
